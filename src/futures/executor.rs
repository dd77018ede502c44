//! [`Executor`]: what all pools have in common.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Future;
use super::map::{Map, MapOptions};
use crate::error::Result;

/// What may cross the border of a process: the arguments and results of portable calls.
///
/// Implemented for everything that is `Send` and that serde can write and read back: so owned, a
/// `String` and not a `&str`, of which the compiler says that its `Deserialize` is not general enough.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or result of a portable call",
    label = "needs serde's `Serialize` and `Deserialize`",
    note = "it must be `Send + 'static` and implement serde's `Serialize` and `Deserialize`; \
            derive these, or let the call take and return something that has them; a call that \
            stays on threads needs neither: use the methods of `ThreadPoolExecutor` itself"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Portable for T {}

/// An executor of any kind. Code written against it runs unchanged on threads, processes or a
/// cluster.
///
/// The bounds are what it takes to cross a process border: a function (or a closure that captures
/// nothing), and [`Portable`] arguments and results. [`ThreadPoolExecutor`] has methods of the same
/// names without them.
///
/// There is no `dyn Executor`: to choose one at run time, `match` and call the generic function in
/// each arm.
///
/// To write one, implement `submit` with a [`Promise`](super::Promise), and `shutdown_with`.
///
/// ```
/// use concurrent::futures::{Executor, ThreadPoolExecutor};
/// use concurrent::Result;
///
/// fn total(executor: &impl Executor, lengths: &[u64]) -> Result<u64> {
///     executor.map(|n: u64| n * n, lengths.to_vec()).sum()
/// }
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// assert_eq!(total(&pool, &[1, 2, 3])?, 14);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// [`ThreadPoolExecutor`]: super::ThreadPoolExecutor
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no executor",
    note = "take a reference to a `ThreadPoolExecutor` or a `ProcessPoolExecutor`, or implement \
            `Executor`"
)]
pub trait Executor: Sync {
    /// Schedules `function(argument)`; several arguments go as a tuple.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`](crate::Error::Shutdown) after a shutdown, or what the executor adds.
    fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Future<R>>
    where
        A: Portable,
        R: Portable;

    /// Shuts down as `options` say, and tells what was left unfinished.
    fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport;

    /// Refuses further calls, runs those that were submitted, and waits for them.
    fn shutdown(&self) {
        self.shutdown_with(ShutdownOptions::new());
    }

    /// Calls `function` with each item, at once and in parallel; yields the results in the order of
    /// the items. See [`ThreadPoolExecutor::map`](super::ThreadPoolExecutor::map).
    fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        let mut items = items.into_iter();
        Map::eager(&MapOptions::default(), || {
            let item = items.next()?;
            Some(self.submit(function, item).map(Into::into))
        })
    }

    /// Like [`map`](Self::map), with options. The pools of this crate honour all of them; the
    /// provided method, for executors written elsewhere, ignores the chunk size.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the chunk or buffer size is 0.
    /// Otherwise what refuses the first call, such as [`Error::Shutdown`](crate::Error::Shutdown);
    /// what refuses a later one comes after the results of those before.
    fn map_with<'a, A, R, I>(
        &'a self,
        options: MapOptions,
        function: fn(A) -> R,
        items: I,
    ) -> Result<Map<'a, R>>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        options.check()?;
        let mut items = items.into_iter();
        Map::start(&options, move || {
            let item = items.next()?;
            Some(self.submit(function, item).map(Into::into))
        })
    }
}

/// The trait of a pool that has methods of the same names: it calls these.
macro_rules! impl_executor {
    ($pool:ty) => {
        impl $crate::futures::Executor for $pool {
            #[track_caller]
            fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Future<R>>
            where
                A: Portable,
                R: Portable,
            {
                Self::submit(self, function, argument)
            }

            #[track_caller]
            fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
            where
                A: Portable,
                R: Portable,
                I: IntoIterator<Item = A>,
            {
                Self::map(self, function, items)
            }

            #[track_caller]
            fn map_with<'a, A, R, I>(
                &'a self,
                options: MapOptions,
                function: fn(A) -> R,
                items: I,
            ) -> Result<Map<'a, R>>
            where
                A: Portable,
                R: Portable,
                I: IntoIterator<Item = A>,
                I::IntoIter: Send + 'a,
            {
                Self::map_with(self, options, function, items)
            }

            fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
                Self::shutdown_with(self, options)
            }
        }
    };
}
pub(crate) use impl_executor;

/// How an executor is shut down; the default waits for everything that was submitted.
///
/// ```
/// use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
/// use std::time::Duration;
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let options = ShutdownOptions::new().cancel_futures(true).timeout(Duration::from_secs(5));
/// let report = pool.shutdown_with(options);
/// assert_eq!((report.pending, report.running), (0, 0));
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
    /// The longest time to wait.
    pub timeout: Option<Duration>,
}

impl ShutdownOptions {
    /// Waits, cancels nothing, without a time limit.
    pub fn new() -> Self {
        Self { wait: true, cancel_futures: false, request_cancel: false, timeout: None }
    }

    /// Whether to wait for the calls and the workers. Without, they finish in the background.
    pub fn wait(mut self, wait: bool) -> Self {
        self.wait = wait;
        self
    }

    /// Whether to cancel, at once, calls that have not started. Running ones finish in any case.
    ///
    /// To give those that wait some time as well, shut down twice: first with a
    /// [`timeout`](Self::timeout), then with this.
    pub fn cancel_futures(mut self, cancel: bool) -> Self {
        self.cancel_futures = cancel;
        self
    }

    /// Whether to ask all calls to stop: those that run, and those that start later. They learn of it
    /// by [`is_cancel_requested`](super::is_cancel_requested) or a [`CancelToken`](super::CancelToken);
    /// who does not look goes on.
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

    /// Waits no longer than this. What is unfinished then goes on in the background; the drop of the
    /// pool does not wait for it, and it is lost when `main` returns.
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

/// What a shutdown left unfinished, as counts of calls; which ones, their futures tell.
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
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pending == 0 && self.running == 0
    }
}
