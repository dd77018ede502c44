//! [`Future::with_timeout`]: a call that fails when time is up.

use std::sync::Arc;
use std::time::Duration;

use crate::LOG_TARGET;
use crate::error::Error;
use crate::futures::Future;
use crate::futures::call::continuation::{Continuations, DependentCall, try_end, when_settled};
use crate::futures::call::dependency::{Dependency, request_cancel, upstream};
use crate::futures::call::expiry;
use crate::futures::call::pair_arc::PairArc;
use crate::futures::call::state::State;
use crate::futures::call::{self, AnyCall, Ending, take_ending};
use crate::futures::future::timer;
use crate::sync::deadline_after;
use crate::user_code::contain;

impl<T: Send + 'static> Future<T> {
    /// Makes a call that ends as this one does, or fails with [`Error::Timeout`] after `timeout`.
    ///
    /// When time is up, this call is cancelled if it has not started. If it runs, it cannot be
    /// interrupted: it is [asked to stop](crate::futures::is_cancel_requested) and goes on, and its
    /// result is dropped; if it fails, that is logged. With a zero `timeout`, time is up at once
    /// for a call that is not done.
    ///
    /// The time limit of a wait ([`result_timeout`](Self::result_timeout)) belongs to that wait;
    /// this one belongs to the call. Everyone who waits sees the same failure, and so do
    /// [`or_else`](Self::or_else), [`first_ok`](crate::futures::first_ok) and `.await`. Cancelling
    /// the new future cancels this call while that is possible.
    ///
    /// # Blocking
    ///
    /// Never: no thread waits for the call. One thread, the timer, keeps the deadlines of the whole
    /// process. The first deadline starts it, and it sleeps until the earliest one. A call that
    /// ends in time takes its deadline with it.
    ///
    /// # Threads
    ///
    /// When time is up, the timer thread ends the new call, cancels this one and wakes the threads
    /// that wait for either; it runs no code of yours. Callbacks, calls that follow, and the drop
    /// of what a cancelled call captured run soon after in another thread, one after the other. If
    /// one of them takes longer than some 10 ms, or blocks, a further thread takes the next: so it
    /// delays no deadline, and a callback may wait for another call with a deadline. With a zero
    /// `timeout` all this happens in this thread.
    ///
    /// # Errors
    ///
    /// If the system does not start the timer's threads, the new call fails with
    /// [`Error::ThreadStart`], as if time were up.
    ///
    /// # Python
    ///
    /// None; `asyncio.wait_for` does this for coroutines.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{Future, Promise};
    /// use std::time::Duration;
    ///
    /// let (promise, slow) = Promise::<u32>::pair();
    /// let answer = slow.with_timeout(Duration::from_millis(1)).or_else(|error| {
    ///     assert!(error.is_timeout());
    ///     Future::ready(42)
    /// });
    /// assert_eq!(answer.into_result()?, 42);
    /// assert!(!promise.set_running_or_notify_cancel()?); // cancelled
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "wait_for")]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        let Some(deadline) = deadline_after(timeout) else {
            return self; // never
        };
        if self.done() {
            return self;
        }
        let source = self.into_call();
        let (linked, own) = DependentCall::to(&source, true);
        let future = Self::from_call(own);
        let linked = linked.erase();
        let follows = upstream(&source);
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
            let source = PairArc::clone(&source);
            Box::new(move |chain: &mut Continuations| {
                if let Some(event) = event {
                    timer::cancel(&event);
                }
                source_ended(chain, &linked, take_ending(&source));
            })
        };
        // This future was the only one, so the rest of the chain owns the outcome.
        Continuations::with(|chain| when_settled(chain, &source, rest));
        future
    }
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
        unsafe { call::finish_in(chain, &linked, outcome) };
    }
}

fn source_ended<T>(chain: &mut Continuations, linked: &AnyCall<T>, ending: Ending<T>) {
    let outcome = match ending {
        Ending::Cancelled => {
            call::cancel_in(chain, linked);
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
