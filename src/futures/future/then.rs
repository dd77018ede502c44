//! One call after the other: [`Future::map`], [`Future::and_then`], [`Future::or_else`].

use std::error::Error as StdError;

use crate::error::{Error, Result};
use crate::futures::call::continuation::{FollowUp, link};
use crate::futures::{Future, Promise};
use crate::user_code::{catch, contain};

impl<T: Send + 'static> Future<T> {
    /// Makes a call that is done already.
    ///
    /// It is for the branch of an [`and_then`](Self::and_then) or [`or_else`](Self::or_else) that
    /// has its value at hand.
    ///
    /// # Python
    ///
    /// None: `f = Future(); f.set_result(value)`.
    ///
    /// # Examples
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

    /// Makes a call whose value is that of `function` applied to this call's value.
    ///
    /// The new call is done when `function` has returned. If this call fails, the new one fails
    /// with the same error; if this call is cancelled, so is the new one. Either way `function` is
    /// dropped uncalled. A panic of `function` is the failure of the new call. Cancelling the new
    /// future cancels this call while that is possible.
    ///
    /// A `function` that can fail returns a `Result`: let [`flatten`](Self::flatten) follow.
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for the call.
    ///
    /// # Threads
    ///
    /// `function` runs in the thread that ends the call, after the call's callbacks; if the call is
    /// done, at once in this thread. Meanwhile it keeps a worker from its next call: submit longer
    /// work by [`and_then`](Self::and_then).
    ///
    /// # Examples
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

    /// Makes a call that goes on with the call that `function` makes of this call's value.
    ///
    /// The new call ends as that second call does. If this call fails or is cancelled, so does the
    /// new one, and `function` is dropped uncalled. If `function` panics, or returns an `Err`
    /// instead of a call, that is the failure of the new call. If it returns a future that was made
    /// of the new one, so that neither could ever end, the new call fails with [`Error::Deadlock`].
    ///
    /// Cancelling the new future cancels whichever of the two calls it waits for, while that is
    /// possible: it counts as pending again while the second call has not started.
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for either call.
    ///
    /// # Threads
    ///
    /// As for [`map`](Self::map). `function` should only submit, and leave the work to the call.
    ///
    /// # Examples
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

    /// Makes a call that goes on with the call that `function` makes of this call's failure, if it
    /// fails.
    ///
    /// The new call ends as that second call does: another attempt, say, or [`ready`](Self::ready)
    /// with a default value. If this call succeeds, so does the new one, and `function` is dropped
    /// uncalled. A cancelled call has not failed: the new call is cancelled with it. If `function`
    /// panics, or returns an `Err` instead of a call, that is the failure of the new call.
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for either call.
    ///
    /// # Threads
    ///
    /// As for [`map`](Self::map). `function` should only submit, and leave the work to the call.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{Future, ThreadPoolExecutor};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let number = pool.submit(str::parse::<u8>, "256")?.flatten();
    /// let number = number.or_else(|error| {
    ///     eprintln!("using the default: {error}");
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

/// The return types of the functions given to [`Future::and_then`] and [`Future::or_else`]: a
/// `Future`, or a `Result` with one, such as that of
/// [`submit`](crate::futures::ThreadPoolExecutor::submit).
///
/// Only this crate implements it, so that it can grow.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{Future, ThreadPoolExecutor};
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let answer = pool.spawn(|| 6_u8)?.and_then(|n| Future::ready(n * 7));
/// let next = answer.and_then(|n| n.checked_add(1).map(Future::ready).ok_or("too large"));
/// assert_eq!(next.into_result()?, 43);
/// # Ok::<(), concurrent::Error>(())
/// ```
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
