//! One call after the other: [`Future::map`], [`Future::and_then`], [`Future::or_else`].

use std::error::Error as StdError;

use crate::error::{Error, Result};
use crate::futures::call::continuation::{FollowUp, link};
use crate::futures::{Future, Promise};
use crate::user_code::{catch, contain};

impl<T: Send + 'static> Future<T> {
    /// Makes a call that is done already.
    ///
    /// For the branch of an [`and_then`](Self::and_then) or [`or_else`](Self::or_else) that has its
    /// value at hand.
    ///
    /// ```
    /// use concurrent::futures::Future;
    ///
    /// let call = Future::ready(7);
    /// assert!(call.done());
    /// assert_eq!(call.into_result()?, 7);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn ready(value: T) -> Self {
        Self::ended(Ok(value))
    }

    /// Makes a call that ended with `outcome`.
    pub(crate) fn ended(outcome: Result<T>) -> Self {
        let (promise, future) = Promise::pair();
        let completed = match outcome {
            Ok(value) => promise.set_result(value),
            Err(error) => promise.set_exception(error),
        };
        completed.expect("nobody else has the promise");
        future
    }

    /// Applies `function` to the value, once there is one.
    ///
    /// The new future is done when `function` has returned. If the call fails, so does the new one,
    /// with the same error, and `function` is dropped uncalled; if the call is cancelled, so is the
    /// new one. A panic of `function` is the new call's failure. Cancelling the new future cancels
    /// the call while that is possible.
    ///
    /// A `function` that can fail returns a `Result`: follow it by [`flatten`](Self::flatten).
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for the call.
    ///
    /// # Threads
    ///
    /// `function` runs in the thread that ends the call, after its callbacks, or at once in this
    /// thread if the call is done. It keeps a worker from its next call meanwhile: what takes long
    /// is better submitted, with [`and_then`](Self::and_then).
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let length = pool.spawn(|| String::from("four"))?.map(|text| text.len());
    /// assert_eq!(*length.result()?, 4);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn map<U, F>(self, function: F) -> Future<U>
    where
        U: Send + 'static,
        F: FnOnce(T) -> U + Send + 'static,
    {
        Future::from_call(link(self.into_call(), |outcome| {
            FollowUp::End(match outcome {
                Ok(value) => catch(|| function(value)).map_err(panicked),
                Err(error) => {
                    will_not_be_called(function);
                    Err(error)
                }
            })
        }))
    }

    /// Goes on with the call that `function` makes of the value.
    ///
    /// The new future ends as that second call does. If the first one fails or is cancelled, so
    /// does or is the new one, and `function` is dropped uncalled. If `function` panics, or returns
    /// an `Err` instead of a call, that is the new call's failure. If it returns a future that was
    /// made of the new one, so that neither could ever end, the new call fails with
    /// [`Error::Deadlock`].
    ///
    /// Cancelling the new future cancels whichever of the two calls it waits for, while that is
    /// possible: it counts as pending again when the second one has not started.
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for either call.
    ///
    /// # Threads
    ///
    /// As for [`map`](Self::map). `function` should only submit; the call does the work.
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    /// use std::sync::Arc;
    ///
    /// let pool = Arc::new(ThreadPoolExecutor::new(2)?);
    /// let next = Arc::clone(&pool);
    /// let page = pool.spawn(|| "index")?.and_then(move |name| next.submit(str::len, name));
    /// assert_eq!(*page.result()?, 5);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn and_then<C, F>(self, function: F) -> Future<C::Value>
    where
        C: IntoCall,
        F: FnOnce(T) -> C + Send + 'static,
    {
        Future::from_call(link(self.into_call(), |outcome| match outcome {
            Ok(value) => next_call(|| function(value)),
            Err(error) => {
                will_not_be_called(function);
                FollowUp::End(Err(error))
            }
        }))
    }

    /// Goes on with the call that `function` makes of the failure, if there is one.
    ///
    /// The new future ends as that second call does: another attempt, or
    /// [`ready`](Self::ready) with a value to make do with. If the first call succeeds, so does the
    /// new one, and `function` is dropped uncalled. A cancelled call has not failed: the new one is
    /// cancelled with it. If `function` panics, or returns an `Err` instead of a call, that is the
    /// new call's failure.
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for either call.
    ///
    /// # Threads
    ///
    /// As for [`map`](Self::map). `function` should only submit; the call does the work.
    ///
    /// ```
    /// use concurrent::futures::{Future, ThreadPoolExecutor};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let number = pool.submit(str::parse::<u8>, "256")?.flatten();
    /// let number = number.or_else(|error| {
    ///     eprintln!("going on with the default: {error}");
    ///     Future::ready(255)
    /// });
    /// assert_eq!(*number.result()?, 255);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn or_else<C, F>(self, function: F) -> Self
    where
        C: IntoCall<Value = T>,
        F: FnOnce(Error) -> C + Send + 'static,
    {
        Future::from_call(link(self.into_call(), |outcome| match outcome {
            Ok(value) => {
                will_not_be_called(function);
                FollowUp::End(Ok(value))
            }
            Err(error) => next_call(|| function(*error)),
        }))
    }
}

/// What the function given to [`Future::and_then`] or [`Future::or_else`] returns: a `Future`, or
/// a `Result` with one, such as that of [`submit`](crate::futures::ThreadPoolExecutor::submit).
///
/// A trait of this crate only, so that it can grow.
#[diagnostic::on_unimplemented(
    message = "`and_then` and `or_else` go on with a call, not with `{Self}`",
    label = "returns `{Self}`",
    note = "return a `Future`, or a `Result` that holds one, as `submit` does; for a value take \
            `map`, or `Future::ready(value)`"
)]
pub trait IntoCall: sealed::SealedIntoCall {
    /// The value of the call.
    type Value: Send + 'static;

    #[doc(hidden)]
    fn started(self) -> Result<Future<Self::Value>>;
}

impl<T: Send + 'static> IntoCall for Future<T> {
    type Value = T;

    fn started(self) -> Result<Self> {
        Ok(self)
    }
}

impl<T, E> IntoCall for Result<Future<T>, E>
where
    T: Send + 'static,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    type Value = T;

    fn started(self) -> Result<Future<T>> {
        self.map_err(Error::raised)
    }
}

mod sealed {
    pub trait SealedIntoCall {}
    impl<T> SealedIntoCall for crate::futures::Future<T> {}
    impl<T, E> SealedIntoCall for Result<crate::futures::Future<T>, E> {}
}

fn next_call<C: IntoCall>(make: impl FnOnce() -> C) -> FollowUp<C::Value> {
    match catch(|| make().started()) {
        Ok(Ok(next)) => FollowUp::Follow(next.into_call()),
        Ok(Err(error)) => FollowUp::End(Err(Box::new(error))),
        Err(panic) => FollowUp::End(Err(panicked(panic))),
    }
}

fn panicked(panic: crate::Panic) -> Box<Error> {
    Box::new(Error::Panicked(panic))
}

fn will_not_be_called<F>(function: F) {
    contain("dropping a function that will not be called", || drop(function));
}
