//! Submission with options: what a full queue does, priorities, and `try_*`, which hand a refused call back.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use super::context_propagation::{Enter, capture, run_within};
use super::pool::{PoolSettings, PoolShared, ThreadPoolExecutor};
use super::queue::{Discipline, FullQueue, Pushed, QueuePermit, TaskRef, WorkerCounts};
use super::worker::is_worker_of;
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::Call;
use crate::futures::call::cancel_token::StopFlag;
use crate::futures::call::run::{CallName, NameOf, QueuedFn, RunObserver, on_enough_stack};
use crate::user_code::contain;

/// How a call is submitted.
#[derive(Clone, Copy)]
pub(crate) struct SubmitOptions {
    pub(crate) priority: i32,
    pub(crate) full: FullQueue,
}

/// What a pool puts around a function.
pub(super) struct CallWrapper {
    enter: Option<Enter>,
}

impl CallWrapper {
    pub(super) fn run<T>(self, function: impl FnOnce() -> T) -> T {
        match self.enter {
            Some(enter) => run_within(enter, function),
            None => function(),
        }
    }
}

impl PoolSettings {
    /// Whether calls need nothing but a place at the end of an endless queue.
    pub(super) fn is_plain(&self) -> bool {
        self.shape.capacity.is_none() && self.hooks.context.is_none()
    }
}

impl PoolShared {
    /// Those of `submit` and `spawn`.
    pub(super) fn default_options(&self) -> SubmitOptions {
        SubmitOptions { priority: 0, full: self.settings().when_full }
    }

    /// Queues a call of a map, which waits for room where others would be refused.
    pub(super) fn enqueue_piece<T, F, N>(self: &Arc<Self>, function: F) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
        N: 'static,
    {
        if self.settings().is_plain() {
            return self.enqueue::<T, F, N>(function);
        }
        let mut options = self.default_options();
        if options.full != FullQueue::RunInCaller {
            options.full = FullQueue::Block;
        }
        self.enqueue_with(function, NameOf::<N>::new(), options)
    }

    fn enqueue_ranked<T, F, N>(self: &Arc<Self>, priority: i32, function: F) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
        N: 'static,
    {
        if self.settings().shape.discipline != Discipline::Priority {
            let text = "a priority needs a pool built with .discipline(Discipline::Priority)";
            return Err(Error::InvalidArgument(text.into()));
        }
        let options = SubmitOptions { priority, ..self.default_options() };
        self.enqueue_with(function, NameOf::<N>::new(), options)
    }

    pub(super) fn enqueue_with<T, F, N>(
        self: &Arc<Self>,
        function: F,
        name: N,
        options: SubmitOptions,
    ) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
        N: CallName,
    {
        let wrapper = self.wrapper();
        let permit = QueuePermit::for_pool(self);
        let job = QueuedFn::new(move || wrapper.run(function), name, permit);
        let (call, own) = Call::<T, _>::queued(self.id(), job);
        let future = Future::from_call(own);
        match self.push_with(TaskRef::new(call), options) {
            Ok(()) => Ok(future),
            Err((error, refused)) => {
                contain("dropping a call that was refused", || drop((refused, future)));
                Err(error)
            }
        }
    }

    /// What goes around the function of a call that this thread submits.
    pub(super) fn wrapper(&self) -> CallWrapper {
        CallWrapper { enter: capture(self.settings()) }
    }

    /// Queues a call, or does with it what `options` say.
    pub(super) fn push_with(
        self: &Arc<Self>,
        task: TaskRef,
        options: SubmitOptions,
    ) -> Result<(), (Error, TaskRef)> {
        let SubmitOptions { priority, mut full } = options;
        let start = |flag, index| self.start(flag, index);
        if self.settings().shape.capacity.is_none() {
            return self.queue().push(task, priority, &start);
        }
        if full != FullQueue::Refuse && is_worker_of(self) {
            // All workers might block here, with nobody left to make room.
            full = FullQueue::RunInCaller;
        }
        match self.queue().push_bounded(self.id(), task, priority, full, &start)? {
            Pushed::Queued => Ok(()),
            Pushed::RunHere(task) => self.run_here(task).map_err(|task| (Error::QueueFull, task)),
        }
    }

