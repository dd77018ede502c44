//! [`TrySubmitError`]: a refused call is handed back.

use std::fmt;

use crate::error::Error;

/// A refused call, and the reason.
///
/// `?` turns it into its [`Error`] and drops the call.
///
/// # Examples
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// pool.shutdown();
/// let refused = pool.try_spawn(|| 6 * 7).unwrap_err();
/// assert_eq!(refused.to_string(), "cannot schedule new futures after shutdown");
/// assert_eq!(refused.into_call()(), 42); // run it here
/// # Ok::<(), concurrent::Error>(())
/// ```
pub struct TrySubmitError<C> {
    error: Error,
    call: C,
}

impl<C> TrySubmitError<C> {
    pub(super) fn new(error: Error, call: C) -> Self {
        Self { error, call }
    }

    /// Returns the reason of the refusal: [`Error::QueueFull`], or an error of `submit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// pool.shutdown();
    /// assert!(matches!(pool.try_spawn(|| 1).unwrap_err().error(), Error::Shutdown));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the refused call: the closure, or the function and its argument.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// pool.shutdown();
    /// let refused = pool.try_submit(str::len, "four").unwrap_err();
    /// assert_eq!(refused.into_call().1, "four");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn into_call(self) -> C {
        self.call
    }

    /// Returns both: the reason and the refused call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// pool.shutdown();
    /// let (error, closure) = pool.try_spawn(|| 6 * 7).unwrap_err().into_parts();
    /// assert!(matches!(error, Error::Shutdown));
    /// assert_eq!(closure(), 42);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (Error, C) {
        (self.error, self.call)
    }
}

impl<C> From<TrySubmitError<C>> for Error {
    fn from(refused: TrySubmitError<C>) -> Self {
        refused.error
    }
}

impl<C> std::error::Error for TrySubmitError<C> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<C> fmt::Display for TrySubmitError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<C> fmt::Debug for TrySubmitError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySubmitError").field("error", &self.error).finish_non_exhaustive()
    }
}
