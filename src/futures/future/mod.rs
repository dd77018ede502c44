//! [`Future`]: the caller's end of a call.

pub(crate) mod awaiting;
mod blocking;
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

use super::call::continuation::Continuations;
use super::call::dependency;
use super::call::pair_arc::PairArc;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::futures::call::AnyCall;
use crate::futures::call::state::Phase;
use crate::futures::future::awaiting::Awaiting;

/// The caller's end of a call: ask for its state, wait for its result, or cancel it.
///
/// [`ThreadPoolExecutor::submit`](crate::futures::ThreadPoolExecutor::submit) and its kin return
/// one, and [`Promise::pair`](crate::futures::Promise::pair) makes one together with its other end.
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
/// Everything that the call wrote is visible to a thread that saw the call done: after `result`,
/// `wait` or `as_completed`, in a callback, or when [`done`](Self::done) returned true.
///
/// # Python
///
/// `concurrent.futures.Future`, without the methods for executors: a
/// [`Promise`](crate::futures::Promise) has these. `wait` and `as_completed` see a cancelled future
/// at once. A callback can neither deadlock an executor nor kill a worker.
///
/// # Examples
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
    /// The call may be shared between threads for any `T: Send`, but its future only if `T: Sync`,
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
    /// It drops the function with its captures before it returns, and notifies everyone who waits.
    /// It never interrupts a running call.
    ///
    /// In the queue of a [`ThreadPoolExecutor`](crate::futures::ThreadPoolExecutor) an empty shell
    /// of the call stays until a worker gets there: some 64 bytes, and the size of the closure. A
    /// [bounded](crate::futures::ThreadPoolBuilder::queue_capacity) queue removes shells as calls
    /// come.
    ///
    /// # Threads
    ///
    /// Callbacks run in this thread.
    ///
    /// # Python
    ///
    /// `Future.cancel()`. There, `wait` and `as_completed` see a cancelled future only when a
    /// worker has reached it.
    ///
    /// # Examples
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
        Continuations::with(|continuations| dependency::cancel(continuations, &self.call))
    }

    /// Cancels the call if it has not started, and otherwise asks it to stop.
    ///
    /// A running call cannot be interrupted. It learns of the request when it looks:
    /// [`is_cancel_requested`](crate::futures::is_cancel_requested),
    /// [`CancelToken`](crate::futures::CancelToken). Returns false if the call was done already, or
    /// if it runs in another process, which the request does not reach: see [`kill`](Self::kill).
    ///
    /// # Threads
    ///
    /// If it cancels the call, callbacks run in this thread.
    ///
    /// # Examples
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
        Continuations::with(|continuations| dependency::request_cancel(continuations, &self.call))
    }

    /// Kills the worker process that runs the call; returns whether the call will end by it.
    ///
    /// A call that has not started is cancelled. A call on a thread cannot be killed, and a call
    /// that is done stays as it is: both return false.
    ///
    /// The killed call fails with [`Error::Killed`], the pool replaces the worker, and goes on. Of
    /// a call that is made of others, all of these are cancelled or killed.
    ///
    /// # Blocking
    ///
    /// Never: it does not wait until the process has ended.
    ///
    /// # Python
    ///
    /// None: a running call cannot be ended there.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "process"))] {
    /// use concurrent::Error;
    /// use concurrent::futures::ProcessPoolExecutor;
    ///
    /// concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let endless = pool.submit(|_: ()| -> () { loop { std::hint::spin_loop() } }, ())?;
    /// while !endless.running() {
    ///     std::thread::yield_now();
    /// }
    /// assert!(endless.kill());
    /// assert!(matches!(endless.result(), Err(Error::Killed { .. })));
    /// # }
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn kill(&self) -> bool {
        Continuations::with(|continuations| dependency::kill(continuations, &self.call))
    }

    /// Returns whether the call was cancelled.
    ///
    /// # Python
    ///
    /// `Future.cancelled()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (_promise, future) = Promise::<()>::pair();
    /// assert!(!future.cancelled());
    /// future.cancel();
    /// assert!(future.cancelled());
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.call.phase() == Phase::Cancelled
    }

    /// Returns whether the call is running and can no longer be cancelled.
    ///
    /// # Python
    ///
    /// `Future.running()`. There it is true already for a call that was sent ahead to a busy worker
    /// process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::<()>::pair();
    /// assert!(!future.running());
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
    /// # Python
    ///
    /// `Future.done()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::pair();
    /// assert!(!future.done());
    /// promise.set_result(1)?;
    /// assert!(future.done());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn done(&self) -> bool {
        self.call.shared().state().is_done()
    }
}

impl<T> IntoFuture for Future<T> {
    type Output = Result<T>;
    type IntoFuture = Awaiting<T>;

    /// Awaits the call on any async runtime: [`into_result`](Self::into_result) without blocking
    /// the thread.
    fn into_future(self) -> Awaiting<T> {
        Awaiting::new(self)
    }
}

impl<T> PartialEq for Future<T> {
    /// Returns whether both are the same call.
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
    /// Writes the address, the state, and the type of the value or the kind of the failure, like
    /// Python's `repr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = PairArc::address(&self.call);
        write!(f, "<Future at {address:#x} state={}", self.call.phase())?;
        if self.call.shared().state().is_finished() {
            // SAFETY: finished, and borrowed from the future that is formatted.
            match unsafe { self.call.shared().outcome() } {
                Ok(_) => write!(f, " returned {}", std::any::type_name::<T>())?,
                Err(error) => write!(f, " raised {}", error.variant())?,
            }
        }
        f.write_str(">")
    }
}