    /// Queues the call of `run` with `input` if there is room at once, or gives `input` back.
    fn try_enqueue<T, C, N>(
        self: &Arc<Self>,
        input: C,
        run: impl FnOnce(C) -> T + Send + 'static,
    ) -> Result<Future<T>, TrySubmitError<C>>
    where
        T: Send + 'static,
        C: Send + 'static,
        N: 'static,
    {
        let mut parts = Some((input, run, capture(self.settings())));
        let mut future = None;
        let make = || {
            let (input, run, enter) = parts.take().expect("it is made once");
            let wrapper = CallWrapper { enter };
            let permit = QueuePermit::for_pool(self);
            let job = QueuedFn::new(move || wrapper.run(|| run(input)), NameOf::<N>::new(), permit);
            let (call, own) = Call::<T, _>::queued(self.id(), job);
            future = Some(Future::from_call(own));
            TaskRef::new(call)
        };
        let start = |flag, index| self.start(flag, index);
        let error = match self.queue().try_push(make, 0, &start) {
            Ok(()) => return Ok(future.expect("it was made with the call")),
            Err(error) => error,
        };
        let (input, _, enter) = parts.expect("a call that was refused is not made");
        contain("dropping the context of a call", || drop(enter));
        Err(TrySubmitError { error, call: input })
    }
}

/// Keeps how a call ended that runs in the thread that submitted it.
struct InCaller<'a> {
    pool: &'a PoolShared,
    counts: Cell<WorkerCounts>,
}

impl RunObserver for InCaller<'_> {
    fn ended(&self, failed: bool) {
        let (finished, failed) = (usize::from(!failed), usize::from(failed));
        self.counts.set(WorkerCounts { finished, failed, cancelled: 0 });
    }
    fn leaves_user_code(&self) {}
    fn enters_user_code(&self) {}
    fn stop_flag(&self) -> Option<StopFlag> {
        Some(self.pool.stop_flag())
    }
}

impl PoolShared {
    /// Runs a call in the thread that submitted it. Gives it back if the system has no stack for it:
    /// in a worker such calls nest as deep as they submit each other.
    fn run_here(&self, task: TaskRef) -> Result<(), TaskRef> {
        let mut task = Some(task);
        on_enough_stack(|| {
            let Some(task) = task.take() else { return };
            let stage = InCaller { pool: self, counts: Cell::default() };
            self.queue().run_in_caller_begins();
            contain("running a call", || task.run(&stage));
            self.queue().run_in_caller_ends(stage.counts.get());
        });
        task.map_or(Ok(()), Err)
    }
}

impl ThreadPoolExecutor {
    /// Schedules `function(argument)` if there is room for it; never blocks.
    ///
    /// A refusal loses nothing: the error holds `function` and `argument`. A pool without a
    /// [`queue_capacity`](super::ThreadPoolBuilder::queue_capacity) always has room.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`], or as [`submit`](Self::submit), within a [`TrySubmitError`].
    ///
    /// # Python
    ///
    /// None: its queue has no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(8).build()?;
    /// assert_eq!(pool.try_submit(str::len, "four")?.into_result()?, 4);
    ///
    /// pool.shutdown();
    /// let refused = pool.try_submit(str::len, "four").unwrap_err();
    /// assert!(matches!(refused.error(), Error::Shutdown));
    /// let (function, argument) = refused.into_call();
    /// assert_eq!(function(argument), 4);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn try_submit<A, R, F>(
        &self,
        function: F,
        argument: A,
    ) -> Result<Future<R>, TrySubmitError<(F, A)>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(A) -> R + Send + 'static,
    {
        let run = |(function, argument): (F, A)| function(argument);
        self.shared().try_enqueue::<R, _, F>((function, argument), run)
    }

    /// Schedules a closure if there is room for it; never blocks.
    ///
    /// # Errors
    ///
    /// As [`try_submit`](Self::try_submit); the error holds the closure.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(8).build()?;
    /// let mut task = || 1;
    /// let call = loop {
    ///     match pool.try_spawn(task) {
    ///         Ok(call) => break call,
    ///         Err(refused) => task = refused.into_call(), // do something else meanwhile
    ///     }
    /// };
    /// assert_eq!(call.into_result()?, 1);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn try_spawn<R, F>(&self, function: F) -> Result<Future<R>, TrySubmitError<F>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.shared().try_enqueue::<R, F, F>(function, |function| function())
    }
}

