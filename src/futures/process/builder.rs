//! [`ProcessPoolBuilder`]: the settings of a [`ProcessPoolExecutor`].

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::channel::message::Message;
use super::pool::ProcessPoolExecutor;
use super::settings::ProcessSettings;
use crate::error::{Error, Outcome, Result};
use crate::futures::executor::Portable;
use crate::futures::process::options::{OnWorkerDeath, ResourceLimit};
use crate::futures::remote::initializer::EncodedInitializer;
use crate::futures::remote::segments::Arena;
use crate::sync::Mutex;

/// How many large arguments wait in shared memory rather than in the heap.
const EARLY_SEGMENTS: usize = 16;

/// The settings of a [`ProcessPoolExecutor`]; [`ProcessPoolExecutor::builder`] makes one.
///
/// # Python
///
/// The arguments of `ProcessPoolExecutor(...)`: `max_workers`, `initializer`, `initargs` and
/// `max_tasks_per_child`. There is no `mp_context`: workers are always fresh executions of the
/// program, never forks. The other settings have no counterpart there.
///
/// # Examples
///
/// ```
/// use concurrent::futures::process::{OnWorkerDeath, ProcessPoolExecutor};
/// use std::time::Duration;
///
/// concurrent::futures::process::init();
/// let pool = ProcessPoolExecutor::builder()
///     .max_workers(2)
///     .on_worker_death(OnWorkerDeath::FailCall)
///     .call_deadline(Duration::from_secs(5))
///     .build()?;
/// assert_eq!(pool.submit(|n: u32| n * 2, 21)?.into_result()?, 42);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Default)]
#[must_use = "call build() to make the pool"]
pub struct ProcessPoolBuilder {
    settings: ProcessSettings,
    initializer: Option<EncodedInitializer<Arena>>,
}

