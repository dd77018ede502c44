//! [`ShutdownOptions`] and [`ShutdownReport`]: how an executor is shut down, and what that left.

use std::time::Duration;

/// The options of a shutdown. By default it waits for everything that was submitted.
///
/// # Python
///
/// The arguments of `Executor.shutdown`. `request_cancel` and `timeout` have no counterpart there.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
/// use std::time::Duration;
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let options = ShutdownOptions::new().cancel_futures(true).timeout(Duration::from_secs(5));
/// let report = pool.shutdown_with(options);
/// assert!(report.is_complete());
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "pass them to shutdown_with"]
#[non_exhaustive]
pub struct ShutdownOptions {
    /// Whether to wait for the calls and the workers.
    pub wait: bool,
    /// Whether to cancel calls that have not started.
    pub cancel_futures: bool,
    /// Whether to ask calls to stop.
    pub request_cancel: bool,
    /// The longest time to wait; `None` is no limit.
    pub timeout: Option<Duration>,
}

impl ShutdownOptions {
    /// Makes the default options: wait without a time limit, cancel nothing, ask nothing to stop.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ShutdownOptions;
    /// let options = ShutdownOptions::new();
    /// assert!(options.wait && !options.cancel_futures && options.timeout.is_none());
    /// ```
    pub fn new() -> Self {
        Self { wait: true, cancel_futures: false, request_cancel: false, timeout: None }
    }

    /// Sets whether to wait for the calls and the workers. Without waiting, they finish in the
    /// background.
    ///
    /// # Python
    ///
    /// `shutdown(wait=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.spawn(|| "in the background")?;
    /// pool.shutdown_with(ShutdownOptions::new().wait(false)); // returns at once
    /// assert_eq!(call.into_result()?, "in the background");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn wait(mut self, wait: bool) -> Self {
        self.wait = wait;
        self
    }

    /// Sets whether to cancel the calls that have not started. Running calls finish in any case.
    ///
    /// To give pending calls some time before that, shut down twice: first with a
    /// [`timeout`](Self::timeout), then with this.
    ///
    /// # Python
    ///
    /// `shutdown(cancel_futures=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let calls: Vec<_> = (0..100).map(|n| pool.submit(|n: u32| n + 1, n)).collect::<Result<_, _>>()?;
    /// let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
    /// assert_eq!(calls.iter().filter(|call| call.cancelled()).count(), report.cancelled);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn cancel_futures(mut self, cancel: bool) -> Self {
        self.cancel_futures = cancel;
        self
    }

    /// Sets whether to ask all calls to stop: those that run, and those that start later.
    ///
    /// A call learns of it by [`is_cancel_requested`](crate::futures::is_cancel_requested) or a
    /// [`CancelToken`](crate::futures::CancelToken). A call that looks at neither goes on, and so do calls
    /// in other processes.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor, is_cancel_requested};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let endless = pool.spawn(|| while !is_cancel_requested() {})?;
    /// let report = pool.shutdown_with(ShutdownOptions::new().request_cancel(true));
    /// assert!(report.is_complete() && endless.done());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn request_cancel(mut self, request: bool) -> Self {
        self.request_cancel = request;
        self
    }

    /// Sets the longest time to wait, counted from the call of `shutdown_with`.
    ///
    /// Calls that have not ended by then go on in the background. The drop of the pool does not
    /// wait for them, and they are lost when `main` returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let (open, gate) = mpsc::channel::<()>();
    /// let call = pool.spawn(move || gate.recv())?;
    /// let report = pool.shutdown_with(ShutdownOptions::new().timeout(Duration::from_millis(1)));
    /// assert!(!report.is_complete());
    /// drop(open);
    /// assert!(call.result()?.is_err()); // the gate is gone
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl Default for ShutdownOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The calls that a shutdown left unfinished, as numbers. Their futures tell which calls these are.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let report = pool.shutdown_with(ShutdownOptions::new());
/// assert_eq!((report.cancelled, report.pending, report.running), (0, 0, 0));
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Calls that this shutdown cancelled.
    pub cancelled: usize,
    /// Calls that were submitted and have not started.
    pub pending: usize,
    /// Calls that are running.
    pub running: usize,
}

impl ShutdownReport {
    /// Returns whether no call is pending or running.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// drop(pool.spawn(|| "submitted before")?);
    /// assert!(pool.shutdown_with(ShutdownOptions::new()).is_complete());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pending == 0 && self.running == 0
    }
}
