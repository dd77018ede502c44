//! [`Future`]: the caller's end of a call.

pub(crate) mod awaiting;
mod blocking;
mod flatten;
#[cfg(any(not(concurrent_loom), test))]
mod handover;
pub(crate) mod join;
pub(crate) mod promise;
pub(crate) mod then;
mod timeout;
#[cfg(not(concurrent_loom))]
mod timer;
#[cfg(concurrent_loom)]
#[path = "no_timer.rs"]
mod timer;

use std::fmt;
use std::future::IntoFuture;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::call::pair_arc::PairArc;
use super::call::waiters::Waiter;
use crate::error::{Error, Result};
use crate::futures::call::state::Phase;
use crate::futures::call::{self, AnyCall};
use crate::futures::future::awaiting::Awaiting;
use crate::user_code::contain;

/// The caller's end of a call: ask for its state, wait for its result, or cancel it.
///
/// Made by [`ThreadPoolExecutor::submit`](crate::futures::ThreadPoolExecutor::submit) and its kin, or
/// together with a [`Promise`](crate::futures::Promise).
///
/// - [`result`](Self::result) borrows the value, any number of times; [`into_result`] moves it out.
/// - Dropping a future detaches it: the call runs all the same. If it then fails and nobody ever
///   looked at the failure, that is logged.
/// - Two futures are equal if they are the same call, so that Python's `{future: url}` idiom works
///   with a `HashMap`.
///
/// A future is not `Clone`; share it as `Arc<Future<T>>`, or borrow it.
///
/// # Memory ordering
///
/// What the call wrote is visible to whoever saw it done: after `result`, `wait`, `as_completed`,
/// in a callback, or when [`done`](Self::done) returned true.
///
/// # Differences from Python
///
/// A cancelled future is seen by `wait` and `as_completed` at once. A callback can neither
/// deadlock an executor nor kill a worker.
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let future = pool.submit(|(base, exponent)| u64::pow(base, exponent), (7, 3))?;
/// assert_eq!(*future.result()?, 343);
/// assert_eq!(future.into_result()?, 343);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// [`into_result`]: Self::into_result
#[must_use = "a dropped future detaches its call; its result and its failure are lost"]
pub struct Future<T> {
    call: AnyCall<T>,
    /// The call may be shared between threads for any `T: Send`; its future only if `T: Sync`,
    /// because it hands out `&T`.
    hands_out: PhantomData<T>,
}

// A panic cannot leave a call half done: transitions are atomic and user code runs outside them.
impl<T> UnwindSafe for Future<T> {}
impl<T> RefUnwindSafe for Future<T> {}

impl<T> Future<T> {
    pub(crate) fn from_call(call: AnyCall<T>) -> Self {
        Self { call, hands_out: PhantomData }
    }

    pub(crate) fn call(&self) -> &AnyCall<T> {
        &self.call
    }

    pub(crate) fn into_call(self) -> AnyCall<T> {
        self.call
    }

