//! What a thread can do for the calls that it waits for, beside sleeping.
//!
//! A worker can run a queued call of its own pool in place: [`WorkerContext`]. A thread that receives
//! the answers of other processes can receive some: [`attendant`](super::wait_assist).

use std::cell::Cell;
use std::ptr::NonNull;

use super::cancel_token::StopFlag;
use super::dependency::Dependency;
use crate::sync::thread_local_static;

/// When a worker that waits for a queued call of its own pool runs that call itself; see
/// [`ThreadPoolBuilder::run_in_place`].
///
/// It is about waits that end when all that they wait for has: [`result`](crate::futures::Future::result),
/// [`wait`](crate::futures::wait()) for all of several, the end of a
/// [scope](crate::futures::ThreadPoolExecutor::scope). Whatever is chosen, only what is awaited is run in
/// place, or what that is made of; a wait with a time limit runs nothing; and a wait that may end
/// earlier (with the first of several calls, by a deadline) runs something only if it would be stuck
/// otherwise. [The module](crate::futures#waiting-inside-of-calls) has the table.
///
/// # What the two calls share
///
/// A call that is run in place runs on the thread, and on top of the stack, of the call that waits for
/// it. In another worker it would have had its own
///
/// - thread-locals: if the waiting call holds the borrow of a `RefCell` in one across its wait, the other
///   one meets it, and panics if it borrows too;
/// - the [state of the worker](crate::futures::with_worker_state): within an access to it, the other call finds
///   none;
/// - locks: what the waiting call holds and the other one takes is taken by the same thread twice. A
///   mutex then blocks for ever, or panics. In another worker the other call would have waited for the
///   guard, and the waiting one for the call: that is wrong in any setting;
/// - surroundings: an async runtime that was entered, a span of a log, a current transaction.
///
/// So end borrows and drop guards before a wait. Where a borrow has to last, choose
/// [`IfStuck`](Self::IfStuck), and give the pool so many workers that they are never all stuck.
///
/// # Which to choose
///
/// | | a free worker | all busy | all wait for each other |
/// | --- | --- | --- | --- |
/// | `IfStuck` | it takes the call | the first that is free takes it | run in place |
/// | `IfNobodyIsFree` | it takes the call | run in place | run in place |
/// | `Always` | who comes first | run in place | run in place |
///
/// The default is right for most programs: it does as Python while somebody is free, and what all are
/// too busy for, the worker does that needs it. `IfStuck` comes closest to Python, where the last column
/// hangs. `Always` is for programs that split their work into calls and wait for these at once: the
/// waiting worker mostly runs them itself, with nothing handed over.
///
/// [`ThreadPoolBuilder::run_in_place`]: crate::futures::ThreadPoolBuilder::run_in_place
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunInPlace {
    /// Only if otherwise nothing that it waits for could ever move: where Python's wait hangs.
    IfStuck,
    /// If no other worker of the pool is free to take the call, and none can be started.
    #[default]
    IfNobodyIsFree,
    /// Whenever the call has not been taken: for programs that fork and join.
    Always,
}

/// Calls that a thread waits for, as other threads may see them.
///
/// What it gives may change only while its thread is not blocked.
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

/// What a running worker offers to the calls that it runs.
pub(crate) trait WorkerContext {
    fn run_in_place(&self) -> RunInPlace;

    /// Starts a queued call by `start` within the one that the worker runs. With `unless_free` it does
    /// not if another worker of the pool is free to take it, or can be started.
    ///
    /// `start` runs under a lock, so that nobody sees the call counted twice or not at all.
    fn begin_in_place(&self, unless_free: bool, start: &mut dyn FnMut() -> bool) -> Begin;

    /// A call that was run in place has returned or panicked.
    fn ended(&self, failed: bool);

    fn stop_flag(&self) -> StopFlag;
}

/// What became of a call that a worker wanted to run in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Begun,
    /// It is not pending any more.
    Gone,
    LeftToAnother,
}

thread_local_static! {
    /// INVARIANT: none, or what a [`Working`] was made of that is alive.
    WORKER: Cell<Option<NonNull<dyn WorkerContext>>> = Cell::new(None)
}

/// As long as this is there, its thread is that worker.
#[must_use = "the thread is no worker any more when it is dropped"]
pub(crate) struct Working<'a>(std::marker::PhantomData<&'a dyn WorkerContext>);

impl<'a> Working<'a> {
    pub(crate) fn begin(worker: &'a (dyn WorkerContext + 'a)) -> Self {
        let worker = NonNull::from(worker);
        // SAFETY: only the lifetime changes; the guard, which has it, takes the pointer back.
        let worker = unsafe {
            std::mem::transmute::<
                NonNull<dyn WorkerContext + 'a>,
                NonNull<dyn WorkerContext + 'static>,
            >(worker)
        };
        WORKER.with(|own| own.set(Some(worker)));
        Self(std::marker::PhantomData)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let _ = WORKER.try_with(|own| own.set(None));
    }
}

/// Asks the worker that this thread is; `None` if it is none.
#[inline]
pub(crate) fn ask_worker<R>(question: impl FnOnce(&dyn WorkerContext) -> R) -> Option<R> {
    let worker = WORKER.try_with(Cell::get).ok()??;
    // SAFETY: by the invariant it is alive, and it cannot end before this returns: the frame that it
    // is in is below this one on the same stack. It is shared here as there.
    Some(question(unsafe { worker.as_ref() }))
}

/// How the pool that this thread works for is set.
#[inline]
pub(crate) fn setting() -> Option<RunInPlace> {
    ask_worker(|worker| worker.run_in_place())
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use super::{Begin, RunInPlace, StopFlag, WorkerContext, Working, setting};

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
        let working = Working::begin(&Always);
        assert_eq!(setting(), Some(RunInPlace::Always));
        drop(working);
        assert_eq!(setting(), None);
    }
}
