//! [`PoolShared`]: what a pool and its workers share, and how a call gets into the queue.

use std::cell::Cell;
use std::sync::Arc;

use super::context_propagation::{Enter, Leftover, capture, run_within};
use super::detached::Detached;
use super::queue::{
    Discipline, FullQueue, Pushed, Queue, QueuePermit, QueueSettings, TaskRef, WorkerCounts,
    WorkerStatus,
};
use super::refused::TrySubmitError;
use super::worker::{is_worker_of, work};
use super::worker_local::{Initializer, WorkerHooks};
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::Call;
use crate::futures::call::assist::RunInPlace;
use crate::futures::call::cancel_token::StopFlag;
use crate::futures::call::current::PoolId;
use crate::futures::call::run::{CallName, NameOf, QueuedFn, RunObserver};
use crate::futures::call::stack::{note_worker_stack, on_enough_stack, worker_stack};
use crate::futures::deadlock::{PoolCapacity, forget_pool, register_pool};
use crate::futures::map::{MapOptions, Piece, run_chunk};
use crate::sync::{JoinHandle, spawn};
use crate::user_code::contain;

/// The part of a pool that its workers share.
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
    pub(crate) queue: QueueSettings,
    pub(crate) when_full: FullQueue,
    pub(crate) thread_name_prefix: Option<String>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) initializer: Option<Initializer>,
    pub(crate) hooks: WorkerHooks,
    pub(crate) run_in_place: RunInPlace,
}

/// How a call is submitted.
#[derive(Clone, Copy)]
struct SubmitOptions {
    priority: i32,
    full: FullQueue,
}

/// The context that a pool restores around a function.
struct CallWrapper {
    enter: Option<Enter>,
}

impl CallWrapper {
    fn run<T>(self, function: impl FnOnce() -> T) -> T {
        match self.enter {
            Some(enter) => {
                let mut function = Leftover(Some(function));
                run_within(enter, &mut || function.take().map(|function| function()))
            }
            None => function(),
        }
    }
}

impl PoolSettings {
    /// Whether calls only have to be added to an unbounded queue.
    fn is_plain(&self) -> bool {
        self.queue.capacity.is_none() && self.hooks.context.is_none()
    }
}

impl PoolShared {
    pub(super) fn new(settings: PoolSettings, prefix: String) -> Arc<Self> {
        let capacity = PoolCapacity::new(prefix.clone());
        let queue = Queue::new(settings.queue, Arc::clone(&capacity));
        let id = register_pool(capacity);
        Arc::new(Self { id, queue, settings, prefix, stop: StopFlag::default() })
    }

    /// Drops the user's closures and errors, each by itself, because a drop may panic.
    fn drop_user_values(&mut self) {
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

    /// The flag that is raised when all calls are asked to stop.
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
        status: Arc<WorkerStatus>,
        index: usize,
    ) -> std::io::Result<JoinHandle<()>> {
        let pool = Arc::clone(self);
        let name = format!("{}_{index}", self.prefix);
        let size = worker_stack(self.settings.stack_size);
        spawn(name, size, move || {
            note_worker_stack(size);
            work(pool, status);
        })
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
        match self.queue.push(TaskRef::new(call), 0, &|status, index| self.start(status, index)) {
            Ok(()) => Ok(future),
            Err((error, refused)) => {
                contain("dropping a call that was refused", || drop((refused, future)));
                Err(error)
            }
        }
    }

