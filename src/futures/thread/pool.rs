//! [`ThreadPoolExecutor`]: the user's side of the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::builder::{Initializer, ThreadPoolBuilder};
use super::lifecycle_settings::WorkerHooks;
use super::queue::{FullQueue, Queue, Shape, TaskRef, WorkerStatus};
use super::worker::work;
use crate::error::Result;
use crate::futures::Future;
use crate::futures::call::Call;
use crate::futures::call::assist::RunInPlace;
use crate::futures::call::cancel_token::StopFlag;
use crate::futures::call::current::PoolId;
use crate::futures::call::run::{CallName, NameOf, QueuedFn};
use crate::futures::deadlock::{PoolCapacity, register_pool};
use crate::futures::map::{Map, MapOptions, Piece, run_chunk};
use crate::sync::{JoinHandle, spawn};
use crate::user_code::{contain, install_hook};

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

/// What the pool and its workers share.
pub(crate) struct PoolShared {
    id: PoolId,
    queue: Queue,
    settings: PoolSettings,
    /// The settings' prefix, or the default one.
    prefix: String,
    stop: StopFlag,
}

/// Checked settings; see [`ThreadPoolBuilder`] for what they mean.
pub(crate) struct PoolSettings {
    pub(crate) shape: Shape,
    pub(crate) when_full: FullQueue,
    pub(crate) thread_name_prefix: Option<String>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) initializer: Option<Initializer>,
    pub(crate) hooks: WorkerHooks,
    pub(crate) run_in_place: RunInPlace,
}

impl PoolShared {
    /// Each by itself: a drop may panic.
    pub(super) fn drop_what_is_the_users(&mut self) {
        let WorkerHooks { on_start, on_stop, state, context } =
            std::mem::take(&mut self.settings.hooks);
        let initializer = self.settings.initializer.take();
        let broken = self.queue.control.lock().broken.take();
        contain("dropping an initializer", || drop(initializer));
        contain("dropping on_worker_start", || drop(on_start));
        contain("dropping on_worker_stop", || drop(on_stop));
        contain("dropping what makes the state of workers", || drop(state));
        contain("dropping what captures the context of calls", || drop(context));
        contain("dropping the error of an initializer", || drop(broken));
    }

    pub(crate) fn id(&self) -> PoolId {
        self.id
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Raised when all calls are asked to stop.
    pub(super) fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }

    pub(super) fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn initializer(&self) -> Option<&Initializer> {
        self.settings.initializer.as_ref()
    }

    /// Starts the worker number `index`.
    pub(crate) fn start(
        self: &Arc<Self>,
        flag: Arc<WorkerStatus>,
        index: usize,
    ) -> std::io::Result<JoinHandle<()>> {
        let pool = Arc::clone(self);
        let name = format!("{}_{index}", self.prefix);
        spawn(name, self.settings.stack_size, move || work(&pool, &flag))
    }

    /// Queues `function`; its call is named for `N`.
    pub(super) fn enqueue<T, F, N>(self: &Arc<Self>, function: F) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
        N: 'static,
    {
        self.enqueue_named(function, NameOf::<N>::new())
    }

    /// Queues `function` under a name.
    pub(super) fn enqueue_named<T, F, N>(
        self: &Arc<Self>,
        function: F,
        name: N,
    ) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
        N: CallName,
    {
        if !self.settings.is_plain() {
            return self.enqueue_with(function, name, self.default_options());
        }
        let (call, own) = Call::<T, _>::queued(self.id, QueuedFn::new(function, name, ()));
        let future = Future::from_call(own);
        match self.queue.push(TaskRef::new(call), 0, &|flag, index| self.start(flag, index)) {
            Ok(()) => Ok(future),
            Err((error, refused)) => {
                contain("dropping a call that was refused", || drop((refused, future)));
                Err(error)
            }
        }
    }
}

impl PoolShared {
    /// Each call submits the next item, or the next chunk of them.
    fn pieces<A, R, F, I>(
        self: &Arc<Self>,
        options: &MapOptions,
        function: F,
        mut items: I,
    ) -> impl FnMut() -> Option<Result<Piece<R>>> + use<A, R, F, I>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: Iterator<Item = A>,
    {
        let shared = Arc::clone(self);
        let function = Arc::new(function);
        let size = options.chunk();
        move || {
            let item = items.next()?;
            let function = Arc::clone(&function);
            if size == 1 {
                let call = shared.enqueue_piece::<_, _, F>(move || function(item));
                return Some(call.map(Piece::One));
            }
            let chunk: Vec<A> =
                std::iter::once(item).chain(items.by_ref().take(size - 1)).collect();
            let count = chunk.len();
            let call = shared.enqueue_piece::<_, _, F>(move || run_chunk(&*function, chunk));
            Some(call.map(|call| Piece::Chunk(call, count)))
        }
    }
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
        /// Numbers the pools that nobody named.
        static UNNAMED: AtomicUsize = AtomicUsize::new(0);

