//! [`ProcessPoolBuilder`]: the settings of a [`ProcessPoolExecutor`].

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::channel::sender::{Sender, Unsent};
use super::parent::request::Message;
use super::pool::ProcessPoolExecutor;
use crate::error::{Error, Outcome, Result};
use crate::futures::executor::Portable;
use crate::futures::process::resource_limit::ResourceLimit;
use crate::futures::remote::function_id;
use crate::futures::remote::invoke::call_initializer;
use crate::futures::remote::segments::Arena;
use crate::sync::Mutex;

/// What the death of a worker process means for the pool.
///
/// The call that the worker had begun is the only one in doubt: those behind it were not started,
/// and under all policies but the first they run elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnWorkerDeath {
    /// The pool is broken, as in Python: all calls that wait or run fail with
    /// [`Error::BrokenProcessPool`](crate::Error::BrokenProcessPool).
    #[default]
    BreakPool,
    /// The call fails with [`Error::WorkerDied`](crate::Error::WorkerDied); the worker is replaced.
    FailCall,
    /// The call runs again, so many times at most, and then fails as with `FailCall`. For calls that
    /// may be begun more than once.
    Retry(u32),
}

/// The most bytes of a message unless the builder says otherwise.
const MESSAGE_LIMIT: u64 = 2 << 30;

/// How long a worker may take to get ready unless the builder says otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How many large arguments wait in shared memory rather than in the heap.
const EARLY_SEGMENTS: usize = 16;

type EncodeInitializer = Box<dyn FnOnce(&Arena, u64) -> Result<Message> + Send>;

/// Settings of a [`ProcessPoolExecutor`]; see [`ProcessPoolExecutor::builder`].
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
    max_workers: Option<usize>,
    max_tasks_per_child: Option<usize>,
    on_worker_death: OnWorkerDeath,
    deadline: Option<Duration>,
    prefetch: Option<usize>,
    idle_timeout: Option<Duration>,
    start_timeout: Option<Duration>,
    environment: Vec<(OsString, Option<OsString>)>,
    clear_environment: bool,
    working_directory: Option<PathBuf>,
    limits: Vec<(ResourceLimit, u64)>,
    max_message_size: Option<u64>,
    initializer: Option<EncodeInitializer>,
}

/// Checked settings; see [`ProcessPoolBuilder`] for what they mean.
pub(crate) struct ProcessSettings {
    pub(crate) max_workers: usize,
    pub(crate) max_tasks_per_child: Option<usize>,
    pub(crate) on_worker_death: OnWorkerDeath,
    pub(crate) deadline: Option<Duration>,
    pub(crate) prefetch: Option<usize>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) start_timeout: Duration,
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) clear_environment: bool,
    pub(crate) working_directory: Option<PathBuf>,
    pub(crate) limits: Vec<(ResourceLimit, u64)>,
    pub(crate) max_message_size: u64,
    /// The call of the initializer, sent to each worker first.
    pub(super) initializer: Option<Mutex<Message>>,
}

impl ProcessSettings {
    /// Sends the initializer to a new worker, if there is one.
    pub(crate) fn initialize(&self, link: &mut Sender, arena: &Arena) -> std::io::Result<()> {
        let Some(message) = &self.initializer else { return Ok(()) };
        link.page().offer(0);
        let mut batch = Vec::new();
        {
            let mut message = message.lock();
            message.make_ready(arena).map_err(std::io::Error::other)?;
            let sent = link.frame(&mut batch, 0, &message);
            sent.map_err(|unsent| match unsent {
                Unsent::Refused(error) => std::io::Error::from(error),
                Unsent::NoRoom => std::io::ErrorKind::WouldBlock.into(),
            })?;
        }
        link.write(&batch)?;
        Ok(())
    }
}

