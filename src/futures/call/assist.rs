//! What a thread can do for the calls that it waits for, beside sleeping.
//!
//! A worker can run a queued call of its own pool in place: [`WorkerContext`]. A thread that receives
//! the answers of other processes can receive some: [`attendant`](super::attendant).

use std::cell::Cell;
use std::ptr::NonNull;

use super::token::StopFlag;
use super::upstream::Upstream;
use crate::sync::thread_local_static;

/// When a worker that waits for a queued call of its own pool runs that call itself; see
/// [`ThreadPoolBuilder::run_in_place`].
///
/// A call that is run in place shares the thread of the call that waits for it: its thread-locals,
/// the runtime that it is inside of, the locks that it holds. Where a call waits while it holds a
/// lock or a borrow that the awaited call takes too, choose [`IfStuck`](Self::IfStuck).
///
/// Whatever is chosen, only the awaited call is run in place, or what it is made of; a wait with a
/// time limit runs nothing; and a wait that may end before all its calls have (for the first of
/// several, with a deadline, of a group) runs one only if it would be stuck otherwise.
///
/// [`ThreadPoolBuilder::run_in_place`]: crate::futures::ThreadPoolBuilder::run_in_place
///
/// ```
/// use concurrent::futures::{RunInPlace, ThreadPoolExecutor};
///
/// let pool = ThreadPoolExecutor::builder().run_in_place(RunInPlace::IfStuck).build()?;
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
    fn before(&self, end: usize) -> Option<(usize, &dyn Upstream)>;

    /// The first one with an index of at least `start`.
    fn from(&self, start: usize) -> Option<(usize, &dyn Upstream)>;
}

/// One call.
pub(crate) struct One<'a>(pub(crate) &'a dyn Upstream);

impl AwaitedSet for One<'_> {
    #[inline]
    fn before(&self, end: usize) -> Option<(usize, &dyn Upstream)> {
        (end > 0).then_some((0, self.0))
    }

    #[inline]
    fn from(&self, start: usize) -> Option<(usize, &dyn Upstream)> {
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
