//! [`ThreadPoolBuilder`]: the settings of a [`ThreadPoolExecutor`].

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::pool::ThreadPoolExecutor;
use super::queue::{Discipline, FullQueue, QueueSettings};
use super::shared::PoolSettings;
use super::worker_local::{Initializer, WorkerHooks};
use crate::error::{Error, Result};
use crate::futures::call::assist::RunInPlace;

/// Calls per processor that the default number of workers allows for: pool calls often wait.
const WORKERS_PER_CPU: usize = 5;

/// The settings of a [`ThreadPoolExecutor`]; [`ThreadPoolExecutor::builder`] makes one.
///
/// # Python
///
/// The arguments of `ThreadPoolExecutor(...)`: `max_workers`, `thread_name_prefix`, `initializer`
/// and `initargs`. The other settings have no counterpart there.
///
/// # Examples
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::builder()
///     .max_workers(2)
///     .thread_name_prefix("fetch")
///     .stack_size(256 * 1024)
///     .build()?;
/// let name = pool.spawn(|| std::thread::current().name().map(str::to_owned))?;
/// assert_eq!(name.into_result()?.as_deref(), Some("fetch_0"));
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "call build() to make the pool"]
pub struct ThreadPoolBuilder {
    max_workers: Option<usize>,
    thread_name_prefix: Option<String>,
    stack_size: Option<usize>,
    pub(super) initializer: Option<Initializer>,
    queue_capacity: Option<usize>,
    when_full: FullQueue,
    discipline: Discipline,
    min_workers: usize,
    keep_alive: Option<Duration>,
    pub(super) hooks: WorkerHooks,
    run_in_place: RunInPlace,
}

