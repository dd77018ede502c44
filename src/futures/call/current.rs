//! What this thread is doing: whose worker it is, which calls it runs, and of which it runs callbacks.
//!
//! A worker that waits runs the awaited call in place, so that calls nest; the innermost is last.

use std::cell::{Cell, RefCell};
use std::ptr;

use super::cancel_token::{CancelToken, StopFlag};
use super::run::RunObserver;
use crate::sync::thread_local_static;

/// Names a pool; 0 is none.
pub(crate) type PoolId = u32;

/// Takes a call, by its address, out of the registry of waits.
pub(crate) type Forget = fn(usize);

/// A call that runs on a thread.
#[derive(Clone, Copy)]
pub(crate) struct RunningCall {
    /// The call's address: its identity among calls that are alive.
    pub(crate) call: usize,
    pub(crate) name: &'static str,
}

/// What a call can learn about itself while it runs.
pub(crate) trait Running {
    fn is_cancel_requested(&self) -> bool;
    /// Whether somebody may be waiting for it.
    fn is_awaited(&self) -> bool;
    /// A token that also hears of `pool`.
    fn token(&self, pool: Option<StopFlag>) -> CancelToken;
}

/// A call that runs on this thread, on the stack of the function that runs it.
struct Frame<'a> {
    entered: RunningCall,
    running: &'a dyn Running,
    stage: &'a dyn RunObserver,
    /// The call that waits for this one, or runs it in place for another reason.
    outer: *const Frame<'static>,
    /// Called when the call is left, if the registry of waits knows that this thread runs it.
    forget: Cell<Option<Forget>>,
}

/// No part of it has a destructor, so that it is there while the thread is torn down.
struct Context {
    worker_of: Cell<PoolId>,
    /// The same, and still so when it is a worker no longer.
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

/// From now on this thread is a worker of `pool`.
pub(crate) fn become_worker_of(pool: PoolId) {
    CONTEXT.with(|context| {
        context.worker_of.set(pool);
        context.thread_of.set(pool);
    });
}

/// From now on it is none, but its pool still waits for it to end.
pub(crate) fn leave_pool() {
    CONTEXT.with(|context| context.worker_of.set(0));
}

/// The pool that this thread was started for; 0 if it is none's.
pub(crate) fn thread_of() -> PoolId {
    CONTEXT.try_with(|context| context.thread_of.get()).unwrap_or(0)
}

/// The pool that this thread works for; 0 if it is no worker.
pub(crate) fn worker_of() -> PoolId {
    CONTEXT.try_with(|context| context.worker_of.get()).unwrap_or(0)
}

/// Runs `body` as the call `entered`.
pub(crate) fn within<R>(
    entered: RunningCall,
    running: &dyn Running,
    stage: &dyn RunObserver,
    body: impl FnOnce() -> R,
) -> R {
    let frame = Frame { entered, running, stage, outer: innermost(), forget: Cell::new(None) };
    let _left = Leaves(&frame);
    enter(ptr::from_ref(&frame).cast());
    body()
}

/// Leaves a frame when dropped, so also if the call unwinds: nothing may point to a frame that is
/// gone.
struct Leaves<'a>(&'a Frame<'a>);

impl Drop for Leaves<'_> {
    #[inline]
    fn drop(&mut self) {
        enter(self.0.outer);
        if let Some(forget) = self.0.forget.get() {
            forget(self.0.entered.call);
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
    // SAFETY: the invariant of `Context`: frames leave in the opposite order of their entering, and
    // the pointers never leave their thread. Callers use what this gives up before they return,
    // and nothing else of a frame than its cell is ever written to.
    let frame = |frame: *const Frame<'static>| unsafe { frame.as_ref() };
    std::iter::successors(frame(innermost()), move |inner| frame(inner.outer))
}

/// The name of the innermost call that this thread runs.
pub(crate) fn innermost_name() -> Option<&'static str> {
    frames().next().map(|frame| frame.entered.name)
}

/// Calls `index` with the calls that this thread runs and that it was not called with before. When
/// one of these has been left, `forget` is called.
pub(crate) fn index_running(forget: Forget, mut index: impl FnMut(usize)) {
    // Outer ones were indexed before.
    for frame in frames().take_while(|frame| frame.forget.get().is_none()) {
        frame.forget.set(Some(forget));
        index(frame.entered.call);
    }
}

/// Whether somebody may be waiting for one of the calls that this thread runs; if there are more than
/// `most`, for one of them somebody may.
pub(crate) fn is_awaited(most: usize) -> bool {
    frames().take(most).any(|frame| frame.running.is_awaited()) || frames().nth(most).is_some()
}

/// Asks the innermost call that this thread runs.
pub(crate) fn ask_current<R>(
    question: impl FnOnce(&dyn Running, &dyn RunObserver) -> R,
) -> Option<R> {
    // SAFETY: as in `calls`; `question` returns before the frame can leave, so that what it
    // borrows, which outlives it, is there.
    let frame = unsafe { innermost().as_ref() }?;
    Some(question(frame.running, frame.stage))
}

/// A call whose callbacks this thread is running.
struct Notified {
    call: usize,
    /// Called afterwards, if the registry of waits knows it.
    forget: Option<Forget>,
}

thread_local_static! {
    /// The calls whose callbacks this thread is running, innermost last.
    NOTIFYING: RefCell<Vec<Notified>> = RefCell::new(Vec::new())
}

/// Runs `callbacks` as those of the call at `call`.
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
