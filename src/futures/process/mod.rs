//! Process pools: how to set a program up for them, what the death of a worker means, and how data
//! crosses.
//!
//! They are for work that may crash, leak, hang or need to be killed, and for code that must not
//! share memory. A call is a function (or a closure that captures nothing) and an argument that
//! serde can serialise; everything else is as with [threads](crate::futures::ThreadPoolExecutor).
//! Linux only: on other systems the names are here, and to make a pool is an error that says so.
//!
//! # In a program
//!
//! A worker is a fresh execution of the program, so `main` begins with [`init`]. In a worker that
//! call never returns.
//!
//! ```
//! use concurrent::futures::{ProcessPoolExecutor, process};
//!
//! fn is_prime(n: u64) -> bool {
//!     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
//! }
//!
//! fn main() -> concurrent::Result<()> {
//!     process::init();
//!     let pool = ProcessPoolExecutor::new(2)?;
//!     let primes = pool.map(is_prime, 0..10).collect::<concurrent::Result<Vec<bool>>>()?;
//!     assert_eq!(primes.iter().filter(|prime| **prime).count(), 4);
//!     Ok(())
//! }
//! ```
//!
//! # In tests and benches
//!
//! Their `main` is generated. One line anywhere in the crate takes the place of `init` (in a
//! library, below `#[cfg(test)]`, for its unit tests; each file in `tests/` is a crate of its own):
//!
//! ```no_run,standalone_crate
//! concurrent::process_worker_hook!();
//! ```
//!
//! With `harness = false` and a `main` of your own, `init` works too. A documentation example needs
//! `init` like any program.
//!
//! # When a worker dies
//!
//! | [`OnWorkerDeath`] | the call it had begun | the others | the pool |
//! | --- | --- | --- | --- |
//! | `BreakPool` (as in Python) | [`BrokenProcessPool`] | the same | takes no more calls |
//! | `FailCall` | [`WorkerDied`] | run | goes on, with a new worker |
//! | `Retry(n)` | runs again, up to `n` times | run | goes on, with a new worker |
//!
//! The error tells the pid, the exit code or signal, where the call was submitted, and the message
//! of a panic if there was one ([`Error::worker_death`](crate::Error::worker_death)). Workers that
//! die over and over without finishing a call break the pool in any case. [`Future::kill`] and
//! [`call_deadline`](ProcessPoolBuilder::call_deadline) end one call with its worker, under all
//! policies.
//!
//! In a program built with `panic = "abort"` a panic kills its worker; the report has its message.
//!
//! # How data crosses
//!
//! Small arguments and results go through two ring buffers that a worker shares with its parent.
//! Arguments over 4 KiB and results over 64 KiB go through shared-memory segments, which are
//! reused. Vectors of numbers are copied as they lie in memory; other types go through serde one
//! field at a time. [`SharedBytes`] crosses without a copy, however large.
//!
//! ```text
//!   parent                                        worker process
//!   submit ──► queue ──► slot ═ shared ring ═══► decode, call, encode
//!                         ▲                          │
//!   future ◄── decode ◄── supervisor ◄═ ring ═════┘
//!                         │  └────── pidfd: its end; two pipes: wake up
//!              shared memory: rings, large payloads, claims, panic message
//! ```
//!
//! Calls that were sent ahead to a busy worker stay pending: they can be cancelled, and the parent
//! takes them back if the call before them takes long. Each worker has a thread that supervises it.
//! That thread also decodes results and runs callbacks, unless a thread that waits for a short call
//! receives the reply itself. If such user code takes long, another thread takes over the
//! supervision.
//!
//! An idle worker spins for up to 50 µs before it sleeps, if spinning succeeded last time. A worker
//! may hold back the results of calls that take a few microseconds, for about 20 µs and never much
//! above 100 µs, to send several at once.
//!
//! [`BrokenProcessPool`]: crate::Error::BrokenProcessPool
//! [`WorkerDied`]: crate::Error::WorkerDied
//! [`Future::kill`]: crate::futures::Future::kill

// Read next: `parent/worker_state.rs` (the life of a worker), `channel/frame.rs` (what both sides say),
// `parent/manager.rs` (decisions under the lock), `channel/flow.rs` and `channel/ring.rs` (the channel),
// in `parent/` then `supervisor`, `reply_reader.rs`, `answered.rs` and `worker_exit.rs`;
// `child/main_loop.rs` (the worker); `../remote/function_id.rs` (how a function crosses).

#[cfg(target_os = "linux")]
mod builder;
#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
pub(super) mod child;
#[cfg(all(test, target_os = "linux"))]
mod fuzz;
#[cfg(all(any(test, fuzzing), target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(target_os = "linux")]
pub(super) mod handshake;
pub(super) mod options;
#[cfg(target_os = "linux")]
pub(super) mod parent;
#[cfg(target_os = "linux")]
mod pool;
#[cfg(target_os = "linux")]
pub(super) mod resource_limit;
#[cfg(target_os = "linux")]
pub(super) mod settings;
mod stats;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use super::remote::images::Constructor;
#[cfg(target_os = "linux")]
pub use super::remote::shared_bytes::SharedBytes;
#[cfg(target_os = "linux")]
pub use builder::ProcessPoolBuilder;
#[cfg(target_os = "linux")]
pub use child::init::{hook, init};
pub use options::{OnWorkerDeath, ResourceLimit};
#[cfg(target_os = "linux")]
pub use pool::ProcessPoolExecutor;
pub use stats::ProcessPoolStats;
#[cfg(not(target_os = "linux"))]
pub use unsupported::{ProcessPoolBuilder, ProcessPoolExecutor, SharedBytes, init};
