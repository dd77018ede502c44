//! How a call fails when time is up: [`Future::with_timeout`](crate::futures::Future::with_timeout).

use std::sync::Arc;
use std::time::Duration;

use crate::LOG_TARGET;
use crate::error::Error;
use crate::futures::call::continuation::{Continuations, DependentCall, try_end, when_settled};
use crate::futures::call::dependency::{Dependency, request_cancel, upstream};
use crate::futures::call::expiry;
use crate::futures::call::pair_arc::PairArc;
use crate::futures::call::state::State;
use crate::futures::call::{AnyCall, Ending};
use crate::futures::future::timer;
use crate::sync::deadline_after;
use crate::user_code::contain;

/// Makes a call that ends as `call` does, or fails after `timeout`.
pub(super) fn within<T: Send + 'static>(call: AnyCall<T>, timeout: Duration) -> AnyCall<T> {
    let Some(deadline) = deadline_after(timeout) else {
        return call; // never
    };
    if call.core().state().is_done() {
        return call;
    }
    let (linked, future) = DependentCall::to(&call, true);
    let linked = linked.erase();
    let follows = upstream(&call);
    let time_is_up = {
        let (linked, follows) = (PairArc::clone(&linked), Arc::clone(&follows));
        let error = Error::Timeout { unfinished: 1, total: 1 };
        move |chain: &mut Continuations| give_up(chain, linked, &*follows, error)
    };
    let mut event = None;
    if timeout.is_zero() {
        Continuations::with(time_is_up);
    } else {
        match timer::enter(deadline, time_is_up) {
            Ok(entered) => event = Some(entered),
            Err(error) => {
                let linked = PairArc::clone(&linked);
                Continuations::with(|chain| give_up(chain, linked, &*follows, error));
            }
        }
    }
    let rest = {
        let source = PairArc::clone(&call);
        Box::new(move |chain: &mut Continuations| {
            if let Some(event) = event {
                timer::cancel(&event);
            }
            source_ended(chain, &linked, source.take_ending());
        })
    };
    // This future was the only one, so the rest of the chain owns the outcome.
    Continuations::with(|chain| when_settled(chain, &call, rest));
    future
}

/// Time is up: fails `linked`, unless it has ended, and cancels what it follows.
fn give_up<T: Send + 'static>(
    chain: &mut Continuations,
    linked: AnyCall<T>,
    follows: &dyn Dependency,
    error: Error,
) {
    if linked.core().transition(State::claim).is_err() {
        chain.user_code(move |_| drop(linked)); // perhaps the last owner
        return;
    }
    let outcome = Err(Box::new(error));
    // Claimed before, so that the cancel does not cancel `linked` too; cancelled before anybody sees
    // the failure.
    if chain.puts_off() {
        request_cancel(chain, follows);
        // SAFETY: the transition above set the claim.
        unsafe { expiry::finish(chain, linked, outcome) };
    } else {
        Continuations::with(|chain| request_cancel(chain, follows));
        // SAFETY: as above.
        unsafe { linked.finish(chain, outcome) };
    }
}

fn source_ended<T>(chain: &mut Continuations, linked: &AnyCall<T>, ending: Ending<T>) {
    let outcome = match ending {
        Ending::Cancelled => {
            let _ = linked.try_cancel(chain); // or it has ended
            return;
        }
        Ending::Finished(outcome) => outcome,
    };
    match try_end(chain, linked, outcome) {
        Ok(()) => {}
        Err(Ok(value)) => contain("dropping a result that came too late", || drop(value)),
        Err(Err(error)) => contain("logging a failure that came too late", || {
            let name = linked.name();
            log::error!(target: LOG_TARGET, "{name} failed after its time was up: {error}");
        }),
    }
}
