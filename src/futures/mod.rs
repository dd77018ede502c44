//! Python's `concurrent.futures`: calls that run elsewhere, and their results.
//!
//! ```
//! use concurrent::futures::{ReturnWhen, ThreadPoolExecutor, wait};
//! use std::time::Duration;
//!
//! let pool = ThreadPoolExecutor::new(2)?;
//! let lengths = ["one", "three"].map(|word| pool.submit(str::len, word));
//! let lengths = lengths.into_iter().collect::<Result<Vec<_>, _>>()?;
//! let outcome = wait(&lengths, Duration::from_secs(5), ReturnWhen::AllCompleted);
//! assert!(outcome.not_done.is_empty());
//! assert_eq!(*lengths[1].result()?, 5);
//! # Ok::<(), concurrent::Error>(())
//! ```
//!
//! # The two ends of a call
//!
//! ```text
//!      the caller                     a call                      an executor
//!
//!  submit(f, x) ─────────────────────────────────────────► queue ──► worker
//!       │                    ┌─────────────────────┐                   │
//!       ▼                    │  state              │                   ▼
//!   Future<T> ──── asks ───► │  f and x, until run │ ◄── completes ─ f(x)
//!       │                    │  value or error     │            (or a Promise<T>)
//!       │                    │  who waits          │
//!       ▼                    └──────────┬──────────┘
//!  result, cancel,                      │ notifies, once
//!  wait, as_completed, .await ◄─────────┴─────────► callbacks
//! ```
//!
//! | end | who has it | may call |
//! | --- | --- | --- |
//! | [`Future<T>`](Future) | the submitter of the call | everything but completing it: `result`, `cancel`, `add_done_callback`, ... |
//! | [`Promise<T>`](Promise) | an executor written outside the crate | `set_running_or_notify_cancel`, then `set_result` or `set_exception`, once |
//!
//! Python has one class for both, so there a caller may complete a future by mistake. The pools'
//! own workers complete their calls without a `Promise`, in the same way.
//!
//! Either end may go first. A future that is dropped detaches its call, which runs all the same; a
//! promise that is dropped fails its future with [`BrokenPromise`](crate::Error::BrokenPromise).
//!
//! # States
//!
//! ```text
//!               a worker takes it             it returns or panics
//!   pending ──────────────────────► running ───────────────────────► finished
//!      │  │                                                             ▲
//!      │  └───────── a promise is completed without being started ──────┘
//!      │ cancel
//!      ▼
//!  cancelled
//! ```
//!
//! A call is *done* when it is finished or cancelled, and stays so. `cancel` is for pending calls:
//! nothing interrupts a running one. Python has a fifth state between a cancellation and the moment
//! when a worker notices; here everyone who waits is notified at once.
//!
//! # Where your code runs
//!
//! | code | thread |
//! | --- | --- |
//! | the function, and the drop of its captures | a worker; if the call is cancelled, the thread that cancels |
//! | callbacks; functions given to [`map`](Future::map) and its kin | the thread that ends the call; if it is done already, the thread that adds them |
//! | the same, and drops, if the call's time is up ([`with_timeout`](Future::with_timeout)) | a thread behind the timer |
//! | an initializer, hooks, the state of a worker | each worker, before its first call or at its end |
//! | the function, if its pool's queue is full and set to [`RunInCaller`](FullQueue::RunInCaller), or its own worker submits it | the submitting thread |
//! | `capture` and `enter` of [`propagate`](ThreadPoolBuilder::propagate) | `capture` the submitting thread, `enter` the thread that runs the call |
//! | the drop of a value | the owner of the future; a worker if the future was dropped first |
//! | of a process pool: the function | a worker process |
//! | of a process pool: encoding an argument; decoding a result, and callbacks | the submitting thread; a thread of the pool |
//!
//! None of it runs with a lock held, and a panic in any of it is contained: it becomes the call's
//! error, breaks the pool (the initializer), or is logged. Threads that are blocked on a call wake
//! up before its callbacks run.
//!
//! # Waiting
//!
//! | for | until done | with a time limit |
//! | --- | --- | --- |
//! | one call | [`Future::result`] | [`Future::result_timeout`] |
//! | some or all of many | [`wait`] | [`wait`] |
//! | each of many, as they are done | [`as_completed`] | [`as_completed_timeout`] |
//! | the results of one function, in order | [`Map`] | [`MapOptions::timeout`] |
//! | one call, in async code | `.await` | your runtime's |
//!
//! A time limit ends the wait only. The call goes on.
//!
//! # Waiting inside of calls
//!
//! A call may wait for other calls, even of its own pool, and the wait ends as it does outside of a
//! call. If no worker is free for an awaited call that is still queued, the waiting worker runs it
//! itself, *in place*: only the calls that it waits for, or those that these are made of, never
//! another one, and to any depth.
//!
//! | a wait that | such as | runs a queued call of its own pool in place |
//! | --- | --- | --- |
//! | ends when all that it waits for has | [`result`](Future::result), [`wait`] for all, the next of a [`Map`], the end of a [scope](ThreadPoolExecutor::scope) | if no other worker is free to take it and none can be started |
//! | may end earlier | [`wait`] for the first or a failure, [`as_completed`], an unordered map; the result of [`first_ok`], [`join_all`] or [`with_timeout`](Future::with_timeout), or of a call made of these | if otherwise nothing that it waits for can move |
//! | has a time limit | [`result_timeout`](Future::result_timeout), [`wait`] with a `timeout` | never |
//!
//! [`RunInPlace`] sets the first row for a pool. A call that is run in place shares the thread of
//! the call that waits: its thread-locals, the runtime that was entered in it, the locks and
//! borrows that it holds. `RunInPlace` says more about that, and which setting to choose.
//!
//! If an awaited call can never end, because every call and every worker that could move it is
//! blocked in such waits itself, the wait fails with [`Error::Deadlock`](crate::Error::Deadlock),
//! which names the calls of the circle. Waits with a time limit, promises, calls in worker
//! processes, and threads that compute, sleep or block elsewhere always count as able to move: a
//! circle through a channel or some `block_on` hangs. Deadlines count as able to move too, so that
//! none is ever part of a deadlock; but no worker sits one out if it could run the awaited call
//! itself, or the call for which it waits for room in a full queue.
//!
//! # Calls made of calls
//!
//! No thread waits here: a follow-up runs in the thread that ends the call before it.
//!
//! | for | see |
//! | --- | --- |
//! | a function of a call's value | [`Future::map`], [`Future::flatten`] |
//! | the next call, or another attempt | [`Future::and_then`], [`Future::or_else`] |
//! | all of many, or the first success | [`join_all`], [`first_ok`] |
//! | a deadline that belongs to the call | [`Future::with_timeout`] |
//!
//! [`ThreadPoolExecutor::scope`] is for calls that borrow from the caller's stack.
//!
//! # Read next
//!
//! [`ThreadPoolExecutor`], [`Future`], [`process`]. In the source: `call/state.rs` for the
//! transitions, `call/shared_state.rs` for who may touch what, `call/mod.rs` for a call's one block
//! of memory, then its two ends, `future/mod.rs` and `future/promise.rs`, `call/continuation.rs`
//! for calls made of calls, and `thread/queue/mod.rs` for why no call is stranded.

