//! [`Future::flatten`]: the `Err` that a function returns becomes the failure of its call.

use std::error::Error as StdError;
use std::sync::Arc;

use super::Future;
use super::call::{self, AnyCall, Body, Call, Ending, Upstream, take_ending};
use super::state::State;
use super::waiter::Waiter;
use crate::error::Error;
use crate::guard::catch;

/// The body of a call that ends with another one.
struct Link<S> {
    source: AnyCall<S>,
}

impl<T, S: Send> Body<T> for Link<S> {
    fn name(&self) -> &'static str {
        self.source.name()
    }

    fn upstream(&self) -> Option<&dyn Upstream> {
        Some(&self.source)
    }
}

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
        let source = Arc::clone(self.call());
        let linked: AnyCall<T> = Call::<T, _>::new(Link { source: Arc::clone(&source) });
        let rest = {
            let linked = Arc::clone(&linked);
            Box::new(move |ending| end(&linked, ending))
        };
        // This future was the only one, so the rest of the chain owns the outcome.
        if let Err(Waiter::Then(rest)) = source.core().register(Waiter::Then(rest)) {
            rest(take_ending(&source));
        }
        Future::from_call(linked)
    }
}

fn end<T, E>(linked: &AnyCall<T>, ending: Ending<Result<T, E>>)
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let outcome = match ending {
        Ending::Cancelled => {
            call::cancel_own(linked);
            return;
        }
        Ending::Finished(Ok(Ok(value))) => Ok(value),
        Ending::Finished(Ok(Err(error))) => {
            // The conversion is user code.
            Err(Box::new(catch(|| Error::raised(error)).unwrap_or_else(Error::Panicked)))
        }
        Ending::Finished(Err(error)) => Err(error),
    };
    if linked.core().transition(State::claim).is_ok() {
        // SAFETY: the transition above set the claim.
        unsafe { call::finish(linked, outcome) };
    }
}
