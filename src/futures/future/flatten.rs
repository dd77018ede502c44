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
    /// To the caller an `Err` is an ordinary value until flattened: `wait` and `exception` take a
    /// call that returned one for a success. The flattened future fails with [`Error::Raised`],
    /// whose `source` is the `Err` ([`Error::downcast_ref`] gets it back), and a panic stays a
    /// panic. Cancelling it cancels the call.
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
