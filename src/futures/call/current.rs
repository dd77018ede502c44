//! The state of this thread: its pool, the calls that it runs, and those whose callbacks it runs.
//!
//! A waiting worker may run the awaited call in place, so that calls nest.

use std::cell::{Cell, RefCell};
use std::ptr;

use super::cancel_token::{CancelToken, StopFlag};
use super::run::RunObserver;
use crate::sync::thread_local_static;

/// Names a pool; 0 is none.
pub(crate) type PoolId = u32;

/// Removes a call, by its address, from the registry of waits.
pub(crate) type Forget = fn(usize);

/// A call that runs on a thread.
#[derive(Clone, Copy)]
pub(crate) struct RunningCall {
    /// The call's address: its identity among calls that are alive.
    pub(crate) call: usize,
    pub(crate) name: &'static str,
}

/// The state of a running call, as the call itself may ask for it.
pub(crate) trait Running {
    fn is_cancel_requested(&self) -> bool;
    /// Whether a thread, a task or a callback may be waiting for it.
    fn is_awaited(&self) -> bool;
    /// A token that is also raised by `pool`.
    fn token(&self, pool: Option<StopFlag>) -> CancelToken;
}

/// A call that runs on this thread, on the stack of the function that runs it.
struct Frame<'a> {
    running_call: RunningCall,
    running: &'a dyn Running,
    observer: &'a dyn RunObserver,
    /// The call inside of which this one runs.
    outer: *const Frame<'static>,
    /// Called when the frame leaves, if the registry of waits knows that this thread runs the call.
    forget: Cell<Option<Forget>>,
}

/// Has no destructor, so that it stays usable while the thread is torn down.
struct Context {
    worker_of: Cell<PoolId>,
    /// The pool that this thread was started for; stays set when it has left the pool.
    thread_of: Cell<PoolId>,
    /// INVARIANT: null, or a frame whose [`within`] has not returned; so are all outer ones.
    innermost: Cell<*const Frame<'static>>,
}

thread_local_static! {
    CONTEXT: Context = Context {
        worker_of: Cell::new(0),
        thread_of: Cell::new(0),
        innermost: Cell::new(ptr::null()),
    }
}

/// Makes this thread a worker of `pool`.
pub(crate) fn become_worker_of(pool: PoolId) {
    CONTEXT.with(|context| {
        context.worker_of.set(pool);
        context.thread_of.set(pool);
    });
}

/// Makes this thread a worker no longer; its pool still waits for it to end.
pub(crate) fn leave_pool() {
    CONTEXT.with(|context| context.worker_of.set(0));
}

/// The pool that this thread was started for; 0 if none.
pub(crate) fn thread_of() -> PoolId {
    CONTEXT.try_with(|context| context.thread_of.get()).unwrap_or(0)
}

/// The pool that this thread works for; 0 if it is no worker.
pub(crate) fn worker_of() -> PoolId {
    CONTEXT.try_with(|context| context.worker_of.get()).unwrap_or(0)
}

/// Runs `body` as the call `running_call`.
pub(crate) fn within<R>(
    running_call: RunningCall,
    running: &dyn Running,
    observer: &dyn RunObserver,
    body: impl FnOnce() -> R,
) -> R {
    let frame =
        Frame { running_call, running, observer, outer: innermost(), forget: Cell::new(None) };
    let _left = Leaves(&frame);
    enter(ptr::from_ref(&frame).cast());
    body()
}

/// Leaves a frame when dropped, also if the call unwinds: nothing may point to a frame that is
/// gone.
struct Leaves<'a>(&'a Frame<'a>);

impl Drop for Leaves<'_> {
    #[inline]
    fn drop(&mut self) {
        enter(self.0.outer);
        if let Some(forget) = self.0.forget.get() {
            forget(self.0.running_call.call);
        }
    }
}

#[inline]
fn enter(frame: *const Frame<'static>) {
    let _ = CONTEXT.try_with(|context| context.innermost.set(frame));
}

#[inline]
fn innermost() -> *const Frame<'static> {
    CONTEXT.try_with(|context| context.innermost.get()).unwrap_or(ptr::null())
}

/// Whether this thread runs a call.
pub(crate) fn is_in_call() -> bool {
    !innermost().is_null()
}

