//! [`CancelToken`]: how a running call learns that it should stop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::current::ask_current;

/// Whether the call, or all calls of its pool, were asked to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(crate) fn is_raised(&self) -> bool {
        // ORDERING: Acquire; what the one who asks wrote before is visible.
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Release); // ORDERING: pairs with `is_raised`
    }
}

/// Returns whether the call that runs on this thread was asked to stop.
///
/// [`Future::request_cancel`](crate::futures::Future::request_cancel) asks one call, and
/// [`ShutdownOptions::request_cancel`](crate::futures::ShutdownOptions::request_cancel) all calls
/// of a pool. A running call cannot be interrupted; it can look here from time to time and return
/// early. Outside of a call this is false.
///
/// # Python
///
/// None: programs pass a `threading.Event` along.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ThreadPoolExecutor, is_cancel_requested};
/// use std::hint::spin_loop;
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let endless = pool.spawn(|| while !is_cancel_requested() { spin_loop() })?;
/// endless.request_cancel();
/// let _ = endless.into_result();
/// # Ok::<(), concurrent::Error>(())
/// ```
#[must_use]
pub fn is_cancel_requested() -> bool {
    let asked = |flag: StopFlag| flag.is_raised();
    ask_current(|call, observer| {
        call.is_cancel_requested() || observer.stop_flag().is_some_and(asked)
    })
    .unwrap_or(false)
}

/// Tells a running call, and threads that work for it, whether it was asked to stop.
///
/// Clones share the answer. A token may outlive its call, and then keeps the last answer.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{CancelToken, ThreadPoolExecutor};
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let call = pool.spawn(|| {
///     let token = CancelToken::current().expect("this runs inside of a call");
///     std::thread::spawn(move || while !token.is_cancel_requested() {}).join().is_ok()
/// })?;
/// call.request_cancel();
/// assert!(call.cancelled() || *call.result()?);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone)]
pub struct CancelToken {
    call: StopFlag,
    pool: Option<StopFlag>,
}

impl CancelToken {
    pub(crate) fn new(requested: bool, pool: Option<StopFlag>) -> Self {
        let token = Self { call: StopFlag::default(), pool };
        if requested {
            token.request();
        }
        token
    }

    /// Returns the token of the call that runs on this thread; `None` outside of a call.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{CancelToken, ThreadPoolExecutor};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// assert!(pool.spawn(|| CancelToken::current().is_some())?.into_result()?);
    /// assert!(CancelToken::current().is_none());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn current() -> Option<Self> {
        ask_current(|call, observer| call.token(observer.stop_flag()))
    }

    /// Returns whether this call, or all calls of its pool, were asked to stop.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{CancelToken, ShutdownOptions, ThreadPoolExecutor};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let token = pool.spawn(CancelToken::current)?.into_result()?.expect("the token of the call");
    /// assert!(!token.is_cancel_requested());
    /// pool.shutdown_with(ShutdownOptions::new().request_cancel(true));
    /// assert!(token.is_cancel_requested());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn is_cancel_requested(&self) -> bool {
        self.call.is_raised() || self.pool.as_ref().is_some_and(StopFlag::is_raised)
    }

    pub(crate) fn request(&self) {
        self.call.raise();
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requested = self.is_cancel_requested();
        f.debug_struct("CancelToken").field("requested", &requested).finish()
    }
}
