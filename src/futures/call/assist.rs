//! How a waiting thread helps the calls that it waits for.
//!
//! A worker can run a queued call of its own pool in place: [`WorkerContext`]. A thread that drives
//! a pool of processes or ranks can go on to drive it: [`wait_assist`](super::wait_assist).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::cancel_token::StopFlag;
use super::dependency::Dependency;
use crate::sync::thread_local_static;

/// The policy for a worker that waits for a queued call of its own pool, and could run that call
/// itself: the setting of [`ThreadPoolBuilder::run_in_place`].
///
/// It applies to waits that end when all that they wait for has ended:
/// [`result`](crate::futures::Future::result), [`wait`](crate::futures::wait()) for all of several,
/// the end of a [scope](crate::futures::ThreadPoolExecutor::scope). Under every setting a worker
/// runs in place only the awaited calls, or those that these are made of. A wait with a time limit
/// runs nothing. A wait that may end earlier (with the first of several calls, by a deadline) runs
/// a call only if it would be stuck otherwise. [The module](crate::futures#waiting-inside-of-calls)
/// has the table.
///
/// # What the two calls share
///
/// A call that is run in place uses the thread, and the stack above the frames, of the call that
/// waits for it. In another worker it would have had its own
///
/// - thread-locals: if the waiting call borrows from a `RefCell` in one during its wait, the other
///   call finds it borrowed, and panics if it borrows too;
/// - [worker state](crate::futures::with_worker_state): within an access to it, the other call
///   finds none;
/// - locks: if the waiting call holds a mutex that the other call locks, the same thread locks it
///   twice, which blocks for ever or panics. In another worker the other call would wait for the
///   guard and the waiting call for the other call: that is a bug under any setting;
/// - surroundings: an async runtime that was entered, a log span, a current transaction.
///
/// So end borrows and drop guards before a wait. Where a borrow has to last, choose
/// [`IfStuck`](Self::IfStuck), and give the pool enough workers that they are never all stuck.
///
/// # Which to choose
///
/// | | a free worker | all busy | all wait for each other |
/// | --- | --- | --- | --- |
/// | `IfStuck` | it takes the call | the first that is free takes it | run in place |
/// | `IfNobodyIsFree` | it takes the call | run in place | run in place |
/// | `Always` | whichever comes first | run in place | run in place |
///
/// The default is right for most programs: while a worker is free it does as Python does, and when
/// all are busy the waiting worker runs the call that it needs. `IfStuck` comes closest to Python,
/// which hangs in the last column. `Always` is for programs that split their work into calls and
/// wait for these at once: the waiting worker mostly runs them itself, without handing anything
/// over.
///
/// # Python
///
/// None: there a call always has a thread to itself, and calls that wait for queued ones may hang.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{RunInPlace, ThreadPoolExecutor};
/// use std::cell::RefCell;
/// use std::sync::Arc;
///
/// thread_local! {
///     static LINE: RefCell<String> = const { RefCell::new(String::new()) };
/// }
///
/// fn write(word: &str) -> usize {
///     LINE.with_borrow_mut(|line| {
///         line.push_str(word);
///         line.len()
///     })
/// }
///
/// let builder = ThreadPoolExecutor::builder().max_workers(2);
/// let pool = Arc::new(builder.run_in_place(RunInPlace::IfStuck).build()?);
/// let inner = Arc::clone(&pool);
/// let call = pool.spawn(move || {
///     // The borrow is held across the wait: `write` must run in the other worker.
///     LINE.with_borrow_mut(|line| {
///         line.push_str("waits ");
///         Ok::<_, concurrent::Error>(line.len() + inner.submit(write, "runs")?.into_result()?)
///     })
/// })?;
/// assert_eq!(call.into_result()??, 10);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// [`ThreadPoolBuilder::run_in_place`]: crate::futures::ThreadPoolBuilder::run_in_place
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunInPlace {
    /// Only if otherwise nothing that it waits for could ever move: where Python's wait hangs.
    IfStuck,
    /// If no other worker of the pool is free to take the call, and none can be started.
    #[default]
    IfNobodyIsFree,
    /// Whenever no worker has taken the call yet: for fork-join programs.
    Always,
}

