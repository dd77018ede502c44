//! [`Promise`]: the executor's end of a call.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::continuation::Continuations;
use crate::futures::call::shared_state::CallResult;
use crate::futures::call::state::{Phase, State};
use crate::futures::call::{AnyCall, Call, CallKind};

/// The executor's end of a call: marks it as running, and completes it.
///
/// It is for executors written outside of this crate, and for tests. Dropping a promise that was
/// neither completed nor cancelled completes it with [`Error::BrokenPromise`], so that no caller is
/// left waiting.
///
/// # Python
///
/// The methods of `concurrent.futures.Future` that are for executors. There, a dropped future
/// leaves its callers waiting.
///
/// # Examples
///
/// ```
/// use concurrent::futures::Promise;
///
/// let (promise, future) = Promise::pair();
/// let executor = std::thread::spawn(move || {
///     if promise.set_running_or_notify_cancel()? {
///         promise.set_result(6 * 7)?;
///     }
///     Ok::<(), concurrent::Error>(())
/// });
/// assert_eq!(future.into_result()?, 42);
/// executor.join().unwrap()?;
/// # Ok::<(), concurrent::Error>(())
/// ```
#[must_use = "dropping a promise breaks it"]
pub struct Promise<T> {
    call: AnyCall<T>,
}

impl<T> UnwindSafe for Promise<T> {}
impl<T> RefUnwindSafe for Promise<T> {}

/// The kind of a call that other code completes.
struct Promised;

impl<T> CallKind<T> for Promised {
    fn name(&self) -> &'static str {
        "a promised call"
    }
}

impl<T> Promise<T> {
    /// Makes a pending call and returns both of its ends.
    ///
    /// # Python
    ///
    /// `Future()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::pair();
    /// promise.set_result('x')?;
    /// assert_eq!(*future.result()?, 'x');
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn pair() -> (Self, Future<T>) {
        let (call, own) = Call::pair(Promised);
        (Self { call: call.erase() }, Future::from_call(own))
    }

    /// Marks the call as running, so that it can no longer be cancelled.
    ///
    /// Returns false if the call was cancelled; then there is nothing to do for it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidState`] if the call is running or finished already.
    ///
    /// # Python
    ///
    /// `Future.set_running_or_notify_cancel()`. Here it may be called again after a cancellation,
    /// and it notifies nobody: everyone who waited learned of the cancellation at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::<()>::pair();
    /// assert!(promise.set_running_or_notify_cancel()?);
    /// assert!(!future.cancel());
    /// assert!(promise.set_running_or_notify_cancel().is_err());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn set_running_or_notify_cancel(&self) -> Result<bool> {
        match self.call.shared().transition(State::start) {
            Ok(_) => Ok(true),
            Err(state) if state.phase() == Phase::Cancelled => Ok(false),
            Err(_) => {
                let text = format!("Future in unexpected state: {:?}", self.call);
                Err(Error::InvalidState(text.into()))
            }
        }
    }

    /// Completes the call with `value`.
    ///
    /// # Threads
    ///
    /// Callbacks run in this thread before this returns.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidState`] if the call was completed or cancelled. The first outcome stays, and
    /// `value` is dropped.
    ///
    /// # Python
    ///
    /// `Future.set_result(result)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::pair();
    /// promise.set_result(1)?;
    /// assert!(promise.set_result(2).is_err());
    /// assert_eq!(*future.result()?, 1);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn set_result(&self, value: T) -> Result<()> {
        self.complete(Ok(value))
    }

    /// Completes the call with a failure; [`Error::raised`] makes one of any error.
    ///
    /// # Threads
    ///
    /// As [`set_result`](Self::set_result).
    ///
    /// # Errors
    ///
    /// As [`set_result`](Self::set_result).
    ///
    /// # Python
    ///
    /// `Future.set_exception(exception)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::Promise};
    /// let (promise, future) = Promise::<()>::pair();
    /// promise.set_exception(Error::raised("no such page"))?;
    /// assert!(future.exception()?.is_some_and(Error::is_call_failure));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn set_exception(&self, error: Error) -> Result<()> {
        self.complete(Err(Box::new(error)))
    }

    fn complete(&self, outcome: CallResult<T>) -> Result<()> {
        match self.call.shared().transition(State::claim) {
            Ok(_) => {
                // SAFETY: the transition above set the claim.
                Continuations::with(|continuations| unsafe {
                    self.call.finish(continuations, outcome)
                });
                Ok(())
            }
            Err(state) => {
                let phase = state.phase().to_string().to_uppercase();
                let text = format!("{phase}: {:?}", self.call);
                Err(Error::InvalidState(text.into()))
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if self.call.shared().transition(State::claim).is_ok() {
            let broken = Err(Box::new(Error::BrokenPromise));
            // SAFETY: the transition above set the claim.
            Continuations::with(|continuations| unsafe { self.call.finish(continuations, broken) });
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Promise").field(&self.call).finish()
    }
}
