//! [`Builder`]: the settings of a [`ThreadPoolExecutor`].

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::pool::{Settings, ThreadPoolExecutor};
use crate::error::{Error, Outcome, Result};

/// Calls per processor that the default number of workers allows for: pool calls often wait.
const WORKERS_PER_CPU: usize = 5;

pub(crate) type Initializer = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// Settings of a [`ThreadPoolExecutor`]; see [`ThreadPoolExecutor::builder`].
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
pub struct Builder {
    max_workers: Option<usize>,
    thread_name_prefix: Option<String>,
    stack_size: Option<usize>,
    initializer: Option<Initializer>,
}

impl Builder {
    /// At most this many worker threads. Default: five times the number of processors.
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

    /// Worker threads are named this, an underscore and a number from 0.
    ///
    /// Default: `ThreadPoolExecutor-` and the number of the pool in this process. Systems show only
    /// the first bytes of a thread's name (Linux 15).
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.thread_name_prefix = Some(prefix.into());
        self
    }

    /// Bytes of stack for each worker. Default: the standard library's.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Called by each worker before its first call.
    ///
    /// If it panics or returns an `Err`, the pool is broken: calls that wait, and all later ones,
    /// fail with [`Error::BrokenThreadPool`], which keeps the cause. Running calls finish.
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .initializer(|| Err::<(), _>("no licence"))
    ///     .build()?;
    /// let error = pool.spawn(|| ()).and_then(|call| call.into_result()).unwrap_err();
    /// assert!(error.is_broken_executor());
    /// assert!(error.to_string().contains("no licence"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn initializer<R: Outcome>(
        mut self,
        initializer: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        self.initializer = Some(Arc::new(move || initializer().into_result()));
        self
    }

    /// Makes the pool. Threads are started when calls come.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `max_workers` is 0 or the prefix contains a NUL byte.
    pub fn build(self) -> Result<ThreadPoolExecutor> {
        let max_workers = match self.max_workers.map(NonZeroUsize::new) {
            None => num_cpus::get().saturating_mul(WORKERS_PER_CPU),
            Some(Some(workers)) => workers.get(),
            Some(None) => {
                return Err(Error::InvalidArgument("max_workers must be greater than 0".into()));
            }
        };
        if self.thread_name_prefix.as_ref().is_some_and(|prefix| prefix.contains('\0')) {
            let text = "thread_name_prefix must not contain a NUL byte";
            return Err(Error::InvalidArgument(text.into()));
        }
        Ok(ThreadPoolExecutor::with_settings(Settings {
            max_workers,
            thread_name_prefix: self.thread_name_prefix,
            stack_size: self.stack_size,
            initializer: self.initializer,
        }))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_workers", &self.max_workers)
            .field("thread_name_prefix", &self.thread_name_prefix)
            .field("stack_size", &self.stack_size)
            .field("initializer", &self.initializer.is_some())
            .finish()
    }
}