impl ProcessPoolBuilder {
    /// At most this many worker processes. Default: the number of processors.
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.max_workers = Some(workers);
        self
    }

    /// Replaces a worker after this many calls; a chunk of a map counts as one. Default: never.
    pub fn max_tasks_per_child(mut self, calls: usize) -> Self {
        self.max_tasks_per_child = Some(calls);
        self
    }

    /// What the death of a worker means. Default: the pool is broken.
    pub fn on_worker_death(mut self, policy: OnWorkerDeath) -> Self {
        self.on_worker_death = policy;
        self
    }

    /// How long a call may run. A call that exceeds it is killed with its worker, and fails with
    /// [`Error::DeadlineExceeded`]; the worker is replaced. Default: no limit.
    ///
    /// Waiting in the queue does not count. A chunk of a map is one call. What a panic prints counts: with `RUST_BACKTRACE` set that
    /// takes a tenth of a second and more.
    pub fn call_deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// At most this many calls in flight to one worker (and never more than 64). Default: one to
    /// 64, so many that a worker is busy for about 200 µs.
    pub fn prefetch(mut self, calls: usize) -> Self {
        self.prefetch = Some(calls);
        self
    }

    /// Ends a worker that had nothing to do for so long; one is started again when calls come.
    /// Default: workers live as long as the pool.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// How long a worker may take from its start to the end of its initializer. Default: 60 s.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = Some(limit);
        self
    }

    /// Sets a variable in the environment of the workers.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable from the environment of the workers.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// Workers inherit none of this process's environment.
    pub fn env_clear(mut self) -> Self {
        self.clear_environment = true;
        self
    }

    /// Workers start in this directory. Default: in the one that this process is in then.
    pub fn working_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.working_directory = Some(directory.into());
        self
    }

    /// Limits what each worker may use.
    pub fn limit(mut self, limit: ResourceLimit, value: u64) -> Self {
        self.limits.push((limit, value));
        self
    }

    /// The most bytes of an encoded argument or result. Default: 2 GiB.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// Called with `argument` by each worker before its first call.
    ///
    /// If it panics or returns an `Err`, the pool is broken: calls that wait, and all later ones,
    /// fail with [`Error::BrokenProcessPool`], which keeps the cause.
    ///
    /// ```
    /// use concurrent::futures::ProcessPoolExecutor;
    ///
    /// concurrent::futures::process::init();
    /// let pool = ProcessPoolExecutor::builder()
    ///     .initializer(|directory: String| std::env::set_current_dir(directory), "/tmp".into())
    ///     .build()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn initializer<A: Portable, O: Outcome + 'static>(
        mut self,
        function: fn(A) -> O,
        argument: A,
    ) -> Self {
        self.initializer = Some(Box::new(move |arena, limit| {
            let token = function_id::token(call_initializer::<A, O>, function)?;
            Message::new(token, arena, limit, |sink| sink.encode(&argument))
        }));
        self
    }

    /// Makes the pool. Processes are started when calls come.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a number that is 0 and must not be, or in a library that is
    /// not part of the executable; [`Error::NotInitialized`] without
    /// [`init`](crate::futures::process::init); [`Error::Encode`] for the argument of the initializer.
    pub fn build(self) -> Result<ProcessPoolExecutor> {
        let positive = |value: Option<usize>, text: &'static str| match value {
            Some(0) => Err(Error::InvalidArgument(text.into())),
            value => Ok(value),
        };
        let max_workers = positive(self.max_workers, "max_workers must be greater than 0")?;
        let max_tasks = "max_tasks_per_child must be >= 1";
        let max_tasks_per_child = positive(self.max_tasks_per_child, max_tasks)?;
        let prefetch = positive(self.prefetch, "prefetch must be greater than 0")?;
        crate::futures::process::child::init::check()?;
        let arena = Arena::new(EARLY_SEGMENTS);
        let limit = self.max_message_size.unwrap_or(MESSAGE_LIMIT);
        let initializer = self.initializer.map(|encode| encode(&arena, limit)).transpose()?;
        let settings = ProcessSettings {
            max_workers: max_workers.unwrap_or_else(num_cpus::get),
            max_tasks_per_child,
            on_worker_death: self.on_worker_death,
            deadline: self.deadline,
            prefetch,
            idle_timeout: self.idle_timeout,
            start_timeout: self.start_timeout.unwrap_or(START_TIMEOUT),
            environment: self.environment,
            clear_environment: self.clear_environment,
            working_directory: self.working_directory,
            limits: self.limits,
            max_message_size: limit,
            initializer: initializer.map(Mutex::new),
        };
        ProcessPoolExecutor::with_settings(settings, arena)
    }
}

impl fmt::Debug for ProcessPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolBuilder")
            .field("max_workers", &self.max_workers)
            .field("max_tasks_per_child", &self.max_tasks_per_child)
            .field("on_worker_death", &self.on_worker_death)
            .field("call_deadline", &self.deadline)
            .field("initializer", &self.initializer.is_some())
            .finish_non_exhaustive()
    }
}
