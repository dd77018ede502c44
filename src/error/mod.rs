//! The one error type of the crate. See [`Error`].

mod cause;
mod outcome;
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

/// What can go wrong, in `sched` and in `futures` alike.
///
/// One type for both modules, so that `?` carries everything to one place. It is cheap to clone:
/// every caller of [`Future::result`](crate::futures::Future::result) gets the same failure.
/// Python's class tree is kept as questions, such as [`is_timeout`](Error::is_timeout).
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
/// | [`BrokenClusterPool`](Error::BrokenClusterPool) | `BrokenExecutor` | a failed initializer, an engine that failed, no worker left |
/// | [`WorkerDied`](Error::WorkerDied) | `BrokenProcessPool` | a dead worker of a pool that goes on |
/// | [`Killed`](Error::Killed) | (none) | `Future::kill`, `kill_workers` |
/// | [`DeadlineExceeded`](Error::DeadlineExceeded) | (none) | a call that ran longer than it may |
/// | [`Encode`](Error::Encode) | `PicklingError` | an argument or result that serde refuses |
/// | [`Decode`](Error::Decode) | `UnpicklingError` | the same at the other end |
/// | [`Undelivered`](Error::Undelivered) | `OSError` | no descriptors or memory for an argument or result |
/// | [`MessageTooLarge`](Error::MessageTooLarge) | (none) | an argument or result above the limit |
/// | [`NotInitialized`](Error::NotInitialized) | `RuntimeError` | a process pool without `process::init()` |
/// | [`ProcessStart`](Error::ProcessStart) | `OSError` | the system refused a process or its channel |
/// | [`NoWorkers`](Error::NoWorkers) | (none) | an MPI pool in a program of one rank |
/// | [`Cluster`](Error::Cluster) | (none) | an engine, or a rank, that is not as it should be |
/// | [`ThreadStart`](Error::ThreadStart) | `RuntimeError` | the system refused the first worker |
/// | [`QueueFull`](Error::QueueFull) | (no bounded queue) | submitting to a full queue that refuses |
/// | [`Shutdown`](Error::Shutdown) | `RuntimeError` | submitting after `shutdown` |
/// | [`InvalidState`](Error::InvalidState) | `InvalidStateError` | completing a completed call |
/// | [`InvalidArgument`](Error::InvalidArgument) | `ValueError` | a setting that makes no sense |
/// | [`NotQueued`](Error::NotQueued) | `ValueError` | cancelling an event that is not queued |
/// | [`Deadlock`](Error::Deadlock) | (hangs) | a wait that could never end |
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
    #[error("the call was cancelled")]
    Cancelled,

    /// The wait ended first; the calls themselves go on. Or, as the failure of a call, its
    /// [deadline](crate::futures::Future::with_timeout) passed.
    #[error("{unfinished} (of {total}) futures unfinished")]
    Timeout {
        /// How many of the futures waited for were not done.
        unfinished: usize,
        /// How many were waited for.
        total: usize,
    },

    /// The call, action or initializer panicked.
    #[error("{0}")]
    Panicked(Panic),

    /// The call or action returned this `Err`; it is also the [`source`](StdError::source).
    #[error("the call returned an error: {0}")]
    Raised(#[source] Cause<dyn StdError + Send + Sync>),

    /// The promise was dropped without a result: the executor gave the call up.
    #[error("the executor dropped the promise of the call without completing it")]
    BrokenPromise,

    /// A worker's initializer failed; the pool takes no more calls. The cause is the `source`.
    #[error("A thread initializer failed, the thread pool is not usable anymore: {}", Broke(.0))]
    BrokenThreadPool(#[source] Cause<Error>),

    /// The process pool is unusable. Each call has its own error; the cause is the `source`.
    #[error("{} {}{}", broken_process_pool(*accepted), Broke(cause), setting(cause))]
    BrokenProcessPool {
        /// Whether the call had been accepted; if not, the pool was broken before.
        accepted: bool,
        /// A [`WorkerDied`](Error::WorkerDied), or why a worker could not start.
        #[source]
        cause: Cause<Error>,
    },

    /// The pool of ranks is unusable. Each call has its own error; the cause is the `source`.
    #[error("{} {}", broken_cluster_pool(*accepted), Broke(cause))]
    BrokenClusterPool {
        /// Whether the call had been accepted; if not, the pool was broken before.
        accepted: bool,
        /// Why: an initializer that failed, an engine that failed, or the end of the last worker.
        #[source]
        cause: Cause<Error>,
    },

    /// The worker process ended while it ran this call; the pool goes on.
    #[error("{0}")]
    WorkerDied(#[source] Cause<WorkerDeath>),

    /// The call was running in a worker process that was killed on purpose.
    #[error("the call was killed on purpose, with its worker process {pid}")]
    Killed {
        /// The process.
        pid: u32,
    },

    /// The call ran longer than it may, and was killed with its worker process.
    #[error(
        "{} ran longer than its deadline of {limit:?} and was killed with its worker process",
        call.as_deref().unwrap_or("the call")
    )]
    DeadlineExceeded {
        /// How long a call may run.
        limit: Duration,
        /// The call, if it is known: where it was submitted, and the type of its function.
        call: Option<Arc<str>>,
    },

    /// The argument or the result could not be serialised; the text says which and why.
    #[error("cannot encode {0}")]
    Encode(Arc<str>),

    /// The argument or the result could not be deserialised; the text says which and why.
    #[error("cannot decode {0}")]
    Decode(Arc<str>),

    /// The system had no descriptor or no memory for the argument or the result, at either end; the
    /// text says for which, and what was missing. The pool goes on.
    #[error("cannot deliver {0}")]
    Undelivered(Arc<str>),

    /// The argument or the result has more bytes than a message may have.
    #[error("the argument or result is larger than max_message_size, {limit} bytes")]
    MessageTooLarge {
        /// The limit, see `max_message_size`.
        limit: u64,
    },

    /// A process pool was made in a program that did not prepare for it; the text says how.
    #[error("{0}")]
    NotInitialized(&'static str),

    /// The system started no process, or gave it no channel.
    #[error("can't start new process: {0}")]
    ProcessStart(#[source] Cause<io::Error>),

    /// The program runs as a single rank, so that there is nobody to do the work; the text says what
    /// to do about it.
    #[error("{0}")]
    NoWorkers(&'static str),

    /// The engine of a cluster, or one of its ranks, is not as it should be; the text says how.
    #[error("{0}")]
    Cluster(Arc<str>),

    /// The system started no thread, and the pool has none to fall back on.
    #[error("can't start new thread: {0}")]
    ThreadStart(#[source] Cause<io::Error>),

    /// As many calls wait as the queue has room for, and the call was refused.
    #[error("the queue of the executor is full, the call was not taken")]
    QueueFull,

    /// The executor was shut down.
    #[error("cannot schedule new futures after shutdown")]
    Shutdown,

    /// The call is not in a state that allows this; the text names the state and the future.
    #[error("{0}")]
    InvalidState(Arc<str>),

    /// A setting that makes no sense; the text names it.
    #[error("{0}")]
    InvalidArgument(Cow<'static, str>),

    /// The event ran, was cancelled, or belongs to another scheduler.
    #[error("event is not in the queue: it ran, was cancelled, or is another scheduler's")]
    NotQueued,

    /// The wait could never end, or the call goes on with one that was made of itself; the text says
    /// which, and why.
    ///
    /// Only a wait without a time limit that is made inside of a call, or in a callback, gets it, and
    /// only when nothing that it waits for can move any more. What is seen: the waits of this crate for
    /// calls, and for calls made of calls; the ends of scopes; the shutdown and the drop of a pool; the
    /// wait for room in a full queue, which runs the call in its submitter instead of failing. A thread
    /// that does anything else counts as one that goes on, and so does who holds a promise.
    ///
    /// So there is no false alarm, but what blocks outside of this crate cannot be seen: a channel, a
    /// mutex, a `join`, a future that some `block_on` polls. A circle that goes through such a wait hangs.
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
fn broken_cluster_pool(accepted: bool) -> &'static str {
    if accepted {
        "The pool of ranks broke while the future was running or pending."
    } else {
        "The pool of ranks is not usable anymore."
    }
}

/// What broke a pool, in words. No call does that: an error that was returned is the initializer's.
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
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns whether a wait ran out of time, or the deadline that
    /// [`with_timeout`](crate::futures::Future::with_timeout) gave a call passed. Not true for a
    /// timeout that the call itself met, nor for a call that was killed at the deadline of its
    /// process pool, [`DeadlineExceeded`](Self::DeadlineExceeded): that is its end.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Returns whether the call was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Returns whether the executor is broken and takes no more calls (Python's `BrokenExecutor`).
    #[must_use]
    pub fn is_broken_executor(&self) -> bool {
        matches!(
            self,
            Self::BrokenThreadPool(_)
                | Self::BrokenProcessPool { .. }
                | Self::BrokenClusterPool { .. }
        )
    }

    /// The death of a worker process that this error is about.
    #[must_use]
    pub fn worker_death(&self) -> Option<&WorkerDeath> {
        match self {
            Self::WorkerDied(death) => Some(death),
            Self::BrokenProcessPool { cause, .. } | Self::BrokenClusterPool { cause, .. } => {
                cause.worker_death()
            }
            _ => None,
        }
    }

    /// Returns whether the call itself failed: it panicked or returned an `Err`.
    #[must_use]
    pub fn is_call_failure(&self) -> bool {
        matches!(self, Self::Panicked(_) | Self::Raised(_))
    }

    /// The name of the variant, for a future's `Debug`.
    pub(crate) fn variant(&self) -> &'static str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::Timeout { .. } => "Timeout",
            Self::Panicked(_) => "Panicked",
            Self::Raised(_) => "Raised",
            Self::BrokenPromise => "BrokenPromise",
            Self::BrokenThreadPool(_) => "BrokenThreadPool",
            Self::BrokenProcessPool { .. } => "BrokenProcessPool",
            Self::BrokenClusterPool { .. } => "BrokenClusterPool",
            Self::WorkerDied(_) => "WorkerDied",
            Self::Killed { .. } => "Killed",
            Self::DeadlineExceeded { .. } => "DeadlineExceeded",
            Self::Encode(_) => "Encode",
            Self::Decode(_) => "Decode",
            Self::Undelivered(_) => "Undelivered",
            Self::MessageTooLarge { .. } => "MessageTooLarge",
            Self::NotInitialized(_) => "NotInitialized",
            Self::ProcessStart(_) => "ProcessStart",
            Self::NoWorkers(_) => "NoWorkers",
            Self::Cluster(_) => "Cluster",
            Self::ThreadStart(_) => "ThreadStart",
            Self::QueueFull => "QueueFull",
            Self::Shutdown => "Shutdown",
            Self::InvalidState(_) => "InvalidState",
            Self::InvalidArgument(_) => "InvalidArgument",
            Self::NotQueued => "NotQueued",
            Self::Deadlock(_) => "Deadlock",
        }
    }

    /// The `Err` that the call returned, if it is an `E`.
    ///
    /// ```
    /// use concurrent::Error;
    ///
    /// let error = Error::raised("x".parse::<u8>().unwrap_err());
    /// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match self {
            Self::Raised(raised) => raised.downcast_ref(),
            _ => None,
        }
    }

    /// Makes the error of a call that returned `error`, for executors written outside the crate.
    ///
    /// An [`Error`] stays what it is; anything else becomes [`Error::Raised`].
    #[must_use]
    pub fn raised(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(own) => *own,
            Err(error) => Self::Raised(Cause(Arc::from(error))),
        }
    }
}

// A shared error is only ever read, and a panic's payload only moved out.
impl std::panic::UnwindSafe for Error {}
impl std::panic::RefUnwindSafe for Error {}
