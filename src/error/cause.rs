//! [`Cause`]: a shared error behind an [`Error`](super::Error).

use std::fmt;
use std::sync::Arc;

/// The error behind an [`Error`](super::Error).
///
/// It dereferences to that error. Cloning it copies a pointer.
///
/// # Examples
///
/// ```
/// use concurrent::Error;
/// use std::error::Error as _;
///
/// let error = Error::raised("x".parse::<u8>().unwrap_err());
/// let source = error.source().expect("the error that was returned");
/// assert!(source.is::<std::num::ParseIntError>());
/// ```
pub struct Cause<E: ?Sized>(pub(super) Arc<E>);

impl<E> Cause<E> {
    /// Wraps an error: for tests of code that handles an [`Error`](super::Error).
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::{Cause, Error};
    ///
    /// let error = Error::BrokenThreadPool(Cause::new(Error::raised("no licence")));
    /// assert!(error.is_broken_executor());
    /// assert!(error.to_string().contains("no licence"));
    /// ```
    #[must_use]
    pub fn new(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl<E: ?Sized> Clone for Cause<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: ?Sized> std::ops::Deref for Cause<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E: fmt::Display + ?Sized> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Debug + ?Sized> fmt::Debug for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
