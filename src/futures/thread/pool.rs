//! [`ThreadPoolExecutor`]: a pool from its making to its drop. How calls get in is in `submit.rs`.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::panicking;

use super::builder::{ThreadPoolBuilder, check_workers};
use super::queue::discard;
use super::shared::{PoolSettings, PoolShared};
use super::stats::{PoolStats, stats_of};
use super::worker::is_thread_of;
use crate::error::Result;
#[cfg(feature = "process")]
use crate::futures::Future;
use crate::futures::call::state::Phase;
#[cfg(feature = "process")]
use crate::futures::executor::{Portable, impl_executor};
use crate::futures::executor::{ShutdownOptions, ShutdownReport};
#[cfg(feature = "process")]
use crate::futures::map::{Map, MapOptions};
use crate::sync::deadline_after;
use crate::user_code::install_hook;

/// Runs calls on a pool of worker threads.
///
/// - Calls start in the order in which they were submitted, unless the pool has another
///   [`discipline`](ThreadPoolBuilder::discipline). The queue has no limit and submitting never
///   blocks on load, unless the pool has a [`queue_capacity`](ThreadPoolBuilder::queue_capacity).
/// - Threads are started as calls need them, idle ones are reused first, and they live as long as
///   the pool, unless it has a [`keep_alive`](ThreadPoolBuilder::keep_alive) or is
///   [resized](Self::resize).
/// - A call may panic, drop its own pool or shut it down: the workers go on.
/// - Dropping the pool ends it like Python's `with` block: all submitted calls run, and the drop
///   waits for them. While a panic unwinds, calls that have not started are cancelled first. The
///   drop does not wait in one of the pool's own workers, nor after a
///   [`shutdown_with`](Self::shutdown_with) that chose not to wait, or whose time ran out.
///
/// A pool can live in a `static` (`LazyLock`). Statics are never dropped: when `main` returns, the
/// process ends, and running calls end with it.
///
/// # Python
///
/// `concurrent.futures.ThreadPoolExecutor`. Here the default is five workers per processor, and the
/// end of the process waits for no pool that was not dropped.
///
/// # Examples
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(4)?;
/// let with_argument = pool.submit(|n: u64| (1..=n).sum::<u64>(), 100)?;
/// let text = String::from("captured");
/// let closure = pool.spawn(move || text.len())?;
/// assert_eq!((*with_argument.result()?, *closure.result()?), (5050, 8));
/// # Ok::<(), concurrent::Error>(())
/// ```
pub struct ThreadPoolExecutor {
    shared: Arc<PoolShared>,
}