/// The calls that a thread waits for, as other threads may see them.
///
/// The set may change only while its thread is not blocked.
pub(crate) trait AwaitedSet {
    /// The last call with an index below `end` that is waited for, and its index.
    fn before(&self, end: usize) -> Option<(usize, &dyn Dependency)>;

    /// The first one with an index of at least `start`.
    fn from(&self, start: usize) -> Option<(usize, &dyn Dependency)>;
}

/// One call.
pub(crate) struct One<'a>(pub(crate) &'a dyn Dependency);

impl AwaitedSet for One<'_> {
    #[inline]
    fn before(&self, end: usize) -> Option<(usize, &dyn Dependency)> {
        (end > 0).then_some((0, self.0))
    }

    #[inline]
    fn from(&self, start: usize) -> Option<(usize, &dyn Dependency)> {
        (start == 0).then_some((0, self.0))
    }
}

/// The services of a worker for the calls that it runs.
pub(crate) trait WorkerContext {
    fn run_in_place(&self) -> RunInPlace;

    /// Starts a queued call, by `start`, inside of the one that the worker runs. With
    /// `unless_free`, only if no other worker of the pool is free to take it, and none can be
    /// started.
    ///
    /// `start` runs under the queue's lock, so that statistics never count the call twice or not at
    /// all.
    fn begin_in_place(&self, unless_free: bool, start: &mut dyn FnMut() -> bool) -> Begin;

    /// A call that was run in place has returned or panicked.
    fn ended(&self, failed: bool);

    fn stop_flag(&self) -> StopFlag;
}

/// The outcome of [`WorkerContext::begin_in_place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Begun,
    /// The call is not pending any more.
    Gone,
    LeftToAnother,
}

thread_local_static! {
    /// The worker that this thread is.
    WORKER: RefCell<Option<Rc<dyn WorkerContext>>> = RefCell::new(None)
}

thread_local_static! {
    /// Its [`WorkerContext::run_in_place`], which every wait reads.
    SETTING: Cell<Option<RunInPlace>> = Cell::new(None)
}

/// Makes this thread a worker until it is dropped.
#[must_use = "the thread is no worker any more when it is dropped"]
pub(crate) struct Working(());

impl Working {
    pub(crate) fn begin(worker: Rc<dyn WorkerContext>) -> Self {
        SETTING.with(|setting| setting.set(Some(worker.run_in_place())));
        WORKER.with(|own| own.replace(Some(worker)));
        Self(())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = SETTING.try_with(|setting| setting.set(None));
        let worker = WORKER.try_with(RefCell::take);
        drop(worker);
    }
}

/// Asks the worker that this thread is; `None` if it is none.
#[inline]
pub(crate) fn ask_worker<R>(question: impl FnOnce(&dyn WorkerContext) -> R) -> Option<R> {
    WORKER.try_with(|own| own.borrow().as_deref().map(question)).ok().flatten()
}

/// The setting of the pool that this thread works for.
#[inline]
pub(crate) fn setting() -> Option<RunInPlace> {
    SETTING.try_with(Cell::get).ok().flatten()
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use super::{Begin, Rc, RunInPlace, StopFlag, WorkerContext, Working, setting};

    struct Always;

    impl WorkerContext for Always {
        fn run_in_place(&self) -> RunInPlace {
            RunInPlace::Always
        }
        fn begin_in_place(&self, _unless_free: bool, _start: &mut dyn FnMut() -> bool) -> Begin {
            Begin::Gone
        }
        fn ended(&self, _failed: bool) {}
        fn stop_flag(&self) -> StopFlag {
            StopFlag::default()
        }
    }

    #[test]
    fn a_thread_is_a_worker_only_as_long_as_it_works() {
        assert_eq!(setting(), None);
        let working = Working::begin(Rc::new(Always));
        assert_eq!(setting(), Some(RunInPlace::Always));
        drop(working);
        assert_eq!(setting(), None);
    }
}
