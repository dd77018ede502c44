//! How a call fails when time is up:
//! [`Future::with_timeout`](crate::futures::Future::with_timeout).

use std::sync::Arc;
use std::time::Duration;

use crate::LOG_TARGET;
use crate::error::Error;
use crate::futures::call::continuation::{Continuations, DependentCall, try_end, when_settled};
use crate::futures::call::dependency::{Dependency, dependency_on, request_cancel};
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
    if call.shared().state().is_done() {
        return call;
    }
    let (linked, future) = DependentCall::to(&call, true);
    let linked = linked.erase();
    let follows = dependency_on(&call);
    let time_is_up = {
        let (linked, follows) = (PairArc::clone(&linked), Arc::clone(&follows));
        let error = Error::Timeout { unfinished: 1, total: 1 };
        move |continuations: &mut Continuations| give_up(continuations, linked, &*follows, error)
    };
    let mut event = None;
    if timeout.is_zero() {
        Continuations::with(time_is_up);
    } else {
        match timer::enter(deadline, time_is_up) {
            Ok(entered) => event = Some(entered),
            Err(error) => {
                let linked = PairArc::clone(&linked);
                Continuations::with(|continuations| {
                    give_up(continuations, linked, &*follows, error)
                });
            }
        }
    }
    let continuation = {
        let source = PairArc::clone(&call);
        Box::new(move |continuations: &mut Continuations| {
            if let Some(event) = event {
                timer::cancel(&event);
            }
            source_ended(continuations, &linked, source.take_ending());
        })
    };
    // The only future of `call` is gone, so the continuation owns the outcome.
    Continuations::with(|continuations| when_settled(continuations, &call, continuation));
    future
}

/// Time is up: fails `linked`, unless it has ended, and cancels what it follows.
fn give_up<T: Send + 'static>(
    continuations: &mut Continuations,
    linked: AnyCall<T>,
    follows: &dyn Dependency,
    error: Error,
) {
    if linked.shared().transition(State::claim).is_err() {
        continuations.user_code(move |_| drop(linked)); // perhaps the last owner
        return;
    }
    let outcome = Err(Box::new(error));
    // `linked` is claimed first, so that the cancel does not reach it; and the source is cancelled
    // before others can see the failure.
    if continuations.puts_off() {
        request_cancel(continuations, follows);
        // SAFETY: the transition above set the claim.
        unsafe { expiry::finish(continuations, linked, outcome) };
    } else {
        Continuations::with(|continuations| request_cancel(continuations, follows));
        // SAFETY: as above.
        unsafe { linked.finish(continuations, outcome) };
    }
}

fn source_ended<T>(continuations: &mut Continuations, linked: &AnyCall<T>, ending: Ending<T>) {
    let outcome = match ending {
        Ending::Cancelled => {
            let _ = linked.try_cancel(continuations); // or it has ended
            return;
        }
        Ending::Finished(outcome) => outcome,
    };
    match try_end(continuations, linked, outcome) {
        Ok(()) => {}
        Err(Ok(value)) => contain("dropping a result that came too late", || drop(value)),
        Err(Err(error)) => contain("logging a failure that came too late", || {
            let name = linked.name();
            log::error!(target: LOG_TARGET, "{name} failed after its time was up: {error}");
        }),
    }
}
