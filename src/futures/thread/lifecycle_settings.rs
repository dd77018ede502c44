//! The settings that have to do with the life of workers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::builder::ThreadPoolBuilder;
use super::context_propagation::Capture;
use super::worker_local::MakeState;
use crate::error::{Error, Result};

pub(crate) type WorkerHook = Arc<dyn Fn() + Send + Sync>;

/// What of the user's runs around workers and calls.
#[derive(Clone, Default)]
pub(crate) struct WorkerHooks {
    pub(super) on_start: Option<WorkerHook>,
    pub(super) on_stop: Option<WorkerHook>,
    pub(super) state: Option<MakeState>,
    pub(super) context: Option<Capture>,
}

impl ThreadPoolBuilder {
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
    /// [`prestart`](super::ThreadPoolExecutor::prestart).
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

    /// Sets a function that each worker calls when it starts, before the
    /// [`initializer`](Self::initializer).
    ///
    /// A panic in it is logged and has no other effect.
    ///
    /// # Threads
    ///
    /// `hook` runs in the worker.
    ///
    /// # Python
    ///
    /// None: an `initializer` whose failure breaks no pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    /// use std::sync::mpsc;
    ///
    /// let (started, starts) = mpsc::channel();
    /// let pool = ThreadPoolExecutor::builder()
    ///     .thread_name_prefix("db")
    ///     .on_worker_start(move || drop(started.send(std::thread::current().name().map(str::to_owned))))
    ///     .build()?;
    /// pool.spawn(|| ())?.into_result()?;
    /// assert_eq!(starts.recv().ok().flatten().as_deref(), Some("db_0"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn on_worker_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.on_start = Some(Arc::new(hook));
        self
    }

    /// Sets a function that each worker calls when it ends, for whatever reason. A shutdown that
    /// waits for the workers waits for it.
    ///
    /// A panic in it is logged and has no other effect.
    ///
    /// # Threads
    ///
    /// `hook` runs in the worker.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    /// use std::sync::mpsc;
    ///
    /// let (stopped, stops) = mpsc::channel();
    /// let pool = ThreadPoolExecutor::builder().on_worker_stop(move || drop(stopped.send(())));
    /// let pool = pool.build()?;
    /// pool.spawn(|| ())?.into_result()?;
    /// drop(pool);
    /// assert_eq!(stops.iter().count(), 1);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn on_worker_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.on_stop = Some(Arc::new(hook));
        self
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

impl fmt::Debug for WorkerHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_start", &self.on_start.is_some())
            .field("on_stop", &self.on_stop.is_some())
            .field("state", &self.state.is_some())
            .field("context", &self.context.is_some())
            .finish()
    }
}
