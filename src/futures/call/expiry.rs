//! How the timer ends calls: it makes the transitions and wakes blocked threads, and runs no user
//! code.
//!
//! Callbacks, continuations, wakers and drops of captures are left to the threads of `handover.rs`,
//! one by one. So a thread that is blocked on a call wakes up even if a callback takes long, or
//! waits for that very call.

use super::continuation::Continuations;
use super::pair_arc::PairArc;
use super::run::NoObserver;
use super::shared_state::CallResult;
use crate::futures::call::AnyCall;
use crate::futures::call::state::{Phase, State};

/// Cancels `call` if it is pending; returns whether it is cancelled now.
pub(crate) fn cancel<T: Send + 'static>(
    continuations: &mut Continuations,
    call: &AnyCall<T>,
) -> bool {
    let state = match call.begin_cancel() {
        Ok(state) => state,
        Err(state) => return state.phase() == Phase::Cancelled,
    };
    let owner = PairArc::clone(call);
    continuations.user_code(move |_| {
        // SAFETY: this made the one transition to CANCELLED, and is run once.
        unsafe { owner.discard_cancelled() };
    });
    call.kind().cancelled(continuations);
    notify(continuations, PairArc::clone(call), state);
    true
}

/// Ends `call`, and drops this owner of it: if it is the last one, that may run user code.
///
/// # Safety
///
/// The caller made the transition that set the claim, and calls this once.
pub(crate) unsafe fn finish<T: Send + 'static>(
    continuations: &mut Continuations,
    call: AnyCall<T>,
    outcome: CallResult<T>,
) {
    // SAFETY: the caller's promise.
    let state = unsafe { call.shared().finish(outcome) };
    notify(continuations, call, state);
}

/// Wakes the threads that wait for `call`, which has just ended; the other waiters are notified in
/// a thread that may run user code.
fn notify<T: Send + 'static>(continuations: &mut Continuations, call: AnyCall<T>, state: State) {
    call.wake_threads(state);
    continuations.user_code(move |continuations| {
        if state.is_waited() {
            call.notify_waiters(continuations, state, &NoObserver);
        }
        drop(call);
    });
}
