#![doc = include_str!("../docs/guide/pictures/overview.md")]
#![cfg_attr(
    not(all(feature = "process", target_os = "linux")),
    allow(rustdoc::broken_intra_doc_links, reason = "some lead to what this build does not have")
)]
//! Python's `sched` and `concurrent.futures` for Rust: the same concepts under the same names with the
//! same semantics, made safe by types.
//!
//! ![A function and its argument go to an executor on threads, processes or MPI ranks, and give a future; an
//! action and its time go to a scheduler, which runs it][overview]
//!
//! - [`futures`] runs calls on a pool of threads, of processes or of MPI ranks. Each call has a
//!   [`Future`](futures::Future): ask for its state, wait for its result, cancel it, or wait for many of
//!   them at once.
//! - [`sched`] runs actions at given times, on the real clock or on a simulated one.
//!
//! The two modules do not depend on each other, and neither needs an async runtime. A name means here
//! what it means in CPython 3.14, except for the [departures](#departures-from-python) below. The page of
//! each method names its Python counterpart, and the [guide](guide::coming_from_python) lists them all.
//!
//! # Calls on threads
//!
//! ```
//! use concurrent::futures::{ThreadPoolExecutor, as_completed};
//!
//! fn collatz(mut n: u64) -> u32 {
//!     let mut steps = 0;
//!     while n != 1 {
//!         n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
//!         steps += 1;
//!     }
//!     steps
//! }
//!
//! let pool = ThreadPoolExecutor::new(2)?;
//!
//! // A function and its argument, or a closure.
//! let a = pool.submit(collatz, 27)?;
//! let text = String::from("captured");
//! let b = pool.spawn(move || text.len())?;
//! assert_eq!((*a.result()?, *b.result()?), (111, 8));
//!
//! // Many arguments: results in their order, or calls in the order in which they are done.
//! let steps: Result<Vec<u32>, _> = pool.map(collatz, 1..=5).collect();
//! assert_eq!(steps?, [0, 1, 7, 2, 5]);
//! let calls = [pool.submit(collatz, 97)?, pool.submit(collatz, 2)?];
//! for call in as_completed(calls) {
//!     println!("{} steps", call.result()?);
//! }
//! // Dropping the pool is Python's `with`: it waits for all submitted calls.
//! # Ok::<(), concurrent::Error>(())
//! ```
//!
//! # Calls in worker processes
//!
//! A call in a process may crash, or be killed, without harm to the program. Each worker is a fresh
//! execution of the program, which stops at [`init`](futures::process::init) and takes calls. More in
//! [the guide](guide::process_pools).
//!
#![cfg_attr(all(feature = "process", target_os = "linux"), doc = "```")]
#![cfg_attr(not(all(feature = "process", target_os = "linux")), doc = "```ignore")]
//! use concurrent::Error;
//! use concurrent::futures::ProcessPoolExecutor;
//! use concurrent::futures::process::{self, OnWorkerDeath};
//!
//! fn fragile(n: u32) -> u32 {
//!     if n == 3 {
//!         std::process::abort();
//!     }
//!     n * n
//! }
//!
//! fn main() -> concurrent::Result<()> {
//!     process::init(); // first: workers never get beyond it
//!     let pool = ProcessPoolExecutor::builder()
//!         .max_workers(2)
//!         .on_worker_death(OnWorkerDeath::FailCall) // or break the pool, as Python does
//!         .build()?;
//!     for (n, square) in (1..=4).zip(pool.map(fragile, 1..=4)) {
//!         match square {
//!             Ok(square) => assert_eq!(square, n * n),
//!             Err(Error::WorkerDied(death)) => println!("{n}: {death}"),
//!             Err(other) => return Err(other),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Events
//!
//! ```
//! use concurrent::sched::Scheduler;
//! use std::time::Duration;
//!
//! let s = Scheduler::new();
//! s.enter(Duration::from_millis(2), 1, || println!("tea is ready"));
//! let phone = s.enter(Duration::from_millis(1), 1, || println!("the phone rings"));
//! s.cancel(&phone)?;
//! s.run()?; // waits for each event; returns when the queue is empty
//! # Ok::<(), concurrent::Error>(())
//! ```
//!
//! **Of two events at the same time the one with the lower priority number runs first, as in CPython.**
//! To turn this around, build the scheduler with
//! [`PriorityOrder::HighestFirst`](sched::PriorityOrder::HighestFirst).
//!
//! # Contents
//!
//! | for | see |
//! | --- | --- |
//! | a pool of threads and its settings | [`ThreadPoolExecutor`](futures::ThreadPoolExecutor), [`ThreadPoolBuilder`](futures::ThreadPoolBuilder) |
//! | a pool of worker processes (Linux, feature `process`) | [`ProcessPoolExecutor`](futures::ProcessPoolExecutor), [`process`](futures::process) |
//! | a pool of the ranks of an MPI program (Linux, feature `mpi`) | `MpiPoolExecutor`, the module `futures::mpi` |
//! | one call | [`Future`](futures::Future) |
//! | many calls | [`wait`](futures::wait), [`as_completed`](futures::as_completed), [`Map`](futures::Map) |
//! | a pool's queue, order, workers, numbers | [`ThreadPoolBuilder`](futures::ThreadPoolBuilder), [`FullQueue`](futures::FullQueue), [`Discipline`](futures::Discipline), [`PoolStats`](futures::PoolStats) |
//! | code that runs on any executor (feature `process`) | [`Executor`](futures::Executor) |
//! | writing an executor | [`Promise`](futures::Promise) |
//! | events, recurring ones, when to run them | [`Scheduler`](sched::Scheduler), [`Event`](sched::Event), [`Every`](sched::Every) |
//! | time that is not the system's | [`TimePoint`](sched::TimePoint), [`VirtualClock`](sched::VirtualClock), [`Float`](sched::Float) |
//! | what can go wrong | [`Error`] |
//!
//! # Guide
//!
//! [`guide`] has a page on [coming from Python](guide::coming_from_python) with every name, and pages
//! on [choosing](guide::choosing), [cancelling and deadlines](guide::cancelling),
//! [errors](guide::errors), [process pools](guide::process_pools), [MPI](guide::mpi),
//! [schedulers](guide::schedulers), [async](guide::async_code), [performance](guide::performance),
//! [building](guide::building) with few dependencies and on other systems, [features beyond
//! Python](guide::features) and the [speed](guide::speed) beside other crates.
//!
//! # Errors
//!
//! All functions fail with the one enum [`Error`], so that `?` carries every failure to one place. Its
//! page has the table of variants and Python's exceptions; questions such as [`Error::is_timeout`] stand
//! for Python's class tree. The timeout of a wait is never confused with a timeout that the call met.
//!
//! **Panics.** A call or an action that panics harms no other: its worker goes on, and `result` or `run`
//! returns [`Error::Panicked`] with payload, message and location. `catch_unwind` does not tell the
//! location. So the first executor or scheduler installs a panic hook, once for the process, which notes
//! the location and calls the previous hook: your program prints the same about a panic as before. If
//! you replace the hook later, [`Panic::location`] is `None` from then on, and nothing else changes.
//!
//! **`Err`s.** An `Err` that a function returns is a value like any other, until
//! [`Future::flatten`](futures::Future::flatten) makes it the failure of its call, as an exception is in
//! Python. If an action returns an `Err`, `run` returns it.
//!
//! # Logging
//!
//! Errors that no caller can receive are logged through the [log](https://docs.rs/log) crate with the target
//! `concurrent`: a panic in a callback, a failed initializer, a failure whose future was dropped unseen, a
//! destructor that panicked, a thread that could not be started while others do the work.
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `process` | on | [`ProcessPoolExecutor`](futures::ProcessPoolExecutor) and the module [`process`](futures::process) (Linux); the portable trait [`Executor`](futures::Executor), whose bounds are serde's; `deep-stacks` |
//! | `deep-stacks` | on | stack for calls that wait for calls, to any depth; building it needs a C compiler, for a few lines of assembler |
//! | `mpi` | off | the module `futures::mpi`: calls on the ranks of an MPI program (Linux; needs an MPI library); `process` |
//! | `trace` | off | the module `trace`: a timeline of calls for Chrome and Perfetto |
//!
//! With `default-features = false` the crate is pools of threads and schedulers. Without `deep-stacks`, waits in
//! calls nest as deeply as the [stack of a worker](futures::ThreadPoolBuilder::stack_size) allows; one that is
//! too deep fails with [`Error::Deadlock`].
//!
//! # What may cross threads
//!
//! | type | `Send` | `Sync` | `UnwindSafe` and `RefUnwindSafe` |
//! | --- | --- | --- | --- |
//! | [`Future<T>`](futures::Future), [`Awaiting<T>`](futures::Awaiting) | if `T: Send` | if `T: Send + Sync` | yes |
//! | [`Promise<T>`](futures::Promise) | if `T: Send` | if `T: Send` | yes |
//! | [`Map<'_, T>`](futures::Map) | if `T: Send` | no | no |
//! | [`AsCompleted<T, H>`](futures::AsCompleted) | if `H` is | if `H` is | no |
//! | [`CancelToken`](futures::CancelToken) | yes | yes | yes |
//! | executors, [`SharedBytes`](futures::process::SharedBytes) | yes | yes | yes |
//! | builders | yes | that of process pools: no | no |
//! | [`Scheduler<T>`](sched::Scheduler), [`Event<T>`](sched::Event), [`VirtualClock<T>`](sched::VirtualClock) | yes | yes | yes |
//! | [`Due`](sched::Due) | yes | no | no |
//! | [`Error`], [`Panic`], [`WorkerDeath`] | yes | yes | yes |
//!
//! # Departures from Python
//!
//! In brief; [the guide](guide::departures) gives Python's behaviour and the reason for each.
//!
//! - A cancelled future is done at once, for `wait` and `as_completed` too.
//! - `as_completed_timeout` counts from its call.
//! - `map` goes on after an error, and its drop always cancels the calls that have not started.
//! - A callback can neither deadlock an executor nor kill a worker.
//! - A promise that is dropped fails its future. A failure that the program never asks for is logged.
//! - Thread pools have five workers per processor by default. A pool that is dropped while a panic unwinds
//!   cancels its pending calls. The end of the process waits for no pool.
//! - A value that a process pool cannot encode or decode fails one call. The error of a dead worker names
//!   its call, and need not break the pool; a running call can be killed.
//! - A scheduler wakes up for an earlier event, for a cancelled one, and to stop.
//! - `cancel` takes constant time and goes by identity; `run_pending` always comes to an end.
//! - No function of yours is called with a lock held.
//!
//! # Read next
//!
//! [`futures`] and [`sched`]. In the source, `docs/architecture.md` is the map.

mod error;
mod sync;
mod user_code;

pub mod futures;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod sched;
#[cfg(feature = "trace")]
pub mod trace;

pub use error::{Cause, Error, Outcome, Panic, Result, WorkerDeath};

/// The target of everything the crate logs.
pub(crate) const LOG_TARGET: &str = "concurrent";

/// The README's programs are compiled and run with the tests.
#[cfg(all(doctest, feature = "process", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