mod call;
mod deadlock;
mod executor;
mod future;
mod map;
#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "mpi"))]
pub mod mpi;
#[cfg(all(not(concurrent_loom), feature = "process"))]
pub mod process;
#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "process"))]
mod remote;
#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "process"))]
mod sys;
mod thread;
mod wait;

pub use call::assist::RunInPlace;
pub use call::cancel_token::{CancelToken, is_cancel_requested};
#[cfg(feature = "process")]
pub use executor::{Executor, Portable};
pub use executor::{ShutdownOptions, ShutdownReport};
pub use future::Future;
pub use future::awaiting::Awaiting;
pub use future::join::{first_ok, join_all};
pub use future::promise::Promise;
pub use future::then::IntoCall;
pub use map::{Map, MapOptions};
#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "mpi"))]
pub use mpi::MpiPoolExecutor;
#[cfg(all(not(concurrent_loom), feature = "process"))]
pub use process::ProcessPoolExecutor;
pub use thread::{
    Discipline, FullQueue, PoolStats, Scope, ScopedFuture, ThreadPoolBuilder, ThreadPoolExecutor,
    TrySubmitError, with_worker_state,
};
pub use wait::as_completed::{AsCompleted, AsCompletedTimeout, as_completed, as_completed_timeout};
pub use wait::{DoneAndNotDone, ReturnWhen, wait};
