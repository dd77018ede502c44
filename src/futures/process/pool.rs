//! [`ProcessPoolExecutor`]: the user's side of the pool.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use rustix::process::Signal;

use super::builder::ProcessPoolBuilder;
use super::parent::manager::PoolManager;
use super::settings::ProcessSettings;
use super::stats::ProcessPoolStats;
use crate::error::Result;
use crate::futures::Future;
use crate::futures::executor::{Portable, ShutdownOptions, ShutdownReport, impl_executor};
use crate::futures::map::{Map, MapOptions};
use crate::futures::process::child::init::pools_around;
use crate::futures::process::handshake::Welcome;
use crate::futures::remote::executor::RemoteExecutor;
use crate::futures::remote::segments::Arena;
use crate::user_code::install_hook;

/// Runs calls on a pool of worker processes.
///
/// A call is a function, or a closure that captures nothing, and an argument that serde can
/// serialise; see [`Portable`]. The program must begin with
/// [`init`](crate::futures::process::init).
///
/// - Calls start in the order in which they were submitted. The queue has no limit; submitting
///   never blocks on a worker.
/// - Processes are started as calls need them, idle ones are reused first, and they live as long as
///   the pool, unless the [builder](Self::builder) says otherwise. They are fresh executions of
///   this program, never forks, and end when this process does.
/// - A panic is the failure of its call. The death of a worker breaks the pool, as in Python,
///   unless the builder says otherwise.
/// - Dropping the pool ends it like Python's `with` block: all submitted calls run, and the drop
///   waits for them. While a panic unwinds, calls that have not started are cancelled first. The
///   drop does not wait in a callback of one of the pool's own calls, nor after a
///   [`shutdown_with`](Self::shutdown_with) that chose not to wait, or whose time ran out.
///
/// # Threads
///
/// Callbacks run in a thread of the pool. They may take their time and may wait, even for calls of
/// this very pool (in Python that hangs): if one has not returned after a few milliseconds, another
/// thread takes over the supervision of its worker. The same holds for functions that follow a
/// call, for decoding a result, and for dropping one that nobody took.
///
/// # Python
///
/// `concurrent.futures.ProcessPoolExecutor`. Functions cross by their place in the program, not by
/// name. `submit` refuses an argument that cannot be encoded. A value that cannot be decoded fails
/// its call, not the pool. Calls that were sent ahead to a worker are pending, and can be
/// cancelled. The error of a dead worker names the call.
///
/// # Examples
///
/// ```
/// use concurrent::futures::ProcessPoolExecutor;
///
/// fn sum(to: u64) -> u64 {
///     (1..=to).sum()
/// }
///
/// fn main() -> concurrent::Result<()> {
///     concurrent::futures::process::init();
///     let pool = ProcessPoolExecutor::new(4)?;
///     let function = pool.submit(sum, 100)?;
///     let closure = pool.submit(|(base, exponent)| u64::pow(base, exponent), (7, 3))?;
///     assert_eq!((*function.result()?, *closure.result()?), (5050, 343));
///     Ok(())
/// }
/// ```
///
/// A closure that captures something does not compile:
///
/// ```compile_fail,E0308
/// # use concurrent::futures::ProcessPoolExecutor;
/// # fn f(pool: &ProcessPoolExecutor) {
/// let factor = 3;
/// let _ = pool.submit(|n: u64| n * factor, 5);
/// # }
/// ```
pub struct ProcessPoolExecutor {
    inner: RemoteExecutor<PoolManager>,
}

impl ProcessPoolExecutor {
    /// Makes a pool of at most `max_workers` processes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `max_workers` is 0,
    /// [`Error::NotInitialized`](crate::Error::NotInitialized) if the program did not call
    /// [`init`](crate::futures::process::init).
    ///
    /// # Python
    ///
    /// `ProcessPoolExecutor(max_workers)`.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// use concurrent::{Error, futures::ProcessPoolExecutor};
    ///
    /// // Here nobody has called `process::init()`.
    /// assert!(matches!(ProcessPoolExecutor::new(2), Err(Error::NotInitialized(_))));
    /// assert!(matches!(ProcessPoolExecutor::new(0), Err(Error::InvalidArgument(_))));
    /// ```
    pub fn new(max_workers: usize) -> Result<Self> {
        Self::builder().max_workers(max_workers).build()
    }

