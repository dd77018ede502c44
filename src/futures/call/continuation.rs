//! Chains of calls: a call that follows another one, without a thread that waits in between.
//!
//! A composed call has a [`DependentCall`] for its kind, which knows the call that it follows at
//! present. The followed call has a [`Continuation`] among its waiters, which owns the composed
//! call. The first reference is weak, the second strong: the owner of the first call of a chain
//! keeps all later ones alive, and no call keeps alive the one that it followed.
//!
//! A chain may be long. A [`Continuations`] runs what is left to do in a loop, and a search for the
//! first call goes hop by hop (`dependency.rs`): nothing here recurses. User code cannot reach the
//! list, so that the waiters of calls that it ends are notified at once.
//!
//! **No circles.** A function may return a future that was made of its own call. No future of these calls
//! is left then, so that nothing could end them. The thread that closes such a circle finds it as
//! it follows the dependencies of the returned call, and ends its own call with
//! [`Error::Deadlock`].

use std::collections::VecDeque;
use std::sync::Arc;

use super::current::{RunningCall, while_notifying, within};
use super::dependency::{DependencyRef, DependsOn, OnChange, dependency_on, depends_on};
use super::pair_arc::PairArc;
use super::run::NoObserver;
use super::shared_state::CallResult;
use super::waiters::Waiter;
use crate::error::Error;
use crate::futures::call::state::State;
use crate::futures::call::{AnyCall, Call, CallKind, Ending, log_lost};
use crate::sync::Mutex;
use crate::user_code::contain;

/// Runs when a call has settled; it knows the call.
pub(crate) type Continuation = Box<dyn FnOnce(&mut Continuations) + Send>;

/// The continuations that this thread has still to run.
pub(crate) struct Continuations {
    left: VecDeque<Continuation>,
    /// The continuations that run user code, if another thread is to run them.
    put_off: Option<Vec<Continuation>>,
}

impl Continuations {
    /// Calls `begin`, then runs the continuations that it added, and those that these add.
    pub(crate) fn with<R>(begin: impl FnOnce(&mut Self) -> R) -> R {
        let mut continuations = Self { left: VecDeque::new(), put_off: None };
        let begun = begin(&mut continuations);
        continuations.run();
        begun
    }

    /// Like [`with`](Self::with), for a thread that runs no user code: returns the continuations
    /// that do. Another thread runs each of them by itself, since one that blocks must not delay
    /// the others.
    #[cfg_attr(concurrent_loom, expect(dead_code, reason = "loom knows no timer"))]
    pub(crate) fn putting_off(begin: impl FnOnce(&mut Self)) -> Vec<Continuation> {
        let mut continuations = Self { left: VecDeque::new(), put_off: Some(Vec::new()) };
        begin(&mut continuations);
        continuations.run();
        continuations.put_off.unwrap_or_default()
    }

    fn run(&mut self) {
        while let Some(continuation) = self.left.pop_front() {
            contain("the rest of a chain of calls", || continuation(self));
        }
    }

    pub(crate) fn push(&mut self, continuation: Continuation) {
        self.left.push_back(continuation);
    }

    /// Whether this thread runs no user code.
    pub(crate) fn puts_off(&self) -> bool {
        self.put_off.is_some()
    }

    /// Runs `code`, which may run user code: at once, or in another thread if this one runs none.
    pub(crate) fn user_code(&mut self, code: impl FnOnce(&mut Self) + Send + 'static) {
        match &mut self.put_off {
            Some(put_off) => put_off.push(Box::new(code)),
            None => code(self),
        }
    }
}

/// Runs `continuation` when `call` has settled; at once if it has already.
pub(crate) fn when_settled<T>(
    continuations: &mut Continuations,
    call: &AnyCall<T>,
    continuation: Continuation,
) {
    if let Err(Waiter::Then(continuation)) = call.shared().register(Waiter::Then(continuation)) {
        continuations.push(continuation);
    }
}

/// The kind of a call that ends as another one ends.
pub(crate) struct DependentCall {
    name: &'static str,
    in_time: bool,
    hop: Mutex<Hop>,
}

struct Hop {
    follows: DependencyRef,
    /// Called when `follows` changes, if a blocked thread relies on it.
    watch: OnChange,
}

impl DependentCall {
    /// Makes a call that follows `source` and has its name.
    pub(crate) fn to<S, T>(
        source: &AnyCall<S>,
        in_time: bool,
    ) -> (PairArc<Call<T, Self>>, AnyCall<T>)
    where
        S: Send + 'static,
    {
        let hop = Hop { follows: dependency_on(source), watch: None };
        Call::pair(Self { name: source.name(), in_time, hop: Mutex::new(hop) })
    }
}