/// The frames of this thread, the innermost first.
fn frames<'a>() -> impl Iterator<Item = &'a Frame<'static>> {
    // SAFETY: by the invariant of `Context` the frames are alive: they leave in the reverse order
    // of entering, and the pointers never leave their thread. Callers drop the references before
    // they return, and only a frame's cell is ever written to.
    let frame = |frame: *const Frame<'static>| unsafe { frame.as_ref() };
    std::iter::successors(frame(innermost()), move |inner| frame(inner.outer))
}

/// The name of the innermost call that this thread runs.
pub(crate) fn innermost_name() -> Option<&'static str> {
    frames().next().map(|frame| frame.running_call.name)
}

/// Calls `index` with each call that this thread runs and that was not indexed before. `forget` is
/// called when such a call has ended.
pub(crate) fn index_running(forget: Forget, mut index: impl FnMut(usize)) {
    // The outer ones were indexed before.
    for frame in frames().take_while(|frame| frame.forget.get().is_none()) {
        frame.forget.set(Some(forget));
        index(frame.running_call.call);
    }
}

/// Whether one of the calls that this thread runs may be awaited; looks at `most` of them, and
/// assumes it if there are more.
pub(crate) fn is_awaited(most: usize) -> bool {
    frames().take(most).any(|frame| frame.running.is_awaited()) || frames().nth(most).is_some()
}

/// Asks the innermost call that this thread runs.
pub(crate) fn ask_current<R>(
    question: impl FnOnce(&dyn Running, &dyn RunObserver) -> R,
) -> Option<R> {
    // SAFETY: as in `frames`; `question` returns before the frame can leave, and the frame's
    // borrows outlive the frame.
    let frame = unsafe { innermost().as_ref() }?;
    Some(question(frame.running, frame.observer))
}

/// A call whose callbacks this thread is running, or whose captures it drops: whoever waits for what
/// follows the call waits for this thread.
struct Notified {
    /// The address of the call; or an odd number, of a scope's.
    call: usize,
    /// Called afterwards, if the registry of waits knows of it.
    forget: Option<Forget>,
}

thread_local_static! {
    /// The calls whose callbacks this thread is running, the innermost last.
    NOTIFYING: RefCell<Vec<Notified>> = RefCell::new(Vec::new())
}

/// Runs `callbacks`, which do not unwind, as those of the call at the address `call`. The drop of the
/// captures of a call that will not run counts as such.
pub(crate) fn while_notifying(call: usize, callbacks: impl FnOnce()) {
    let notified = Notified { call, forget: None };
    let _ = NOTIFYING.try_with(|calls| calls.borrow_mut().push(notified));
    callbacks();
    let left = NOTIFYING.try_with(|calls| calls.borrow_mut().pop()).ok().flatten();
    if let Some(forget) = left.and_then(|left| left.forget) {
        forget(call);
    }
}

/// Whether this thread is inside a callback of the call at the address `call`.
pub(crate) fn is_notifying(call: usize) -> bool {
    let any = |calls: &RefCell<Vec<Notified>>| calls.borrow().iter().any(|own| own.call == call);
    NOTIFYING.try_with(any).unwrap_or(false)
}

/// Whether this thread is inside any callback.
pub(crate) fn is_notifying_any() -> bool {
    NOTIFYING.try_with(|calls| !calls.borrow().is_empty()).unwrap_or(false)
}

/// As [`index_running`], for the calls whose callbacks this thread runs.
pub(crate) fn index_notifying(forget: Forget, mut index: impl FnMut(usize)) {
    let _ = NOTIFYING.try_with(|calls| {
        for own in calls.borrow_mut().iter_mut().rev().take_while(|own| own.forget.is_none()) {
            own.forget = Some(forget);
            index(own.call);
        }
    });
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use super::{become_worker_of, leave_pool, thread_of, worker_of};

    #[test]
    fn a_worker_that_has_left_is_still_a_thread_of_its_pool() {
        std::thread::spawn(|| {
            become_worker_of(7);
            assert_eq!((worker_of(), thread_of()), (7, 7));
            leave_pool();
            assert_eq!((worker_of(), thread_of()), (0, 7));
        })
        .join()
        .expect("it finds what it expects");
    }
}