    /// Starts a builder with the default settings: one worker per processor.
    ///
    /// # Python
    ///
    /// The keyword arguments of `ProcessPoolExecutor(...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(2).max_tasks_per_child(100).build()?;
    /// assert_eq!(pool.max_workers(), 2);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::default()
    }

    pub(crate) fn with_settings(settings: ProcessSettings, arena: Arena) -> Result<Self> {
        install_hook();
        let welcome = Welcome::new(pools_around() + 1, settings.max_message_size)?;
        Ok(Self { inner: RemoteExecutor { pool: PoolManager::new(settings, arena, welcome) } })
    }

    /// Returns the largest number of processes that this pool may have.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// assert_eq!(ProcessPoolExecutor::new(2)?.max_workers(), 2);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn max_workers(&self) -> usize {
        self.inner.pool.settings().max_workers
    }

    /// Returns the state and the totals of the pool, all of the same moment.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(2)?;
    /// pool.submit(|n: u32| n + 1, 1)?.into_result()?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.submitted, stats.pending, stats.started), (1, 0, 1));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> ProcessPoolStats {
        self.inner.pool.stats()
    }

    /// Schedules `function(argument)`; several arguments go as a tuple.
    ///
    /// # Blocking
    ///
    /// Never on load: it does not wait for a worker, nor until one has started.
    ///
    /// # Threads
    ///
    /// This thread encodes the argument and drops it. A thread of the pool, or one that waits for
    /// the result, decodes the result.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`](crate::Error::Encode) or
    /// [`Error::MessageTooLarge`](crate::Error::MessageTooLarge) for the argument,
    /// [`Error::Shutdown`](crate::Error::Shutdown) after [`shutdown`](Self::shutdown),
    /// [`Error::BrokenProcessPool`](crate::Error::BrokenProcessPool) after the pool broke.
    ///
    /// # Python
    ///
    /// `submit(fn, *args)`. There an argument that cannot be pickled fails the call later.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let power = pool.submit(|(base, exponent)| u32::pow(base, exponent), (2, 10))?;
    /// assert_eq!(*power.result()?, 1024);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[track_caller]
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Future<R>>
    where
        A: Portable,
        R: Portable,
    {
        self.inner.submit(function, argument)
    }

    /// Calls `function` with each item, in parallel; yields the results in the order of the items.
    ///
    /// It submits all items before it returns. A call that fails, or whose item cannot be encoded,
    /// yields an `Err` in its place, and the others go on. Dropping the iterator cancels the calls
    /// that have not started.
    ///
    /// # Blocking
    ///
    /// `next` blocks until the next call in order is done.
    ///
    /// # Python
    ///
    /// `Executor.map(fn, iterable)`; for `timeout`, `chunksize` and `buffersize` see
    /// [`map_with`](Self::map_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(2)?;
    /// let squares: Result<Vec<u64>, _> = pool.map(|n: u64| n * n, 1..=4).collect();
    /// assert_eq!(squares?, [1, 4, 9, 16]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[track_caller]
    pub fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        self.inner.map(function, items)
    }

    /// Like [`map`](Self::map), with a time limit, chunks, a bounded look-ahead, or results in the
    /// order in which the calls end; see [`MapOptions`].
    ///
    /// Chunks make short calls much cheaper.
    ///
    /// # Blocking
    ///
    /// With a [buffer size](MapOptions::buffer_size), each `next` waits for a call and submits one;
    /// otherwise as [`map`](Self::map).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the chunk size or the buffer
    /// size is 0. [`Error::Shutdown`](crate::Error::Shutdown), or another error of `submit`, if the
    /// pool refuses the first call. If it refuses a later one, the iterator yields that error after
    /// the results before it.
    ///
    /// # Python
    ///
    /// `Executor.map(fn, iterable, timeout=..., chunksize=..., buffersize=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{MapOptions, ProcessPoolExecutor};
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(2)?;
    /// let options = MapOptions::new().chunk_size(100);
    /// let sum: u64 = pool.map_with(options, |n: u64| n, 0..1000)?.sum::<Result<_, _>>()?;
    /// assert_eq!(sum, 499_500);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "chunksize")]
    #[doc(alias = "buffersize")]
    #[track_caller]
    pub fn map_with<'a, A, R, I>(
        &self,
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
        self.inner.map_with(&options, function, items)
    }

    /// Refuses further calls, runs the submitted ones, and waits for the workers to end.
    ///
    /// # Blocking
    ///
    /// Until all calls are done and all processes have ended. In a callback of one of the pool's
    /// own calls it does not wait.
    ///
    /// # Python
    ///
    /// `shutdown(wait=True)`; see [`shutdown_with`](Self::shutdown_with) for the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ProcessPoolExecutor};
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let call = pool.submit(|n: u32| n + 1, 1)?;
    /// pool.shutdown();
    /// assert!(call.done());
    /// assert!(matches!(pool.submit(|n: u32| n + 1, 2), Err(Error::Shutdown)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn shutdown(&self) {
        self.shutdown_with(ShutdownOptions::new());
    }

    /// Shuts the pool down as `options` say; reports which calls are left.
    ///
    /// # Blocking
    ///
    /// As `options` say; never in a callback of one of the pool's own calls.
    ///
    /// # Python
    ///
    /// `shutdown(wait=..., cancel_futures=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{ProcessPoolExecutor, ShutdownOptions};
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let calls: Vec<_> = (0..9).map(|n| pool.submit(|n: u32| n + 1, n)).collect::<Result<_, _>>()?;
    /// let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
    /// assert_eq!(calls.iter().filter(|call| call.cancelled()).count(), report.cancelled);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "cancel_futures")]
    pub fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
        self.inner.shutdown_with(options)
    }

    /// Shuts the pool down without waiting, cancels pending calls, and asks all workers to end
    /// (SIGTERM).
    ///
    /// Calls that run fail with [`Error::BrokenProcessPool`](crate::Error::BrokenProcessPool). A call may
    /// ignore the signal; then [`kill_workers`](Self::kill_workers), [`Future::kill`] or its deadline ends
    /// it.
    ///
    /// # Python
    ///
    /// `terminate_workers()` of 3.14.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let endless = pool.submit(|_: u8| -> u8 { loop { std::hint::spin_loop() } }, 0)?;
    /// while !endless.running() {
    ///     std::thread::yield_now();
    /// }
    /// pool.terminate_workers();
    /// assert!(endless.into_result().unwrap_err().is_broken_executor());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn terminate_workers(&self) {
        self.inner.pool.signal_workers(Signal::TERM);
    }

    /// Like [`terminate_workers`](Self::terminate_workers), but workers cannot refuse (SIGKILL).
    ///
    /// # Python
    ///
    /// `kill_workers()` of 3.14.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ProcessPoolExecutor};
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let stubborn = pool.submit(|_: u8| -> u8 { loop { std::hint::spin_loop() } }, 0)?;
    /// while !stubborn.running() {
    ///     std::thread::yield_now();
    /// }
    /// pool.kill_workers();
    /// assert!(matches!(stubborn.into_result(), Err(Error::BrokenProcessPool { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn kill_workers(&self) {
        self.inner.pool.signal_workers(Signal::KILL);
    }
}

impl_executor!(ProcessPoolExecutor);

// User code runs with no lock held, so that its panics leave nothing half done.
impl UnwindSafe for ProcessPoolExecutor {}
impl RefUnwindSafe for ProcessPoolExecutor {}

impl Drop for ProcessPoolExecutor {
    fn drop(&mut self) {
        self.inner.close_on_drop();
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor")
            .field("max_workers", &self.max_workers())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