impl ThreadPoolBuilder {
    /// Sets the largest number of worker threads. Default: five times the number of processors.
    ///
    /// # Python
    ///
    /// `max_workers`, by default `min(32, cpus + 4)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::builder().max_workers(3).build()?;
    /// assert_eq!(pool.max_workers(), 3);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.max_workers = Some(workers);
        self
    }

    /// Names worker threads: this prefix, an underscore, and a number from 0.
    ///
    /// Default: `ThreadPoolExecutor-` and the number of the pool in this process. Systems show only
    /// the first bytes of a thread's name (Linux 15).
    ///
    /// # Python
    ///
    /// `thread_name_prefix`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::builder().thread_name_prefix("disk").build()?;
    /// let name = || std::thread::current().name().map(str::to_owned);
    /// assert_eq!(pool.spawn(name)?.into_result()?.as_deref(), Some("disk_0"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.thread_name_prefix = Some(prefix.into());
        self
    }

    /// Sets the stack of each worker, in bytes. Default: that of the standard library.
    ///
    /// # Python
    ///
    /// `threading.stack_size`, for the whole process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// fn depth(n: u32) -> u32 {
    ///     if n == 0 { 0 } else { 1 + depth(n - 1) }
    /// }
    ///
    /// let pool = ThreadPoolExecutor::builder().max_workers(1).stack_size(64 << 20).build()?;
    /// assert_eq!(pool.submit(depth, 100_000)?.into_result()?, 100_000);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Sets when a worker that waits for a queued call of this pool runs that call itself. Default:
    /// [`RunInPlace::IfNobodyIsFree`].
    ///
    /// It applies to waits inside of calls: `result` without a time limit, [`wait`] for all of
    /// several, the end of a [`scope`](ThreadPoolExecutor::scope). [`RunInPlace`] says what such a
    /// call shares with the call that waits, and which setting to choose.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{RunInPlace, ThreadPoolExecutor};
    /// use std::sync::Arc;
    ///
    /// let builder = ThreadPoolExecutor::builder().max_workers(2);
    /// let pool = Arc::new(builder.run_in_place(RunInPlace::Always).build()?);
    /// let inner = Arc::clone(&pool);
    /// let sum = pool.spawn(move || {
    ///     let half = inner.spawn(|| (1..=50).sum::<u32>())?;
    ///     let rest = (51..=100).sum::<u32>();
    ///     Ok::<_, concurrent::Error>(half.into_result()? + rest)
    /// })?;
    /// assert_eq!(sum.into_result()??, 5050);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    ///
    /// [`wait`]: crate::futures::wait()
    pub fn run_in_place(mut self, when: RunInPlace) -> Self {
        self.run_in_place = when;
        self
    }

    /// Limits how many calls may wait for a worker. Default: no limit.
    ///
    /// Running and cancelled calls do not count, nor do calls that idle workers are about to take:
    /// with four idle workers and a capacity of two, six calls are taken at once.
    /// [`when_full`](Self::when_full) says what `submit` and `spawn` do when the queue is full;
    /// [`try_submit`](ThreadPoolExecutor::try_submit) and
    /// [`try_spawn`](ThreadPoolExecutor::try_spawn) hand the call back.
    ///
    /// # Blocking
    ///
    /// With a capacity, `submit` and `spawn` block while the queue is full. So do `map` and
    /// `map_with`, whatever `when_full` says, unless they run calls themselves: they lose no item.
    /// In one of the pool's own workers none of them blocks, because room might never come: the
    /// call runs in place instead. The same happens in a call of another pool if room would never
    /// come, for example if two pools are full whose workers submit to each other.
    ///
    /// # Python
    ///
    /// None: the queue has no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::builder().max_workers(2).queue_capacity(10).build()?;
    /// // At no time do more than ten records wait.
    /// let calls = (0..100).map(|record| pool.submit(|n: u32| n + 1, record));
    /// let sum: u32 = calls.map(|call| call?.into_result()).sum::<Result<_, _>>()?;
    /// assert_eq!(sum, 5050);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn queue_capacity(mut self, calls: usize) -> Self {
        self.queue_capacity = Some(calls);
        self
    }

    /// Sets what `submit` and `spawn` do when the queue is full. Default: [`FullQueue::Block`].
    ///
    /// It has no effect without a [`queue_capacity`](Self::queue_capacity). Blocked submitters are
    /// admitted in the order in which they came. A shutdown releases them with
    /// [`Error::Shutdown`], a failed initializer with [`Error::BrokenThreadPool`].
    ///
    /// # Threads
    ///
    /// With [`FullQueue::RunInCaller`] the function may run in the submitting thread, within
    /// `submit`. Under the other settings that happens inside of calls, as
    /// [`queue_capacity`](Self::queue_capacity) says, unless the pool refuses. If the system has no
    /// stack left for it there, the call is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{FullQueue, ThreadPoolExecutor};
    /// use concurrent::Error;
    /// use std::sync::mpsc;
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .queue_capacity(1)
    ///     .when_full(FullQueue::Refuse)
    ///     .build()?;
    /// let (started, runs) = mpsc::channel();
    /// let (release, gate) = mpsc::channel::<()>();
    /// let running = pool.spawn(move || (started.send(()), gate.recv()))?;
    /// runs.recv().expect("the call runs");
    /// let waiting = pool.spawn(|| 1)?;
    /// assert!(matches!(pool.spawn(|| 2), Err(Error::QueueFull)));
    /// drop(release);
    /// assert_eq!(waiting.into_result()?, 1);
    /// # drop(running);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn when_full(mut self, full: FullQueue) -> Self {
        self.when_full = full;
        self
    }

    /// Sets which of the waiting calls a worker takes next. Default: [`Discipline::Fifo`].
    ///
    /// # Python
    ///
    /// None: it is first in, first out.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{Discipline, ThreadPoolExecutor};
    /// use std::sync::mpsc;
    ///
    /// let discipline = Discipline::Priority;
    /// let pool = ThreadPoolExecutor::builder().max_workers(1).discipline(discipline).build()?;
    /// let (open, gate) = mpsc::channel::<()>();
    /// let (note, notes) = mpsc::channel();
    /// let busy = pool.spawn(move || gate.recv())?; // while the others are submitted
    /// while !busy.running() {
    ///     std::thread::yield_now();
    /// }
    /// for (priority, name) in [(5, "last"), (0, "second"), (-1, "first")] {
    ///     let note = note.clone();
    ///     drop(pool.spawn_with_priority(priority, move || note.send(name))?);
    /// }
    /// drop((open, note));
    /// assert!(notes.iter().eq(["first", "second", "last"]));
    /// # drop(busy);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn discipline(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }

    /// Ends workers that have had nothing to do for this long. Default: they live as long as the
    /// pool.
    ///
    /// [`min_workers`](Self::min_workers) of them stay. When calls need more, others are started,
    /// and take the lowest free number for their name.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    /// use std::time::Duration;
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .max_workers(64)
    ///     .min_workers(1)
    ///     .keep_alive(Duration::from_millis(1))
    ///     .build()?;
    /// assert_eq!(pool.map(|n| n, 0..100).count(), 100);
    /// while pool.stats().workers > 1 {
    ///     std::thread::yield_now();
    /// }
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.keep_alive = Some(idle);
        self
    }

    /// Sets how many workers stay when [`keep_alive`](Self::keep_alive) ends idle ones. Default: 0.
    ///
    /// These too are started as calls need them, or by
    /// [`prestart`](ThreadPoolExecutor::prestart).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::builder().max_workers(8).min_workers(2).build()?;
    /// assert_eq!(pool.prestart()?, 2);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.min_workers = workers;
        self
    }

    /// Makes the pool. Threads are started when calls come.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `max_workers`, `queue_capacity` or `keep_alive` is 0, if
    /// `min_workers` is greater than `max_workers`, or if the prefix contains a NUL byte.
    ///
    /// # Python
    ///
    /// `ThreadPoolExecutor(...)`, which raises `ValueError`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// let wrong = ThreadPoolExecutor::builder().max_workers(2).min_workers(3).build();
    /// assert!(matches!(wrong, Err(Error::InvalidArgument(_))));
    /// ```
    pub fn build(self) -> Result<ThreadPoolExecutor> {
        let max_workers = match at_least_one(self.max_workers, "max_workers")? {
            None => num_cpus::get().saturating_mul(WORKERS_PER_CPU),
            Some(workers) => workers.get(),
        };
        let capacity = at_least_one(self.queue_capacity, "queue_capacity")?;
        check_workers(self.min_workers, max_workers)?;
        if self.keep_alive.is_some_and(|time| time.is_zero()) {
            return Err(Error::InvalidArgument("keep_alive must be greater than 0".into()));
        }
        if self.thread_name_prefix.as_ref().is_some_and(|prefix| prefix.contains('\0')) {
            let text = "thread_name_prefix must not contain a NUL byte";
            return Err(Error::InvalidArgument(text.into()));
        }
        Ok(ThreadPoolExecutor::with_settings(PoolSettings {
            queue: QueueSettings {
                max_workers,
                min_workers: self.min_workers,
                keep_alive: self.keep_alive,
                capacity,
                discipline: self.discipline,
            },
            when_full: self.when_full,
            thread_name_prefix: self.thread_name_prefix,
            stack_size: self.stack_size,
            initializer: self.initializer,
            hooks: self.hooks,
            run_in_place: self.run_in_place,
        }))
    }
}

/// Refuses a 0; `name` is what the error calls it.
fn at_least_one(value: Option<usize>, name: &str) -> Result<Option<NonZeroUsize>> {
    match value.map(NonZeroUsize::new) {
        Some(None) => Err(Error::InvalidArgument(format!("{name} must be greater than 0").into())),
        valid => Ok(valid.flatten()),
    }
}

pub(super) fn check_workers(min_workers: usize, max_workers: usize) -> Result<()> {
    let text = if max_workers == 0 {
        "max_workers must be greater than 0"
    } else if min_workers > max_workers {
        "min_workers must not be greater than max_workers"
    } else {
        return Ok(());
    };
    Err(Error::InvalidArgument(text.into()))
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("max_workers", &self.max_workers)
            .field("thread_name_prefix", &self.thread_name_prefix)
            .field("stack_size", &self.stack_size)
            .field("initializer", &self.initializer.is_some())
            .field("queue_capacity", &self.queue_capacity)
            .field("when_full", &self.when_full)
            .field("discipline", &self.discipline)
            .field("min_workers", &self.min_workers)
            .field("keep_alive", &self.keep_alive)
            .field("hooks", &self.hooks)
            .finish()
    }
}