        install_hook();
        let prefix = settings.thread_name_prefix.clone().unwrap_or_else(|| {
            // ORDERING: Relaxed; only the number itself matters.
            format!("ThreadPoolExecutor-{}", UNNAMED.fetch_add(1, Ordering::Relaxed))
        });
        let capacity = PoolCapacity::new(prefix.clone());
        let queue = Queue::new(settings.shape, Arc::clone(&capacity));
        let id = register_pool(capacity);
        let stop = StopFlag::default();
        Self { shared: Arc::new(PoolShared { id, queue, settings, prefix, stop }) }
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
        self.shared.queue.max_workers()
    }

    pub(super) fn shared(&self) -> &Arc<PoolShared> {
        &self.shared
    }

    /// Schedules `function(argument)`; several arguments go as a tuple.
    ///
    /// # Blocking
    ///
    /// Only if the queue is bounded and full; see
    /// [`queue_capacity`](ThreadPoolBuilder::queue_capacity).
    ///
    /// # Threads
    ///
    /// `function` runs in a worker, and is dropped there with its captures as soon as it has
    /// returned. If the call is cancelled, the thread that cancels drops them.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`](crate::Error::Shutdown) after [`shutdown`](Self::shutdown),
    /// [`Error::BrokenThreadPool`](crate::Error::BrokenThreadPool) after an initializer failed,
    /// [`Error::ThreadStart`](crate::Error::ThreadStart) if the system starts no thread and the
    /// pool has none, [`Error::QueueFull`](crate::Error::QueueFull) if the pool refuses calls when
    /// its queue is full. In each case `function` and `argument` are dropped in this thread.
    ///
    /// # Python
    ///
    /// `submit(fn, *args)`. It does not wait for the worker's start: a [`cancel`](Future::cancel)
    /// right after it may still succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let power = pool.submit(|(base, exponent)| u32::pow(base, exponent), (2, 10))?;
    /// assert_eq!(*power.result()?, 1024);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn submit<A, R, F>(&self, function: F, argument: A) -> Result<Future<R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(A) -> R + Send + 'static,
    {
        self.shared.enqueue::<R, _, F>(move || function(argument))
    }

    /// Schedules a closure.
    ///
    /// # Blocking
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Python
    ///
    /// `submit(lambda: ...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let words = vec!["a", "b"];
    /// assert_eq!(pool.spawn(move || words.concat())?.into_result()?, "ab");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "submit")]
    pub fn spawn<R, F>(&self, function: F) -> Result<Future<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.shared.enqueue::<R, F, F>(function)
    }

    /// Calls `function` with each item, in parallel; yields the results in the order of the items.
    ///
    /// It submits all items before it returns. A call that fails yields an `Err` in its place, and
    /// the others go on. Dropping the iterator cancels the calls that have not started. If the pool
    /// was shut down, the iterator yields that error and ends.
    ///
    /// # Blocking
    ///
    /// `next` blocks until the next call in order is done.
    ///
    /// # Python
    ///
    /// `Executor.map(fn, iterable)`; for `timeout`, `chunksize` and `buffersize` see
    /// [`map_with`](Self::map_with). Several iterables are zipped: `pool.map(|(a, b)| ...,
    /// a.zip(b))`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let squares: Result<Vec<_>, _> = pool.map(|n| n * n, 1..=4).collect();
    /// assert_eq!(squares?, [1, 4, 9, 16]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn map<A, R, F, I>(&self, function: F, items: I) -> Map<'static, R>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
    {
        let options = MapOptions::default();
        Map::eager(&options, self.shared.pieces(&options, function, items.into_iter()))
    }

    /// Like [`map`](Self::map), with a time limit, chunks, a bounded look-ahead, or results in the
    /// order in which the calls end; see [`MapOptions`].
    ///
    /// # Blocking
    ///
    /// With a [buffer size](MapOptions::buffer_size), each `next` submits a call and waits for one;
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
    /// # use concurrent::futures::{MapOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let endless = pool.map_with(MapOptions::new().buffer_size(8), |n| n * 2, 0u64..)?;
    /// let first: Result<Vec<_>, _> = endless.take(3).collect();
    /// assert_eq!(first?, [0, 2, 4]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "chunksize")]
    #[doc(alias = "buffersize")]
    pub fn map_with<'a, A, R, F, I>(
        &self,
        options: MapOptions,
        function: F,
        items: I,
    ) -> Result<Map<'a, R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        options.check()?;
        let pieces = self.shared.pieces(&options, function, items.into_iter());
        Map::start(&options, pieces)
    }
}
