//! What this thread is doing: whose worker it is, and which calls it is inside of.
//!
//! A worker that waits runs the awaited call in place, so that calls nest; the innermost is last.

use std::cell::{Cell, RefCell};

use super::token::CancelToken;
use crate::sync::thread_local_static;

/// Names a pool; 0 is none.
pub(crate) type PoolId = u32;

/// A call that runs on this thread.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// The call's address: its identity among calls that are alive.
    pub(crate) call: usize,
    pub(crate) name: &'static str,
    running: *const dyn Running,
}

/// What a call can learn about itself while it runs.
pub(crate) trait Running {
    fn is_cancel_requested(&self) -> bool;
    fn token(&self) -> CancelToken;
}

struct Context {
    worker_of: Cell<PoolId>,
    frames: RefCell<Vec<Frame>>,
}

thread_local_static! {
    CONTEXT: Context = Context {
        worker_of: Cell::new(0),
        frames: RefCell::new(Vec::new()),
    }
}

/// From now on this thread is a worker of `pool`.
pub(crate) fn become_worker_of(pool: PoolId) {
    CONTEXT.with(|context| context.worker_of.set(pool));
}

/// The pool that this thread works for; `None` while the thread is being torn down.
pub(crate) fn worker_of() -> Option<PoolId> {
    CONTEXT.try_with(|context| context.worker_of.get()).ok()
}

/// Runs `body` as the call `running`. It must not unwind.
pub(crate) fn within<R>(
    call: usize,
    name: &'static str,
    running: &dyn Running,
    body: impl FnOnce() -> R,
) -> R {
    // SAFETY: only the lifetime changes; `ask_current` says why the pointer is good when used.
    let running = unsafe { std::mem::transmute::<&dyn Running, &'static dyn Running>(running) };
    let frame = Frame { call, name, running };
    let entered = CONTEXT.try_with(|context| context.frames.borrow_mut().push(frame)).is_ok();
    let result = body();
    if entered {
        let _ = CONTEXT.try_with(|context| context.frames.borrow_mut().pop());
    }
    result
}

/// Whether this thread runs a call.
pub(crate) fn is_in_call() -> bool {
    CONTEXT.try_with(|context| !context.frames.borrow().is_empty()).unwrap_or(false)
}

/// The calls this thread runs, the innermost last.
pub(crate) fn frames() -> Vec<Frame> {
    CONTEXT.try_with(|context| context.frames.borrow().clone()).unwrap_or_default()
}

/// Asks the innermost call that this thread runs.
pub(crate) fn ask_current<R>(question: impl FnOnce(&dyn Running) -> R) -> Option<R> {
    let frame = CONTEXT.try_with(|context| context.frames.borrow().last().copied()).ok()??;
    // SAFETY: `within` was given the reference and has not returned, because the frame is there and
    // frames never leave their thread to be asked.
    Some(question(unsafe { &*frame.running }))
}