impl ThreadPoolExecutor {
    /// Like [`submit`](Self::submit), with a priority: a lower number starts first, as in `sched`.
    ///
    /// Of equal priorities the one submitted first starts first; `submit` and `spawn` have priority
    /// zero. While the queue is bounded and full, submitters get in in the order in which they
    /// came.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the pool's discipline is not [`Discipline::Priority`];
    /// otherwise as `submit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Discipline, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::builder().discipline(Discipline::Priority).build()?;
    /// assert_eq!(pool.submit_with_priority(-1, str::len, "urgent")?.into_result()?, 6);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn submit_with_priority<A, R, F>(
        &self,
        priority: i32,
        function: F,
        argument: A,
    ) -> Result<Future<R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(A) -> R + Send + 'static,
    {
        self.shared().enqueue_ranked::<R, _, F>(priority, move || function(argument))
    }

    /// Like [`spawn`](Self::spawn), with a priority: a lower number starts first, as in `sched`.
    ///
    /// # Errors
    ///
    /// As [`submit_with_priority`](Self::submit_with_priority).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Discipline, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::builder().discipline(Discipline::Priority).build()?;
    /// assert_eq!(pool.spawn_with_priority(7, || "can wait")?.into_result()?, "can wait");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn spawn_with_priority<R, F>(&self, priority: i32, function: F) -> Result<Future<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.shared().enqueue_ranked::<R, F, F>(priority, function)
    }
}

/// A refused call, and the reason.
///
/// `?` turns it into its [`Error`] and drops the call.
///
/// # Examples
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// pool.shutdown();
/// let refused = pool.try_spawn(|| 6 * 7).unwrap_err();
/// assert_eq!(refused.to_string(), "cannot schedule new futures after shutdown");
/// assert_eq!(refused.into_call()(), 42); // run it here
/// # Ok::<(), concurrent::Error>(())
/// ```
pub struct TrySubmitError<C> {
    error: Error,
    call: C,
}

impl<C> TrySubmitError<C> {
    /// Returns the reason of the refusal: [`Error::QueueFull`], or an error of `submit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// pool.shutdown();
    /// assert!(matches!(pool.try_spawn(|| 1).unwrap_err().error(), Error::Shutdown));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the refused call: the closure, or the function and its argument.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// pool.shutdown();
    /// let refused = pool.try_submit(str::len, "four").unwrap_err();
    /// assert_eq!(refused.into_call().1, "four");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn into_call(self) -> C {
        self.call
    }

    /// Returns both: the reason and the refused call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// pool.shutdown();
    /// let (error, closure) = pool.try_spawn(|| 6 * 7).unwrap_err().into_parts();
    /// assert!(matches!(error, Error::Shutdown));
    /// assert_eq!(closure(), 42);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (Error, C) {
        (self.error, self.call)
    }
}

impl<C> From<TrySubmitError<C>> for Error {
    fn from(refused: TrySubmitError<C>) -> Self {
        refused.error
    }
}

impl<C> std::error::Error for TrySubmitError<C> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<C> fmt::Display for TrySubmitError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<C> fmt::Debug for TrySubmitError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySubmitError").field("error", &self.error).finish_non_exhaustive()
    }
}
