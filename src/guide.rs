//! The guide: pages on subjects that the reference pages do not cover.
//!
//! | page | for readers who |
//! | --- | --- |
//! | [Coming from Python](coming_from_python) | port a program: the idioms, then every name |
//! | [Departures](departures) | rely on details of CPython |
//! | [Choosing](choosing) | choose between threads, processes and other crates |
//! | [Cancelling and deadlines](cancelling) | want a call to end |
//! | [Errors](errors) | want to know what failed, and what to do then |
//! | [Process pools](process_pools) | run calls in other processes |
//! | [MPI](mpi) | need more than one machine |
//! | [Schedulers](schedulers) | run actions at given times |
//! | [Async](async_code) | have an async runtime already |
//! | [Performance](performance) | want calls to cost little |
//! | [Timeline](trace) | want to see what a pool does |
//! | [Building](building) | want few dependencies, or another system than Linux |
//! | [Features](features) | ask what the crate has beyond Python |
//! | [Speed](speed) | compare it with other crates |
//!
//! The pages are the files of `docs/guide`. Their programs are compiled and run with the tests; those
//! about worker processes need Linux and the feature `process`.

/// A module that consists of a page of `docs/guide`: `page!(name, "file", pictures, condition)`. The
/// programs of the page are tested if the condition holds.
///
/// The pages are read on code hosts too, so they link to files, by references that are defined at their
/// end: `[errors]: errors.md`. Of two definitions of a reference the first one counts. So the definitions
/// here, which come first, make the same references links to modules and items, and pictures part of the
/// page. `.ci/links` checks that none is missing.
macro_rules! page {
    ($name:ident, $file:literal, [$($picture:literal),*]) => {
        page!($name, $file, [$($picture),*], all());
    };
    ($name:ident, $file:literal, [$($picture:literal),*], $condition:meta) => {
        /// [async]: crate::guide::async_code
        /// [choosing]: crate::guide::choosing
        /// [errors]: crate::guide::errors
        /// [MPI]: crate::guide::mpi
        /// [performance]: crate::guide::performance
        /// [process pool]: crate::guide::process_pools
        /// [schedulers]: crate::guide::schedulers
        /// [speed]: crate::guide::speed
        /// [trace]: crate::guide::trace
        /// [runs them in place]: crate::futures#waiting-inside-of-calls
        /// [`and_then`]: crate::futures::Future::and_then
        /// [`call_deadline`]: crate::futures::process::ProcessPoolBuilder::call_deadline
        /// [`CancelToken`]: crate::futures::CancelToken
        /// [`concurrent::Error`]: crate::Error
        /// [`Error::BrokenPromise`]: crate::Error::BrokenPromise
        /// [`Error::Deadlock`]: crate::Error::Deadlock
        /// [`Error::Decode`]: crate::Error::Decode
        /// [`Error::Encode`]: crate::Error::Encode
        /// [`Error::NotInitialized`]: crate::Error::NotInitialized
        /// [`Error::Panicked`]: crate::Error::Panicked
        /// [`Error::Undelivered`]: crate::Error::Undelivered
        /// [`first_ok`]: crate::futures::first_ok
        /// [`flatten`]: crate::futures::Future::flatten
        /// [`Future`]: crate::futures::Future
        /// [`join_all`]: crate::futures::join_all
        /// [`Promise`]: crate::futures::Promise
        /// [`Scheduler`]: crate::sched::Scheduler
        /// [`SharedBytes`]: crate::futures::process::SharedBytes
        /// [`VirtualClock`]: crate::sched::VirtualClock
        /// [`with_timeout`]: crate::futures::Future::with_timeout
        $(#[doc = include_str!(concat!("../docs/guide/pictures/", $picture, ".md"))])*
        #[cfg_attr(any(not(doctest), $condition), doc = include_str!(concat!("../docs/guide/", $file)))]
        pub mod $name {}
    };
}

page!(
    coming_from_python,
    "coming_from_python.md",
    [],
    all(feature = "process", target_os = "linux")
);
page!(departures, "departures.md", []);
page!(choosing, "choosing.md", [], feature = "process");
page!(cancelling, "cancelling.md", ["future"], all(feature = "process", target_os = "linux"));
page!(errors, "errors.md", ["wait_graph"]);
page!(
    process_pools,
    "process_pools.md",
    ["process_pool"],
    all(feature = "process", target_os = "linux")
);
page!(mpi, "mpi.md", [], all(feature = "mpi", target_os = "linux"));
page!(schedulers, "schedulers.md", []);
page!(async_code, "async.md", []);
page!(performance, "performance.md", []);
page!(trace, "trace.md", ["timeline"], feature = "trace");
page!(building, "building.md", []);
page!(features, "features.md", []);
page!(speed, "speed.md", ["speed", "threads", "processes", "sched"]);
