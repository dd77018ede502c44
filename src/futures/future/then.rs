//! Callbacks of a call, and the calls that are made of it.

use std::error::Error as StdError;
use std::time::Duration;

use super::timeout;
use crate::error::{Error, Result};
use crate::futures::call::AnyCall;
use crate::futures::call::continuation::{FollowUp, link};
use crate::futures::call::pair_arc::PairArc;
use crate::futures::call::waiters::Waiter;
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

    /// Makes a call that ends as this one does, or fails with [`Error::Timeout`] after `timeout`.
    ///
    /// When time is up, this call is cancelled if it has not started. If it runs, it cannot be
    /// interrupted: it is [asked to stop](crate::futures::is_cancel_requested) and goes on, and its
    /// result is dropped; if it fails, that is logged. With a zero `timeout`, time is up at once
    /// for a call that is not done.
    ///
    /// The time limit of a wait ([`result_timeout`](Self::result_timeout)) belongs to that wait;
    /// this one belongs to the call. Everyone who waits sees the same failure, and so do
    /// [`or_else`](Self::or_else), [`first_ok`](crate::futures::first_ok) and `.await`. Cancelling
    /// the new future cancels this call while that is possible.
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for the call. One thread, the timer, keeps the deadlines of the whole
    /// process. The first deadline starts it, and it sleeps until the earliest one. A call that
    /// ends in time takes its deadline with it.
    ///
    /// # Threads
    ///
    /// When time is up, the timer thread ends the new call, cancels this one and wakes the threads
    /// that wait for either; it runs no code of yours. Callbacks, calls that follow, and the drop
    /// of what a cancelled call captured run soon after in another thread, one after the other. If
    /// one of them takes longer than some 10 ms, or blocks, a further thread takes the next: so it
    /// delays no deadline, and a callback may wait for another call with a deadline. With a zero
    /// `timeout` all this happens in this thread.
    ///
    /// # Errors
    ///
    /// If the system does not start the timer's threads, the new call fails with
    /// [`Error::ThreadStart`], as if time were up.
    ///
    /// # Python
    ///
    /// None; `asyncio.wait_for` does this for coroutines.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{Future, Promise};
    /// use std::time::Duration;
    ///
    /// let (promise, slow) = Promise::<u32>::pair();
    /// let answer = slow.with_timeout(Duration::from_millis(1)).or_else(|error| {
    ///     assert!(error.is_timeout());
    ///     Future::ready(42)
    /// });
    /// assert_eq!(answer.into_result()?, 42);
    /// assert!(!promise.set_running_or_notify_cancel()?); // cancelled
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "wait_for")]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Future::from_call(timeout::within(self.into_call(), timeout))
    }
}

impl<T> Future<T> {
    /// Calls `callback` with this future when the call finishes, fails or is cancelled.
    ///
    /// Callbacks run in the order in which they were added. If the call is done already, `callback`
    /// runs at once, in this thread.
    ///
    /// # Threads
    ///
    /// `callback` runs in the thread that ends the call: a worker, or the thread that cancels. No
    /// lock of an executor is held. A panic is logged, and affects neither the other callbacks nor
    /// the worker. Threads that are blocked in [`result`](Self::result) are woken before callbacks
    /// run.
    ///
    /// # Python
    ///
    /// `Future.add_done_callback(fn)`. A callback may use its executor, and may wait for other
    /// calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::Promise;
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let (promise, future) = Promise::pair();
    /// future.add_done_callback(move |future| {
    ///     sender.send(future.result().copied().unwrap()).unwrap();
    /// });
    /// promise.set_result(5)?;
    /// assert_eq!(receiver.recv().unwrap(), 5);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + Send + 'static)
    where
        T: Sync,
    {
        let callback = |call: &AnyCall<T>| {
            let future = Self::from_call(PairArc::clone(call));
            contain(format_args!("exception calling callback for {future:?}"), || {
                callback(&future)
            });
        };
        let waiter = Waiter::Callback(Box::new(callback));
        if let Err(Waiter::Callback(callback)) = self.call().shared().register(waiter) {
            callback(self.call());
        }
    }
}

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