impl<T> CallKind<T> for DependentCall {
    fn name(&self) -> &'static str {
        self.name
    }

    fn follows(&self, watch: OnChange) -> DependsOn {
        let mut hop = self.hop.lock();
        hop.watch = watch.or(hop.watch);
        let follows = Arc::clone(&hop.follows);
        if self.in_time { DependsOn::InTime(follows) } else { DependsOn::Call(follows) }
    }
}

/// How a composed call goes on when its source has finished.
pub(crate) enum FollowUp<T> {
    /// It ends so.
    End(CallResult<T>),
    /// It follows another call.
    Follow(AnyCall<T>),
}

/// Makes a call that goes on as `step` says when `source` has finished. If that is cancelled, so
/// is the new one, and `step` is dropped. `step` may not unwind.
pub(crate) fn link<S, T>(
    source: AnyCall<S>,
    step: impl FnOnce(CallResult<S>) -> FollowUp<T> + Send + 'static,
) -> AnyCall<T>
where
    S: Send + 'static,
    T: Send + 'static,
{
    let (linked, future) = DependentCall::to(&source, false);
    let continuation = {
        let source = PairArc::clone(&source);
        Box::new(move |continuations: &mut Continuations| match source.take_ending() {
            Ending::Cancelled => {
                while_notifying(PairArc::address(&linked), || {
                    contain("dropping a function that will not be called", || drop(step));
                });
                let _ = linked.erase().try_cancel(continuations); // or it has ended
            }
            Ending::Finished(outcome) => {
                // The function runs as the new call: its waits count as that call's.
                let call = PairArc::address(&linked);
                let running_call = RunningCall { call, name: linked.name() };
                match within(running_call, linked.shared(), &NoObserver, || step(outcome)) {
                    FollowUp::End(outcome) => end(continuations, &linked.erase(), outcome),
                    FollowUp::Follow(next) => follow(continuations, linked, next),
                }
            }
        })
    };
    // The only future of `source` is gone, so the continuation owns the outcome.
    Continuations::with(|continuations| when_settled(continuations, &source, continuation));
    future
}

/// Makes `linked` end as `next` ends.
fn follow<T: Send + 'static>(
    continuations: &mut Continuations,
    linked: PairArc<Call<T, DependentCall>>,
    next: AnyCall<T>,
) {
    let linked_too = PairArc::clone(&linked).erase();
    let continuation = {
        let next = PairArc::clone(&next);
        Box::new(move |continuations: &mut Continuations| match next.take_ending() {
            Ending::Cancelled => {
                let _ = linked_too.try_cancel(continuations); // or it has ended
            }
            Ending::Finished(outcome) => end(continuations, &linked_too, outcome),
        })
    };
    let follows = dependency_on(&next);
    when_settled(continuations, &next, continuation);
    // Only now: a cancel that goes through `linked` must find the continuation in place.
    let mut hop = linked.kind().hop.lock();
    let before = std::mem::replace(&mut *hop, Hop { follows: Arc::clone(&follows), watch: None });
    drop(hop);
    if let Some(recheck) = before.watch {
        recheck(); // a blocked worker may be able to run the next call
    }
    // Only now: of several threads that close a circle together, the last one finds it.
    if linked.shared().is_followed() && depends_on(follows, PairArc::address(&linked)) {
        let name = linked.name();
        let text = format!("what follows `{name}` was made of `{name}` itself: it can never end");
        end(continuations, &linked.erase(), Err(Box::new(Error::Deadlock(text.into()))));
    }
}

fn end<T>(continuations: &mut Continuations, call: &AnyCall<T>, outcome: CallResult<T>) {
    match try_end(continuations, call, outcome) {
        Ok(()) => {}
        Err(Ok(value)) => contain("dropping a result that came too late", || drop(value)),
        // A call that was made of itself: perhaps no caller has seen why it failed.
        Err(Err(error)) => log_lost(call.name(), &error),
    }
}

/// Ends `call` with `outcome`; returns `outcome` if the call has ended already.
pub(crate) fn try_end<T>(
    continuations: &mut Continuations,
    call: &AnyCall<T>,
    outcome: CallResult<T>,
) -> Result<(), CallResult<T>> {
    if call.shared().transition(State::claim).is_err() {
        return Err(outcome);
    }
    // SAFETY: the transition above set the claim.
    unsafe { call.finish(continuations, outcome) };
    Ok(())
}
