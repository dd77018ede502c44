//! User code that each worker runs beside its calls: initializer and hooks; and its own value.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::builder::ThreadPoolBuilder;
use super::context_propagation::Capture;
use crate::error::{Error, Outcome, Result};
use crate::sync::thread_local_static;
use crate::user_code::contain;

pub(crate) type Initializer = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// Makes the state of one worker, in its thread.
pub(crate) type MakeState = Arc<dyn Fn() -> Result<Box<dyn Any>> + Send + Sync>;

pub(crate) type WorkerHook = Arc<dyn Fn() + Send + Sync>;

/// The user's functions that run around workers and calls.
#[derive(Clone, Default)]
pub(crate) struct WorkerHooks {
    pub(super) on_start: Option<WorkerHook>,
    pub(super) on_stop: Option<WorkerHook>,
    pub(super) state: Option<MakeState>,
    pub(super) context: Option<Capture>,
}

thread_local_static! {
    /// The state of the worker that this thread is.
    STATE: RefCell<Option<Box<dyn Any>>> = RefCell::new(None)
}

impl ThreadPoolBuilder {
    /// Sets a function that each worker calls before its first call.
    ///
    /// If it panics or returns an `Err`, the pool is broken: pending calls, and all later ones,
    /// fail with [`Error::BrokenThreadPool`], which keeps the cause. Running calls finish.
    ///
    /// # Threads
    ///
    /// `initializer` runs in the worker.
    ///
    /// # Python
    ///
    /// `initializer`; a closure captures what `initargs` would carry. There the cause of a failure
    /// is only logged.
    ///
    /// # Examples
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
    #[doc(alias = "initargs")]
    pub fn initializer<R: Outcome>(
        mut self,
        initializer: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        self.initializer = Some(Arc::new(move || initializer().into_result()));
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

    /// Gives each worker a value of its own, such as a connection or a buffer.
    ///
    /// Each worker calls `make` before its first call, after the
    /// [`initializer`](Self::initializer). Calls reach the value by [`with_worker_state`]. It never
    /// leaves its thread, so it need not be `Send`, and it is dropped when the worker ends, before
    /// [`on_worker_stop`](Self::on_worker_stop).
    ///
    /// If `make` panics or returns an `Err`, the pool is broken, as by a failed initializer.
    ///
    /// # Threads
    ///
    /// `make`, and the drop of the value, run in the worker.
    ///
    /// # Python
    ///
    /// A `threading.local()` that the `initializer` fills.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{ThreadPoolExecutor, with_worker_state};
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .worker_state(|| Ok::<_, concurrent::Error>(Vec::<u32>::new()))
    ///     .build()?;
    /// let push = |n| with_worker_state(|seen: &mut Vec<u32>| { seen.push(n); seen.len() });
    /// assert_eq!(pool.submit(push, 5)?.into_result()?, Some(1));
    /// assert_eq!(pool.submit(push, 6)?.into_result()?, Some(2));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn worker_state<S, E>(
        mut self,
        make: impl Fn() -> Result<S, E> + Send + Sync + 'static,
    ) -> Self
    where
        S: 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.hooks.state = Some(Arc::new(move || match make() {
            Ok(state) => Ok(Box::new(state) as Box<dyn Any>),
            Err(error) => Err(Error::raised(error)),
        }));
        self
    }
}

/// Calls `access` with the worker state of this thread.
///
/// Returns `None`, without calling `access`, if this thread is no worker of a thread pool, if its
/// pool has no state or one of another type than `S`, and inside of another `access`: the state is
/// lent once at a time. If `access` panics, the state stays as it is then.
///
/// A call that runs in the thread that submits it ([`FullQueue::RunInCaller`]) sees the state of
/// that thread, if it has one.
///
/// # Python
///
/// The attributes of a `threading.local()`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ThreadPoolExecutor, with_worker_state};
///
/// let make = || Ok::<_, concurrent::Error>(String::from("state"));
/// let pool = ThreadPoolExecutor::builder().worker_state(make).build()?;
/// let length = || with_worker_state(|text: &mut String| text.len());
/// assert_eq!(pool.spawn(length)?.into_result()?, Some(5));
/// assert_eq!(length(), None); // the main thread is no worker
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// [`FullQueue::RunInCaller`]: super::FullQueue::RunInCaller
pub fn with_worker_state<S: 'static, R>(access: impl FnOnce(&mut S) -> R) -> Option<R> {
    let with = |state: &RefCell<Option<Box<dyn Any>>>| {
        let mut state = state.try_borrow_mut().ok()?;
        state.as_mut()?.downcast_mut().map(access)
    };
    STATE.try_with(with).ok().flatten()
}

pub(super) fn put_state(state: Box<dyn Any>) {
    STATE.with(|own| *own.borrow_mut() = Some(state));
}

pub(super) fn drop_state() {
    let state = STATE.with(RefCell::take);
    contain("dropping the state of a worker", || drop(state));
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
