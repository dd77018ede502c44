//! The questions to an [`Error`]: its class in Python's tree, and its cause.

use std::error::Error as StdError;
use std::sync::Arc;

use super::{Cause, Error, WorkerDeath};

impl Error {
    /// Returns whether a wait ran out of time, or a call passed the deadline that
    /// [`with_timeout`](crate::futures::Future::with_timeout) gave it.
    ///
    /// It is false for a timeout that the call itself met, and for a call that its process pool
    /// killed at its deadline: that is [`DeadlineExceeded`](Self::DeadlineExceeded).
    ///
    /// # Python
    ///
    /// `isinstance(error, TimeoutError)`, which is true for both kinds of timeout.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::{Error, futures::Promise};
    /// use std::{io, time::Duration};
    ///
    /// let (_promise, future) = Promise::<()>::pair();
    /// assert!(future.result_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// // The call's own timeout, from a socket, say.
    /// assert!(!Error::raised(io::Error::from(io::ErrorKind::TimedOut)).is_timeout());
    /// ```
    #[doc(alias = "TimeoutError")]
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Returns whether the call was cancelled.
    ///
    /// # Python
    ///
    /// `isinstance(error, CancelledError)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (_promise, future) = Promise::<()>::pair();
    /// future.cancel();
    /// assert!(future.result().unwrap_err().is_cancelled());
    /// ```
    #[doc(alias = "CancelledError")]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Returns whether the executor is broken and takes no more calls.
    ///
    /// # Python
    ///
    /// `isinstance(error, BrokenExecutor)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::builder().initializer(|| Err::<(), _>("no licence")).build()?;
    /// let outcome = pool.spawn(|| 1).and_then(|call| call.into_result());
    /// assert!(outcome.unwrap_err().is_broken_executor());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "BrokenExecutor")]
    #[must_use]
    pub fn is_broken_executor(&self) -> bool {
        matches!(
            self,
            Self::BrokenThreadPool(_) | Self::BrokenProcessPool { .. } | Self::BrokenMpiPool { .. }
        )
    }

    /// Returns the death of the worker process that caused this error, if one did.
    ///
    /// # Python
    ///
    /// None: there the error does not tell how the process died.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "process"))] {
    /// use concurrent::futures::ProcessPoolExecutor;
    ///
    /// concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let call = pool.submit(|code| -> u8 { std::process::exit(code) }, 3)?;
    /// let error = call.into_result().unwrap_err();
    /// assert_eq!(error.worker_death().and_then(|death| death.exit_code), Some(3));
    /// # }
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn worker_death(&self) -> Option<&WorkerDeath> {
        match self {
            Self::WorkerDied(death) => Some(death),
            Self::BrokenProcessPool { cause, .. } | Self::BrokenMpiPool { cause, .. } => {
                cause.worker_death()
            }
            _ => None,
        }
    }

    /// Returns whether the call itself failed: it panicked or returned an `Err`.
    ///
    /// It is false for everything that kept the call from ending, such as a cancellation or a
    /// broken pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::{Error, futures::ThreadPoolExecutor};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.submit(str::parse::<u8>, "256")?.flatten();
    /// assert!(call.exception()?.is_some_and(Error::is_call_failure));
    /// assert!(!Error::Cancelled.is_call_failure());
    /// # Ok::<(), Error>(())
    /// ```
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
            Self::BrokenMpiPool { .. } => "BrokenMpiPool",
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
            Self::Mpi(_) => "Mpi",
            Self::ThreadStart(_) => "ThreadStart",
            Self::QueueFull => "QueueFull",
            Self::Shutdown => "Shutdown",
            Self::InvalidState(_) => "InvalidState",
            Self::InvalidArgument(_) => "InvalidArgument",
            Self::NotQueued => "NotQueued",
            Self::Deadlock(_) => "Deadlock",
        }
    }

    /// Returns the `Err` that the call returned, if it is an `E`.
    ///
    /// # Python
    ///
    /// `except MyError as error`.
    ///
    /// # Examples
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

    /// Makes the error of a call that returned `error`: for executors written outside of the crate,
    /// and for tests.
    ///
    /// An [`Error`] stays as it is; anything else becomes [`Error::Raised`].
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::Error;
    ///
    /// let error = Error::raised("no such page");
    /// assert_eq!(error.to_string(), "the call returned an error: no such page");
    /// assert!(matches!(Error::raised(Error::Shutdown), Error::Shutdown));
    /// ```
    #[must_use]
    pub fn raised(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(own) => *own,
            Err(error) => Self::Raised(Cause(Arc::from(error))),
        }
    }
}

// A shared error is only read, and the payload of a panic only moved out.