impl ThreadPoolExecutor {
    /// Makes a pool of at most `max_workers` threads.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `max_workers` is 0.
    ///
    /// # Python
    ///
    /// `ThreadPoolExecutor(max_workers)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// assert_eq!(pool.spawn(|| 1 + 1)?.into_result()?, 2);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn new(max_workers: usize) -> Result<Self> {
        Self::builder().max_workers(max_workers).build()
    }

    /// Starts a builder with the default settings: five workers per processor.
    ///
    /// # Python
    ///
    /// The keyword arguments of `ThreadPoolExecutor(...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::builder().thread_name_prefix("io").build()?;
    /// let name = pool.spawn(|| std::thread::current().name().map(str::to_owned))?.into_result()?;
    /// assert_eq!(name.as_deref(), Some("io_0"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }

    pub(crate) fn with_settings(settings: PoolSettings) -> Self {
        /// Numbers the pools without a name of their own.
        static UNNAMED: AtomicUsize = AtomicUsize::new(0);

        install_hook();
        let prefix = settings.thread_name_prefix.clone().unwrap_or_else(|| {
            // ORDERING: Relaxed; only the number itself matters.
            format!("ThreadPoolExecutor-{}", UNNAMED.fetch_add(1, Ordering::Relaxed))
        });
        Self { shared: PoolShared::new(settings, prefix) }
    }

    /// Returns the largest number of threads that this pool may have; see [`resize`](Self::resize).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// assert_eq!(ThreadPoolExecutor::new(4)?.max_workers(), 4);
    /// assert!(ThreadPoolExecutor::default().max_workers() >= 5);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn max_workers(&self) -> usize {
        self.shared.queue().max_workers()
    }

    pub(super) fn shared(&self) -> &Arc<PoolShared> {
        &self.shared
    }

    /// Starts [`min_workers`](super::ThreadPoolBuilder::min_workers) threads now, or all if that
    /// was not set; returns how many threads there are.
    ///
    /// Without it each thread is started by the call that needs it.
    ///
    /// # Errors
    ///
    /// [`Error::ThreadStart`](crate::Error::ThreadStart) if the system starts no more; the threads
    /// that were started stay. [`Error::Shutdown`](crate::Error::Shutdown) or
    /// [`Error::BrokenThreadPool`](crate::Error::BrokenThreadPool) as for `submit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(3)?;
    /// assert_eq!(pool.prestart()?, 3);
    /// assert_eq!(pool.stats().workers, 3);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn prestart(&self) -> Result<usize> {
        let shared = self.shared();
        shared.queue().prestart(&|status, index| shared.start(status, index))
    }

    /// Changes the largest number of threads that this pool may have.
    ///
    /// If there are more, idle workers end at once and busy ones after their call. If calls wait
    /// and there may be more threads, they are started. A worker that is ending does not count any
    /// more.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `max_workers` is 0 or less than
    /// [`min_workers`](super::ThreadPoolBuilder::min_workers).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// pool.resize(8)?;
    /// assert_eq!(pool.max_workers(), 8);
    /// assert!(pool.resize(0).is_err());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn resize(&self, max_workers: usize) -> Result<()> {
        let shared = self.shared();
        check_workers(shared.queue().min_workers, max_workers)?;
        shared.queue().resize(max_workers, &|status, index| shared.start(status, index));
        Ok(())
    }

    /// Returns the state and the totals of the pool, all of the same moment.
    ///
    /// A thread that has seen the result of a call finds that call counted. A call that is
    /// cancelled while a worker takes it out of the queue may count as queued until the worker has
    /// noticed.
    ///
    /// # Blocking
    ///
    /// It holds the pool's locks for a time proportional to the number of workers and queued calls,
    /// and before that, for a moment, the lock under which workers begin to block. It waits for
    /// nothing else, so that it can be called anywhere, even in a logger.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// pool.spawn(|| 1)?.into_result()?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.finished, stats.running, stats.queued), (1, 0, 0));
    /// assert_eq!((stats.workers, stats.idle), (1, 1));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        stats_of(self.shared())
    }

    /// Refuses further calls, runs the submitted ones, and waits for the workers to end.
    ///
    /// It may be called more than once, and from several threads.
    ///
    /// # Blocking
    ///
    /// Until all calls are done and all threads have been joined. In one of the pool's own workers
    /// (in a call, a callback, or the destructor of a thread-local) it does not wait.
    ///
    /// # Python
    ///
    /// `shutdown(wait=True)`; see [`shutdown_with`](Self::shutdown_with) for the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.spawn(|| 1)?;
    /// pool.shutdown();
    /// assert!(call.done());
    /// assert!(matches!(pool.spawn(|| 2), Err(Error::Shutdown)));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn shutdown(&self) {
        self.shutdown_with(ShutdownOptions::new());
    }

    /// Shuts the pool down as `options` say; reports which calls are left.
    ///
    /// # Blocking
    ///
    /// As `options` say; never in one of the pool's own workers.
    ///
    /// # Python
    ///
    /// `shutdown(wait=..., cancel_futures=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
    /// assert!(report.is_complete());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "cancel_futures")]
    pub fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
        self.shared().queue().close();
        self.finish(options)
    }

    /// The second half of a shutdown, when the queue is closed.
    pub(super) fn finish(&self, options: ShutdownOptions) -> ShutdownReport {
        let deadline = options.timeout.and_then(deadline_after);
        let queue = self.shared().queue();
        let mut report = ShutdownReport::default();
        if options.request_cancel {
            self.shared().stop_flag().raise();
        }
        if options.cancel_futures {
            let given_up = queue.drain();
            discard(given_up.cancelled);
            for task in given_up.pending {
                match task.cancel() {
                    Phase::Pending => report.cancelled += 1,
                    found => queue.was_not_pending(found, |counts| &mut counts.cancelled),
                }
            }
        }
        if options.wait && !is_thread_of(self.shared()) {
            queue.join(self.shared().id(), deadline);
        }
        let left = queue.left();
        report.pending = left.waiting;
        report.running = left.running;
        report
    }
}

impl Drop for ThreadPoolExecutor {
    fn drop(&mut self) {
        // An earlier shutdown has decided already whether to wait.
        if self.shared().queue().close() {
            self.finish(ShutdownOptions::new().cancel_futures(panicking()));
        }
    }
}

impl Default for ThreadPoolExecutor {
    /// Makes a pool of five workers per processor.
    fn default() -> Self {
        Self::builder().build().expect("the default settings are valid")
    }
}

#[cfg(feature = "process")]
impl_executor!(ThreadPoolExecutor);

// A panic leaves no pool half changed, because user code runs outside of its locks.
impl UnwindSafe for ThreadPoolExecutor {}
impl RefUnwindSafe for ThreadPoolExecutor {}

impl fmt::Debug for ThreadPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.shared().queue().left();
        f.debug_struct("ThreadPoolExecutor")
            .field("prefix", &self.shared().prefix())
            .field("max_workers", &self.max_workers())
            .field("pending", &left.waiting)
            .field("running", &left.running)
            .field("blocked", &left.blocked)
            .finish_non_exhaustive()
    }
}
