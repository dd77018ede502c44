//! The guide: what the reference pages do not tell, each on a page of its own.
//!
//! | page | for whom |
//! | --- | --- |
//! | [Coming from Python](coming_from_python) | who ports a program: the idioms, then every name |
//! | [Departures](departures) | who relies on what CPython does exactly |
//! | [Choosing](choosing) | who wonders whether to take threads, processes or another crate |
//! | [Cancelling and deadlines](cancelling) | who wants a call to end |
//! | [Errors](errors) | who wants to know what failed, and what to do then |
//! | [Process pools](process_pools) | who runs calls in other processes |
//! | [Clusters](clusters) | for whom one machine is too small |
//! | [Schedulers](schedulers) | who runs things at given times |
//! | [Async](async_code) | who has a runtime already |
//! | [Performance](performance) | who wants it fast |
//! | [Features](features) | who asks what there is beyond Python |
//! | [Speed](speed) | who compares with other crates |
//!
//! The pages are the files of `docs/guide`; their programs are compiled and run with the tests. The
//! programs about worker processes need Linux.

#[doc = include_str!("../docs/guide/coming_from_python.md")]
pub mod coming_from_python {}

#[doc = include_str!("../docs/guide/departures.md")]
pub mod departures {}

#[doc = include_str!("../docs/guide/choosing.md")]
pub mod choosing {}

// A picture comes before its page: of two definitions of a link the first one counts, and here that
// must be the one that holds the picture itself. See `docs/guide/pictures/draw.py`.
#[doc = include_str!("../docs/guide/pictures/future.md")]
#[doc = include_str!("../docs/guide/cancelling.md")]
pub mod cancelling {}

#[doc = include_str!("../docs/guide/pictures/wait_graph.md")]
#[doc = include_str!("../docs/guide/errors.md")]
pub mod errors {}

#[cfg(target_os = "linux")]
#[doc = include_str!("../docs/guide/pictures/process_pool.md")]
#[doc = include_str!("../docs/guide/process_pools.md")]
pub mod process_pools {}

#[doc = include_str!("../docs/guide/clusters.md")]
pub mod clusters {}

#[doc = include_str!("../docs/guide/schedulers.md")]
pub mod schedulers {}

#[doc = include_str!("../docs/guide/async.md")]
pub mod async_code {}

#[doc = include_str!("../docs/guide/pictures/timeline.md")]
#[doc = include_str!("../docs/guide/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/guide/features.md")]
pub mod features {}

#[doc = include_str!("../docs/guide/speed.md")]
pub mod speed {}
