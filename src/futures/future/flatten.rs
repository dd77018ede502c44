//! [`Future::flatten`]: the `Err` that a function returns becomes the failure of its call.

use std::error::Error as StdError;

use crate::error::Error;
use crate::futures::Future;
use crate::futures::call::continuation::{FollowUp, link};
use crate::user_code::catch;

impl<T, E> Future<Result<T, E>>
where
    T: Send + 'static,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'static,
{
    /// Makes the `Err` that the function returns the failure of its call.
    ///
    /// Until it is flattened, an `Err` is an ordinary value: `wait` and `exception` take a call
    /// that returned one for a success. The flattened call fails with [`Error::Raised`], whose
    /// `source` is the `Err` ([`Error::downcast_ref`] returns it). A panic stays a panic.
    /// Cancelling the flattened call cancels this one.
    ///
    /// # Threads
    ///
    /// The conversion into a boxed error runs where the function of a [`map`](Future::map) would.
    ///
    /// # Python
    ///
    /// An exception that the function raises is always the call's.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let good = pool.submit(str::parse::<u8>, "42")?.flatten();
    /// let bad = pool.submit(str::parse::<u8>, "forty-two")?.flatten();
    /// assert_eq!(*good.result()?, 42);
    /// let error = bad.result().unwrap_err();
    /// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn flatten(self) -> Future<T> {
        Future::from_call(link(self.into_call(), |outcome| {
            FollowUp::End(match outcome {
                Ok(Ok(value)) => Ok(value),
                // The conversion is user code.
                Ok(Err(error)) => {
                    Err(Box::new(catch(|| Error::raised(error)).unwrap_or_else(Error::Panicked)))
                }
                Err(error) => Err(error),
            })
        }))
    }
}
