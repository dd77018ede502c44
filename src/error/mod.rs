//! [`Error`]: the error type of the crate.

mod cause;
mod outcome;
mod questions;
mod worker_death;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use self::cause::Cause;
pub use self::outcome::Outcome;
pub use self::worker_death::WorkerDeath;

pub use crate::user_code::Panic;

/// Everything that can go wrong, in `sched` and in `futures` alike.
///
/// Both modules share this type, so that `?` carries every failure to one place. Cloning is cheap:
/// every caller of [`Future::result`](crate::futures::Future::result) gets the same failure. A
/// question such as [`is_timeout`](Error::is_timeout) stands for a class of Python's tree.
///
/// | variant | Python | comes from |
/// | --- | --- | --- |
/// | [`Cancelled`](Error::Cancelled) | `CancelledError` | the result of a cancelled call |
/// | [`Timeout`](Error::Timeout) | `TimeoutError` | a wait that ended before the call did, a call whose deadline passed |
/// | [`Panicked`](Error::Panicked) | the call's exception | a call or action that panicked |
/// | [`Raised`](Error::Raised) | the call's exception | the `Err` of a flattened call or of an action |
/// | [`BrokenPromise`](Error::BrokenPromise) | (hangs) | an executor that dropped its promise |
/// | [`BrokenThreadPool`](Error::BrokenThreadPool) | `BrokenThreadPool` | a failed initializer |
/// | [`BrokenProcessPool`](Error::BrokenProcessPool) | `BrokenProcessPool` | a dead worker process, a failed initializer |
/// | [`BrokenMpiPool`](Error::BrokenMpiPool) | `BrokenExecutor` | a failed initializer, a failure of MPI, no worker left |
/// | [`WorkerDied`](Error::WorkerDied) | `BrokenProcessPool` | a dead worker of a pool that goes on |
/// | [`Killed`](Error::Killed) | (none) | `Future::kill`, `kill_workers` |
/// | [`DeadlineExceeded`](Error::DeadlineExceeded) | (none) | a call that ran longer than its pool allows |
/// | [`Encode`](Error::Encode) | `PicklingError` | an argument or result that serde refuses |
/// | [`Decode`](Error::Decode) | `UnpicklingError` | the same at the other end |
/// | [`Undelivered`](Error::Undelivered) | `OSError` | no descriptors or memory for an argument or result |
/// | [`MessageTooLarge`](Error::MessageTooLarge) | (none) | an argument or result above the limit |
/// | [`NotInitialized`](Error::NotInitialized) | `RuntimeError` | a process pool without `process::init()` |
/// | [`ProcessStart`](Error::ProcessStart) | `OSError` | the system refused a process or its channel |
/// | [`NoWorkers`](Error::NoWorkers) | (none) | an MPI pool in a program of one rank |
/// | [`Mpi`](Error::Mpi) | (none) | MPI, or a rank, that is misconfigured or failed |
/// | [`ThreadStart`](Error::ThreadStart) | `RuntimeError` | the system refused the first worker |
/// | [`QueueFull`](Error::QueueFull) | (no bounded queue) | submitting to a full queue that refuses |
/// | [`Shutdown`](Error::Shutdown) | `RuntimeError` | submitting after `shutdown` |
/// | [`InvalidState`](Error::InvalidState) | `InvalidStateError` | completing a completed call |
/// | [`InvalidArgument`](Error::InvalidArgument) | `ValueError` | an invalid argument or setting |
/// | [`NotQueued`](Error::NotQueued) | `ValueError` | cancelling an event that is not queued |
/// | [`Deadlock`](Error::Deadlock) | (hangs) | a wait that could never end |
///
/// # Examples
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
/// use concurrent::Error;
///
/// let error = ThreadPoolExecutor::new(0).unwrap_err();
/// assert_eq!(error.to_string(), "max_workers must be greater than 0");
/// assert!(matches!(error, Error::InvalidArgument(_)));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call was cancelled before it started.
    #[doc(alias = "CancelledError")]
    #[error("the call was cancelled")]
    Cancelled,

    /// The wait ended before the calls did, and they go on. As the failure of a call: its
    /// [deadline](crate::futures::Future::with_timeout) passed.
    #[doc(alias = "TimeoutError")]
    #[error("{unfinished} (of {total}) futures unfinished")]
    Timeout {
        /// The number of awaited calls that were not done.
        unfinished: usize,
        /// The number of awaited calls.
        total: usize,
    },

    /// The call, action or initializer panicked.
    #[error("{0}")]
    Panicked(Panic),

    /// The call or action returned this `Err`, which is also the [`source`](StdError::source).
    #[error("the call returned an error: {0}")]
    Raised(#[source] Cause<dyn StdError + Send + Sync>),

    /// The promise was dropped without a result: the executor gave the call up.
    #[error("the executor dropped the promise of the call without completing it")]
    BrokenPromise,

    /// A worker's initializer failed, and the pool takes no more calls. The `source` is the cause.
    #[error("A thread initializer failed, the thread pool is not usable anymore: {}", Broke(.0))]
    BrokenThreadPool(#[source] Cause<Error>),

    /// The process pool is unusable. Each of its calls gets an error of its own, whose `source` is
    /// the cause.
    #[error("{} {}{}", broken_process_pool(*accepted), Broke(cause), setting(cause))]
    BrokenProcessPool {
        /// Whether the pool had accepted the call; if not, the pool was broken before.
        accepted: bool,
        /// A [`WorkerDied`](Error::WorkerDied), or the reason why a worker could not start.
        #[source]
        cause: Cause<Error>,
    },

    /// The pool of ranks is unusable. Each of its calls gets an error of its own, whose `source` is
    /// the cause.
    #[error("{} {}", broken_mpi_pool(*accepted), Broke(cause))]
    BrokenMpiPool {
        /// Whether the pool had accepted the call; if not, the pool was broken before.
        accepted: bool,
        /// A failed initializer, a failure of MPI, or the death of the last worker.
        #[source]
        cause: Cause<Error>,
    },

    /// The worker process died while it ran this call; the pool goes on.
    #[error("{0}")]
    WorkerDied(#[source] Cause<WorkerDeath>),

    /// The call was running in a worker process that was killed on purpose.
    #[error("the call was killed on purpose, with its worker process {pid}")]
    Killed {
        /// The id of the process.
        pid: u32,
    },

    /// The call ran longer than its pool allows, and was killed with its worker process.
    #[error(
        "{} ran longer than its deadline of {limit:?} and was killed with its worker process",
        call.as_deref().unwrap_or("the call")
    )]
    DeadlineExceeded {
        /// The time that a call may take.
        limit: Duration,
        /// The call, if it is known: where it was submitted, and the type of its function.
        call: Option<Arc<str>>,
    },

    /// The argument or the result could not be serialised; the text says which and why.
    #[doc(alias = "PicklingError")]
    #[error("cannot encode {0}")]
    Encode(Arc<str>),

    /// The argument or the result could not be deserialised; the text says which and why.
    #[doc(alias = "UnpicklingError")]
    #[error("cannot decode {0}")]
    Decode(Arc<str>),

    /// One of the two processes had no file descriptor or no memory left for the argument or the
    /// result; the text says for which, and what was missing. The pool goes on.
    #[doc(alias = "OSError")]
    #[error("cannot deliver {0}")]
    Undelivered(Arc<str>),

    /// The argument or the result has more bytes than a message may have.
    #[error("the argument or result is larger than max_message_size, {limit} bytes")]
    MessageTooLarge {
        /// The limit in bytes, set by `max_message_size`.
        limit: u64,
    },

    /// The program made a process pool without preparing for worker processes; the text says how
    /// to.
    #[error("{0}")]
    NotInitialized(&'static str),

    /// The system started no process, or gave it no channel.
    #[doc(alias = "OSError")]
    #[error("can't start new process: {0}")]
    ProcessStart(#[source] Cause<io::Error>),

    /// The program runs as a single rank, which leaves no rank to run calls; the text says how to
    /// change that.
    #[error("{0}")]
    NoWorkers(&'static str),

    /// MPI, or one of the ranks, is misconfigured or failed; the text says how.
    #[error("{0}")]
    Mpi(Arc<str>),

    /// The system started no thread, and the pool has no other thread to run the call.
    #[doc(alias = "RuntimeError")]
    #[error("can't start new thread: {0}")]
    ThreadStart(#[source] Cause<io::Error>),

    /// The queue is full, and the call was refused.
    #[error("the queue of the executor is full, the call was not taken")]
    QueueFull,

    /// The executor was shut down.
    #[doc(alias = "RuntimeError")]
    #[error("cannot schedule new futures after shutdown")]
    Shutdown,

    /// The state of the call does not allow this; the text names the state and the future.
    #[doc(alias = "InvalidStateError")]
    #[error("{0}")]
    InvalidState(Arc<str>),

    /// An argument or a setting is invalid; the text names it.
    #[doc(alias = "ValueError")]
    #[error("{0}")]
    InvalidArgument(Cow<'static, str>),

    /// The event ran, was cancelled, or belongs to another scheduler.
    #[doc(alias = "ValueError")]
    #[error("event is not in the queue: it ran, was cancelled, or is another scheduler's")]
    NotQueued,

    /// The wait could never end, or a call was to go on with a call made of itself; the text names
    /// the calls and the reason.
    ///
    /// Only a wait without a time limit fails so, inside of a call, of a callback, or of the drop of
    /// what a cancelled call captured, and only when nothing that it waits for can move any more.
    /// The crate knows its own waits: for calls, and for calls made of calls; for the end of a
    /// scope, with the drops of what its cancelled calls captured; for the shutdown or the drop of
    /// a pool; for room in a full queue, where the submitter runs the call itself instead of
    /// failing. A thread that does anything else counts as able to go on, and so does the owner of
    /// a promise.
    ///
    /// So there is no false alarm. But the crate cannot see what blocks outside of it: a channel, a
    /// mutex, a `join`, a future polled by some `block_on`. A circle through such a wait hangs.
    #[error("deadlock: {0}")]
    Deadlock(Arc<str>),
}

/// What Python says to the calls of a broken pool, and to those that come later.
fn broken_process_pool(accepted: bool) -> &'static str {
    if accepted {
        "A process in the process pool was terminated abruptly while the future was running or \
         pending."
    } else {
        "A child process terminated abruptly, the process pool is not usable anymore."
    }
}

/// As above, for ranks.
fn broken_mpi_pool(accepted: bool) -> &'static str {
    if accepted {
        "The pool of ranks broke while the future was running or pending."
    } else {
        "The pool of ranks is not usable anymore."
    }
}

/// The cause that broke a pool, in words. No call breaks one: a returned error is the initializer's.
struct Broke<'a>(&'a Error);

impl fmt::Display for Broke<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::Raised(cause) => write!(f, "the initializer returned an error: {cause}"),
            cause => cause.fmt(f),
        }
    }
}

/// Where that can be set.
fn setting(cause: &Error) -> &'static str {
    if matches!(cause, Error::WorkerDied(_)) {
        ". What a death means for the pool is set by on_worker_death."
    } else {
        ""
    }
}

/// `Result` with the crate's [`Error`].
///
/// # Examples
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
///
/// fn sum_of_squares(pool: &ThreadPoolExecutor) -> concurrent::Result<u64> {
///     pool.map(|n: u64| n * n, 1..=3).sum()
/// }
///
/// assert_eq!(sum_of_squares(&ThreadPoolExecutor::new(2)?)?, 14);
/// # Ok::<(), concurrent::Error>(())
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

// A shared error is only read, and the payload of a panic only moved out.
impl std::panic::UnwindSafe for Error {}
impl std::panic::RefUnwindSafe for Error {}