impl ProcessPoolBuilder {
    /// Sets the largest number of worker processes. Default: the number of processors.
    ///
    /// # Python
    ///
    /// `max_workers`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(3).build()?;
    /// assert_eq!(pool.max_workers(), 3);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.settings.max_workers = workers;
        self
    }

    /// Replaces a worker after this many calls: for code that leaks. A chunk of a map counts as one
    /// call. Default: never.
    ///
    /// # Python
    ///
    /// `max_tasks_per_child`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).build()?;
    /// let pid = |_: u8| std::process::id();
    /// assert_ne!(pool.submit(pid, 1)?.into_result()?, pool.submit(pid, 2)?.into_result()?);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn max_tasks_per_child(mut self, calls: usize) -> Self {
        self.settings.max_tasks_per_child = Some(calls);
        self
    }

    /// Sets what the death of a worker means for the pool. Default: [`OnWorkerDeath::BreakPool`].
    ///
    /// # Python
    ///
    /// None: the pool is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::process::{OnWorkerDeath, ProcessPoolExecutor}};
    /// # concurrent::futures::process::init();
    /// let builder = ProcessPoolExecutor::builder().max_workers(1);
    /// let pool = builder.on_worker_death(OnWorkerDeath::Retry(2)).build()?;
    /// let crash = pool.submit(|code| -> u8 { std::process::exit(code) }, 3)?;
    /// assert!(matches!(crash.into_result(), Err(Error::WorkerDied(_)))); // of the third worker
    /// assert!(pool.stats().started >= 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn on_worker_death(mut self, policy: OnWorkerDeath) -> Self {
        self.settings.on_worker_death = policy;
        self
    }

    /// Limits how long a call may run. Default: no limit.
    ///
    /// A call that exceeds the limit is killed with its worker and fails with
    /// [`Error::DeadlineExceeded`]; the worker is replaced. Waiting in the queue does not count. A
    /// chunk of a map is one call. Printing a panic counts: with `RUST_BACKTRACE` set that takes a
    /// tenth of a second and more.
    ///
    /// # Python
    ///
    /// None: a running call cannot be ended there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ProcessPoolExecutor};
    /// # use std::time::Duration;
    /// # concurrent::futures::process::init();
    /// let limit = Duration::from_millis(100);
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).call_deadline(limit).build()?;
    /// let endless = pool.submit(|_: u8| -> u8 { loop { std::hint::spin_loop() } }, 0)?;
    /// assert!(matches!(endless.into_result(), Err(Error::DeadlineExceeded { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn call_deadline(mut self, limit: Duration) -> Self {
        self.settings.deadline = Some(limit);
        self
    }

    /// Sets how many calls may be sent to one worker before it has answered them, up to 64.
    /// Default: between 1 and 64, so that the worker is busy for about 200 µs.
    ///
    /// Calls that were sent ahead are pending, can be cancelled, and are taken back if the call
    /// before them takes long.
    ///
    /// # Python
    ///
    /// None: its queue to the workers holds one call more than there are workers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).prefetch(1).build()?; // never ahead
    /// assert_eq!(pool.map(|n: u32| n + 1, 0..5).flatten().sum::<u32>(), 15);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn prefetch(mut self, calls: usize) -> Self {
        self.settings.prefetch = Some(calls);
        self
    }

    /// Ends a worker that has had nothing to do for this long; one is started again when calls
    /// come. Default: workers live as long as the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # use std::time::Duration;
    /// # concurrent::futures::process::init();
    /// let limit = Duration::from_millis(1);
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).idle_timeout(limit).build()?;
    /// pool.submit(|n: u32| n, 1)?.into_result()?;
    /// while pool.stats().workers > 0 {
    ///     std::thread::yield_now();
    /// }
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.idle_timeout = Some(limit);
        self
    }

    /// Limits how long a worker may take from its start to the end of its initializer. Default: one
    /// minute.
    ///
    /// A worker that takes longer is killed, which breaks the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # use std::time::Duration;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .start_timeout(Duration::from_millis(50))
    ///     .initializer(|_: u8| loop { std::hint::spin_loop() }, 0)
    ///     .build()?;
    /// assert!(pool.submit(|n: u32| n, 1)?.into_result().unwrap_err().is_broken_executor());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.settings.start_timeout = limit;
        self
    }

    /// Sets a variable in the environment of the workers, as
    /// [`Command::env`](std::process::Command::env).
    ///
    /// # Python
    ///
    /// None: workers inherit `os.environ`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).env("LEVEL", "debug").build()?;
    /// let level = pool.submit(|name: String| std::env::var(name).ok(), "LEVEL".into())?;
    /// assert_eq!(level.into_result()?.as_deref(), Some("debug"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.settings.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable from the environment of the workers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).env_remove("HOME").build()?;
    /// let home = pool.submit(|name: String| std::env::var(name).ok(), "HOME".into())?;
    /// assert_eq!(home.into_result()?, None);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.settings.environment.push((name.into(), None));
        self
    }

    /// Starts workers with an empty environment: only with the variables that [`env`](Self::env)
    /// sets.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// use concurrent::futures::{ProcessPoolExecutor, process};
    ///
    /// fn main() -> concurrent::Result<()> {
    ///     process::init();
    ///     let builder = ProcessPoolExecutor::builder().max_workers(1);
    ///     let pool = builder.env_clear().env("LEVEL", "debug").build()?;
    ///     let count = pool.submit(|_: u8| std::env::vars_os().count(), 0)?;
    ///     assert_eq!(count.into_result()?, 1);
    ///     Ok(())
    /// }
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.settings.clear_environment = true;
        self
    }

    /// Sets the directory in which workers start. Default: the directory that this process is in at
    /// that time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ProcessPoolExecutor;
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).working_directory("/").build()?;
    /// let here = pool.submit(|_: u8| std::env::current_dir().unwrap(), 0)?;
    /// assert_eq!(here.into_result()?, std::path::Path::new("/"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn working_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.working_directory = Some(directory.into());
        self
    }

    /// Limits a resource of each worker; [`ResourceLimit`] has the units of `value`.
    ///
    /// # Python
    ///
    /// None: an `initializer` that calls `resource.setrlimit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::process::{ProcessPoolExecutor, ResourceLimit};
    /// # concurrent::futures::process::init();
    /// let builder = ProcessPoolExecutor::builder().max_workers(1);
    /// let pool = builder.limit(ResourceLimit::CoreDump, 0).build()?; // no core files
    /// assert_eq!(pool.submit(|n: u32| n + 1, 41)?.into_result()?, 42);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn limit(mut self, limit: ResourceLimit, value: u64) -> Self {
        self.settings.limits.push((limit, value));
        self
    }

    /// Limits an encoded argument or result, in bytes. Default: 2 GiB.
    ///
    /// A larger argument is refused by `submit`; a larger result fails its call. Either way the
    /// error is [`Error::MessageTooLarge`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ProcessPoolExecutor};
    /// # concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(100).build()?;
    /// let refused = pool.submit(|text: String| text.len(), "much ".repeat(100));
    /// assert!(matches!(refused, Err(Error::MessageTooLarge { limit: 100 })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.settings.max_message_size = bytes;
        self
    }

    /// Sets a function that each worker calls with `argument` before its first call.
    ///
    /// If it panics or returns an `Err`, the pool is broken: pending calls, and all later ones,
    /// fail with [`Error::BrokenProcessPool`], which keeps the cause.
    ///
    /// # Python
    ///
    /// `initializer` and `initargs`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ProcessPoolExecutor;
    ///
    /// concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .initializer(|directory: String| std::env::set_current_dir(directory), "/".into())
    ///     .build()?;
    /// let here = pool.submit(|_: u8| std::env::current_dir().unwrap(), 0)?;
    /// assert_eq!(here.into_result()?, std::path::Path::new("/"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "initargs")]
    pub fn initializer<A: Portable, O: Outcome + 'static>(
        mut self,
        function: fn(A) -> O,
        argument: A,
    ) -> Self {
        self.initializer = Some(EncodedInitializer::new(function, argument));
        self
    }

    /// Makes the pool. Processes are started when calls come.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a number that must not be 0, or in a library that is not part
    /// of the executable; [`Error::NotInitialized`] without
    /// [`init`](crate::futures::process::init); [`Error::Encode`] if the argument of the
    /// initializer cannot be encoded.
    ///
    /// # Python
    ///
    /// `ProcessPoolExecutor(...)`, which raises `ValueError`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ProcessPoolExecutor};
    /// # concurrent::futures::process::init();
    /// let wrong = ProcessPoolExecutor::builder().prefetch(0).build();
    /// assert!(matches!(wrong, Err(Error::InvalidArgument(_))));
    /// let pool = ProcessPoolExecutor::builder().build()?;
    /// assert_eq!(pool.stats().workers, 0); // none is needed yet
    /// # Ok::<(), Error>(())
    /// ```
    pub fn build(self) -> Result<ProcessPoolExecutor> {
        let Self { mut settings, initializer } = self;
        for (number, text) in [
            (Some(settings.max_workers), "max_workers must be greater than 0"),
            (settings.max_tasks_per_child, "max_tasks_per_child must be >= 1"),
            (settings.prefetch, "prefetch must be greater than 0"),
        ] {
            if number == Some(0) {
                return Err(Error::InvalidArgument(text.into()));
            }
        }
        crate::futures::process::child::init::check()?;
        let arena = Arena::new(EARLY_SEGMENTS);
        let limit = settings.max_message_size;
        let encode = |token, encode| Message::new(token, &arena, limit, encode);
        let initializer = initializer.map(|own| own.into_message(encode)).transpose()?;
        settings.initializer = initializer.map(Mutex::new);
        ProcessPoolExecutor::with_settings(settings, arena)
    }
}

impl fmt::Debug for ProcessPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolBuilder")
            .field("max_workers", &self.settings.max_workers)
            .field("max_tasks_per_child", &self.settings.max_tasks_per_child)
            .field("on_worker_death", &self.settings.on_worker_death)
            .field("call_deadline", &self.settings.deadline)
            .field("initializer", &self.initializer.is_some())
            .finish_non_exhaustive()
    }
}