    /// Returns a function that submits a call for the next item, or for the next chunk of items.
    pub(super) fn pieces<A, R, F, I>(
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

    /// The options of `submit` and `spawn`.
    fn default_options(&self) -> SubmitOptions {
        SubmitOptions { priority: 0, full: self.settings().when_full }
    }

    /// Queues a call of a map, which waits for room where others would be refused.
    fn enqueue_piece<T, F, N>(self: &Arc<Self>, function: F) -> Result<Future<T>>
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

    pub(super) fn enqueue_ranked<T, F, N>(
        self: &Arc<Self>,
        priority: i32,
        function: F,
    ) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
        N: 'static,
    {
        if self.settings().queue.discipline != Discipline::Priority {
            let text = "a priority needs a pool built with .discipline(Discipline::Priority)";
            return Err(Error::InvalidArgument(text.into()));
        }
        let options = SubmitOptions { priority, ..self.default_options() };
        self.enqueue_with(function, NameOf::<N>::new(), options)
    }

    fn enqueue_with<T, F, N>(
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
        let task = QueuedFn::new(move || wrapper.run(function), name, permit);
        let (call, own) = Call::<T, _>::queued(self.id(), task);
        let future = Future::from_call(own);
        match self.push_with(TaskRef::new(call), options) {
            Ok(()) => Ok(future),
            Err((error, refused)) => {
                contain("dropping a call that was refused", || drop((refused, future)));
                Err(error)
            }
        }
    }

    /// Captures the context for a call that this thread submits.
    fn wrapper(&self) -> CallWrapper {
        CallWrapper { enter: capture(self.settings()) }
    }

    /// Queues a task as `options` say.
    fn push_with(
        self: &Arc<Self>,
        task: TaskRef,
        options: SubmitOptions,
    ) -> Result<(), (Error, TaskRef)> {
        let SubmitOptions { priority, mut full } = options;
        let start = |status, index| self.start(status, index);
        if self.settings().queue.capacity.is_none() {
            return self.queue().push(task, priority, &start);
        }
        if full != FullQueue::Refuse && is_worker_of(self) {
            // All workers might block here, and none would be left to make room.
            full = FullQueue::RunInCaller;
        }
        match self.queue().push_bounded(self.id(), task, priority, full, &start)? {
            Pushed::Queued => Ok(()),
            Pushed::RunHere(task) => self.run_here(task).map_err(|task| (Error::QueueFull, task)),
        }
    }

    /// Queues `function` without a future; it is named for `N`.
    pub(super) fn enqueue_detached<F, N>(self: &Arc<Self>, function: F) -> Result<()>
    where
        F: FnOnce() + Send + 'static,
        N: 'static,
    {
        let pushed = if self.settings.is_plain() {
            let call = Detached::<F, N>::queued(self.id, function);
            self.queue.push(TaskRef::new(call), 0, &|status, index| self.start(status, index))
        } else {
            let wrapper = self.wrapper();
            let call = Detached::<_, N>::queued(self.id, move || wrapper.run(function));
            self.push_with(TaskRef::new(call), self.default_options())
        };
        pushed.map_err(|(error, refused)| {
            contain("dropping a call that was refused", || drop(refused));
            error
        })
    }

    /// Queues the call of `run` with `input` if there is room at once, or gives `input` back.
    pub(super) fn try_enqueue<T, C, N>(
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
            let task =
                QueuedFn::new(move || wrapper.run(|| run(input)), NameOf::<N>::new(), permit);
            let (call, own) = Call::<T, _>::queued(self.id(), task);
            future = Some(Future::from_call(own));
            TaskRef::new(call)
        };
        let start = |status, index| self.start(status, index);
        let error = match self.queue().try_push(make, 0, &start) {
            Ok(()) => return Ok(future.expect("it was made with the call")),
            Err(error) => error,
        };
        let (input, _, enter) = parts.expect("a call that was refused is not made");
        contain("dropping the context of a call", || drop(enter));
        Err(TrySubmitError::new(error, input))
    }

    /// Runs a task in the thread that submitted it. Returns the task if the system has no stack for
    /// it: in a worker, such calls nest as deeply as they submit each other.
    fn run_here(&self, task: TaskRef) -> Result<(), TaskRef> {
        let mut task = Some(task);
        on_enough_stack(|| {
            let Some(task) = task.take() else { return };
            let observer = InCaller { pool: self, counts: Cell::default() };
            self.queue().run_in_caller_begins();
            contain("running a call", || task.run(&observer));
            self.queue().run_in_caller_ends(observer.counts.get());
        });
        task.map_or(Ok(()), Err)
    }
}

/// May run in any thread that was the last owner: in a worker that ends, or in a thread that
/// cancelled a call.
impl Drop for PoolShared {
    fn drop(&mut self) {
        forget_pool(self.id());
        self.drop_user_values();
    }
}

/// Counts how a call ends that runs in the thread that submitted it.
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
