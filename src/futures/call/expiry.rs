//! How the timer ends calls: it makes the transitions and wakes threads, and runs no code of users.
//!
//! Callbacks, follow-ups, wakers and the drops of what was captured are put off, piece by piece, for
//! the threads of `handover.rs`. A thread that is blocked on a call wakes up though one of these
//! pieces takes long, or waits for that very call.

use super::continuation::Continuations;
use super::pair_arc::PairArc;
use super::run::NoObserver;
use super::shared_state::CallResult;
use super::waiters::Waiter;
use crate::futures::call::AnyCall;
use crate::futures::call::state::{Phase, State};

/// Cancels `call` if it is pending; returns whether it is cancelled now.
pub(crate) fn cancel<T: Send + 'static>(chain: &mut Continuations, call: &AnyCall<T>) -> bool {
    let state = match call.begin_cancel() {
        Ok(state) => state,
        Err(state) => return state.phase() == Phase::Cancelled,
    };
    let owner = PairArc::clone(call);
    chain.user_code(move |_| {
        // SAFETY: this made the one transition to CANCELLED, and is run once.
        unsafe { owner.discard_cancelled() };
    });
    call.body().cancelled(chain);
    notify(chain, PairArc::clone(call), state);
    true
}

/// Ends `call`, of which this was an owner: the last one may run code of users.
///
/// # Safety
///
/// The caller made the transition that set the claim, and calls this once.
pub(crate) unsafe fn finish<T: Send + 'static>(
    chain: &mut Continuations,
    call: AnyCall<T>,
    outcome: CallResult<T>,
) {
    // SAFETY: the caller's promise.
    let state = unsafe { call.core().finish(outcome) };
    notify(chain, call, state);
}

/// Wakes the threads that wait for `call`, which has just ended, and has the others told.
fn notify<T: Send + 'static>(chain: &mut Continuations, call: AnyCall<T>, state: State) {
    if state.is_waited() {
        for waiter in call.core().take_threads().in_order() {
            match waiter {
                Waiter::Done(signal, index) => signal.notify(index, state.is_failed()),
                Waiter::Settled(signal) => signal.notify(0, false),
                Waiter::Token(_) => {}
                Waiter::Callback(_) | Waiter::Task(_) | Waiter::Then(_) => {
                    unreachable!("it runs code of users")
                }
            }
        }
    }
    chain.user_code(move |chain| {
        if state.is_waited() {
            call.notify_waiters(chain, state, &NoObserver);
        }
        drop(call);
    });
}