    /// Cancels the call if it has not started; returns whether it is cancelled now.
    ///
    /// The function and what it captured are dropped before this returns, and everybody who waits
    /// is told. A running call is never interrupted.
    ///
    /// In the queue of a [`ThreadPoolExecutor`](crate::futures::ThreadPoolExecutor) an empty shell of the
    /// call stays until a worker gets there: some 64 bytes, and the size of the closure. A
    /// [bounded](crate::futures::ThreadPoolBuilder::queue_capacity) queue clears shells away as calls come.
    ///
    /// # Python
    ///
    /// `Future.cancel`.
    ///
    /// # Threads
    ///
    /// Callbacks run in this thread.
    ///
    /// ```
    /// use concurrent::futures::Promise;
    ///
    /// let (promise, future) = Promise::<()>::pair();
    /// assert!(future.cancel());
    /// assert!(future.cancel()); // still cancelled
    /// assert!(future.cancelled());
    /// assert!(!promise.set_running_or_notify_cancel()?);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        call::cancel(&self.call)
    }

    /// Cancels the call if it has not started, and otherwise asks it to stop.
    ///
    /// A running call cannot be interrupted. It learns of the request when it looks:
    /// [`is_cancel_requested`](crate::futures::is_cancel_requested), [`CancelToken`](crate::futures::CancelToken).
    /// Returns false if the call was done already, or runs in another process, where it cannot be
    /// told: see [`kill`](Self::kill).
    ///
    /// ```
    /// use concurrent::futures::{ThreadPoolExecutor, is_cancel_requested};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.spawn(|| {
    ///     let mut steps = 0_u64;
    ///     while !is_cancel_requested() {
    ///         steps += 1;
    ///     }
    ///     steps
    /// })?;
    /// assert!(call.request_cancel());
    /// assert!(call.cancelled() || call.result().is_ok());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn request_cancel(&self) -> bool {
        call::request_cancel(&self.call)
    }

    /// Ends the call by killing the worker process that runs it; returns whether it will end so.
    ///
    /// A call that has not started is cancelled. One that runs on a thread cannot be stopped, and
    /// one that is done stays as it is: false.
    ///
    /// The call then fails with [`Error::Killed`], the worker is replaced, and the pool goes on. A
    /// call made of others has all of these cancelled or killed.
    ///
    /// ```
    /// use concurrent::futures::Promise;
    ///
    /// let (_promise, future) = Promise::<()>::pair();
    /// assert!(future.kill());
    /// assert!(future.cancelled());
    /// ```
    pub fn kill(&self) -> bool {
        call::kill(&self.call)
    }

    /// Returns whether the call was cancelled.
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (_promise, future) = Promise::<()>::pair();
    /// assert!(!future.cancelled());
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.call.phase() == Phase::Cancelled
    }

    /// Returns whether the call is being run and can no longer be cancelled.
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::<()>::pair();
    /// promise.set_running_or_notify_cancel()?;
    /// assert!(future.running());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn running(&self) -> bool {
        self.call.phase() == Phase::Running
    }

    /// Returns whether the call has finished, failed or been cancelled.
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::pair();
    /// promise.set_result(1)?;
    /// assert!(future.done());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn done(&self) -> bool {
        self.call.core().state().is_done()
    }

    /// Waits for the call and borrows its value.
    ///
    /// # Blocking
    ///
    /// Until the call is done. Costs one atomic load once it is. Inside of another call of the same
    /// pool, this thread [runs it](crate::futures#waiting-inside-of-calls) if it is queued and nobody else
    /// is free to.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if it was cancelled; otherwise what the call failed with:
    /// [`Error::Panicked`], [`Error::Raised`], [`Error::BrokenThreadPool`], ... [`Error::Deadlock`] in a
    /// call, if the wait could never end.
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::pair();
    /// promise.set_result("done")?;
    /// assert_eq!(*future.result()?, "done");
    /// assert_eq!(*future.result()?, "done");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn result(&self) -> Result<&T> {
        self.wait_done(None)?;
        self.value()
    }

    /// Like [`result`](Self::result), waiting no longer than `timeout`; zero polls.
    ///
    /// It runs nothing itself, inside of calls neither: where all workers of the pool wait so, time
    /// passes.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the call is not done in time; the call itself goes on.
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// # use std::time::Duration;
    /// let (_promise, future) = Promise::<()>::pair();
    /// assert!(future.result_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// ```
    pub fn result_timeout(&self, timeout: Duration) -> Result<&T> {
        self.wait_timeout(timeout)?;
        self.value()
    }

    /// Waits for the call and borrows what it failed with; `None` if it succeeded.
    ///
    /// # Blocking
    ///
    /// Until the call is done.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if it was cancelled.
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let future = pool.spawn(|| -> () { panic!("no disk") })?;
    /// let error = future.exception()?.expect("it panicked");
    /// assert!(error.to_string().contains("no disk"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn exception(&self) -> Result<Option<&Error>> {
        self.wait_done(None)?;
        self.failure()
    }

    /// Like [`exception`](Self::exception), waiting no longer than `timeout`; zero polls.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the call is not done in time, [`Error::Cancelled`] if it was cancelled.
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// # use std::time::Duration;
    /// let (promise, future) = Promise::pair();
    /// promise.set_result(())?;
    /// assert!(future.exception_timeout(Duration::ZERO)?.is_none());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn exception_timeout(&self, timeout: Duration) -> Result<Option<&Error>> {
        self.wait_timeout(timeout)?;
        self.failure()
    }

    /// Waits for the call and moves its value out.
    ///
    /// # Blocking
    ///
    /// Until the call is done and its callbacks, which may borrow the value, have returned.
    ///
    /// # Errors
    ///
    /// As [`result`](Self::result). [`Error::Deadlock`] in a callback of the same call, where the
    /// wait could never end. If a callback waits for a worker that waits here, it is the callback that
    /// gets that error.
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let lines: Vec<String> = pool.spawn(|| vec!["moved".to_string()])?.into_result()?;
    /// assert_eq!(lines, ["moved"]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn into_result(self) -> Result<T> {
        self.wait_done(None)?;
        if !self.call.core().state().is_settled() {
            self.wait_settled()?;
        }
        self.take()
    }

    /// Calls `callback` with this future when the call finishes, fails or is cancelled.
    ///
    /// Callbacks run in the order they were added. On a call that is done already, `callback` runs
    /// at once, in this thread.
    ///
    /// # Threads
    ///
    /// In the thread that ends the call: a worker, or whoever cancels. No lock of an executor is
    /// held. A panic is logged and affects neither the other callbacks nor the worker. Threads
    /// blocked in [`result`](Self::result) are woken before callbacks run.
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
        if let Err(Waiter::Callback(callback)) = self.call.core().register(waiter) {
            callback(&self.call);
        }
    }
}

impl<T> IntoFuture for Future<T> {
    type Output = Result<T>;
    type IntoFuture = Awaiting<T>;

    /// Awaits the call on any async runtime; as [`into_result`](Self::into_result), without
    /// blocking.
    fn into_future(self) -> Awaiting<T> {
        Awaiting::new(self)
    }
}

impl<T> PartialEq for Future<T> {
    /// Whether they are the same call.
    fn eq(&self, other: &Self) -> bool {
        PairArc::ptr_eq(&self.call, &other.call)
    }
}

impl<T> Eq for Future<T> {}

impl<T> Hash for Future<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        PairArc::address(&self.call).hash(hasher);
    }
}

impl<T> fmt::Debug for Future<T> {
    /// Like Python's repr: address, state, and what it returned or raised.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = PairArc::address(&self.call);
        write!(f, "<Future at {address:#x} state={}", self.call.phase())?;
        if self.call.core().state().is_finished() {
            // SAFETY: finished, and borrowed from the future that is formatted.
            match unsafe { self.call.core().outcome() } {
                Ok(_) => write!(f, " returned {}", std::any::type_name::<T>())?,
                Err(error) => write!(f, " raised {}", error.variant())?,
            }
        }
        f.write_str(">")
    }
}
