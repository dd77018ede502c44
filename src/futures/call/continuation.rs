//! Chains of calls: what follows the end of a call without a thread that waits for it.
//!
//! A call that was composed of others has a [`DependentCall`] for a body: it knows the call that it follows
//! now. The other way round, the followed call holds the [`Continuation`] of the chain among its waiters,
//! and that holds the composed call. The first is weak, the second strong: whoever is to complete
//! the first call of a chain keeps all that follow alive, and none keeps alive what it followed.
//!
//! A chain may be long. Its ends are told one after the other by a [`Continuations`], a list of what is
//! still to be done, and those who look for the first call go hop by hop (`dependency.rs`): nothing
//! here recurses. User code gets no hold of the list, so that calls that it ends are told at once.
//!
//! **No circles.** A function may return the very call that is made of its own: nobody has a future
//! of these calls any more, so that nobody could end them. Whoever closes such a circle finds that on
//! the way down from the call it goes on with, and ends its own with [`Error::Deadlock`].

use std::collections::VecDeque;
use std::sync::Arc;

use super::current::{RunningCall, within};
use super::dependency::{DependencyRef, DependsOn, OnChange, depends_on, upstream};
use super::pair_arc::PairArc;
use super::run::NoObserver;
use super::shared_state::CallResult;
use super::waiters::Waiter;
use crate::error::Error;
use crate::futures::call::state::State;
use crate::futures::call::{AnyCall, Call, CallKind, Ending, log_lost};
use crate::sync::Mutex;
use crate::user_code::contain;

/// What is left to do when a call has settled; it knows the call.
pub(crate) type Continuation = Box<dyn FnOnce(&mut Continuations) + Send>;

/// What is left to do in this thread because calls ended.
pub(crate) struct Continuations {
    left: VecDeque<Continuation>,
    /// What runs code of users, if another thread is to do it.
    put_off: Option<Vec<Continuation>>,
}

impl Continuations {
    /// Calls `begin`, then does what it left to do, and what that left.
    pub(crate) fn with<R>(begin: impl FnOnce(&mut Self) -> R) -> R {
        let mut chain = Self { left: VecDeque::new(), put_off: None };
        let begun = begin(&mut chain);
        chain.run();
        begun
    }

    /// Like [`with`](Self::with) for a thread that runs no code of users; gives what does, to be done
    /// by another one, piece by piece: a piece that blocks must not hold up the others.
    #[cfg_attr(concurrent_loom, expect(dead_code, reason = "loom knows no timer"))]
    pub(crate) fn putting_off(begin: impl FnOnce(&mut Self)) -> Vec<Continuation> {
        let mut chain = Self { left: VecDeque::new(), put_off: Some(Vec::new()) };
        begin(&mut chain);
        chain.run();
        chain.put_off.unwrap_or_default()
    }

    fn run(&mut self) {
        while let Some(rest) = self.left.pop_front() {
            contain("the rest of a chain of calls", || rest(self));
        }
    }

    pub(crate) fn push(&mut self, rest: Continuation) {
        self.left.push_back(rest);
    }

    /// Whether this thread runs no code of users.
    pub(crate) fn puts_off(&self) -> bool {
        self.put_off.is_some()
    }

    /// Has `code`, which may run code of users, done at once, or by the thread that may do that.
    pub(crate) fn user_code(&mut self, code: impl FnOnce(&mut Self) + Send + 'static) {
        match &mut self.put_off {
            Some(put_off) => put_off.push(Box::new(code)),
            None => code(self),
        }
    }
}

/// Has `rest` done when `call` has settled; at once if it has.
pub(crate) fn when_settled<T>(chain: &mut Continuations, call: &AnyCall<T>, rest: Continuation) {
    if let Err(Waiter::Then(rest)) = call.core().register(Waiter::Then(rest)) {
        chain.push(rest);
    }
}

/// The body of a call that ends with another one.
pub(crate) struct DependentCall {
    name: &'static str,
    in_time: bool,
    hop: Mutex<Hop>,
}

struct Hop {
    follows: DependencyRef,
    /// Called when the hop changes, if a blocked thread counts on it.
    watch: OnChange,
}

impl DependentCall {
    /// Makes a call that follows `source` and is called like it.
    pub(crate) fn to<S, T>(
        source: &AnyCall<S>,
        in_time: bool,
    ) -> (PairArc<Call<T, Self>>, AnyCall<T>)
    where
        S: Send + 'static,
    {
        let hop = Hop { follows: upstream(source), watch: None };
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
    /// It ends.
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
    let rest = {
        let source = PairArc::clone(&source);
        Box::new(move |chain: &mut Continuations| match source.take_ending() {
            Ending::Cancelled => {
                contain("dropping a function that will not be called", || drop(step));
                let _ = linked.erase().try_cancel(chain); // or it has ended
            }
            Ending::Finished(outcome) => {
                // The function runs as the new call: its waits and its questions are that one's.
                let call = PairArc::address(&linked);
                let entered = RunningCall { call, name: linked.name() };
                match within(entered, linked.core(), &NoObserver, || step(outcome)) {
                    FollowUp::End(outcome) => end(chain, &linked.erase(), outcome),
                    FollowUp::Follow(next) => follow(chain, linked, next),
                }
            }
        })
    };
    // This future was the only one, so the rest of the chain owns the outcome.
    Continuations::with(|chain| when_settled(chain, &source, rest));
    future
}

/// Has `linked` end as `next` ends.
fn follow<T: Send + 'static>(
    chain: &mut Continuations,
    linked: PairArc<Call<T, DependentCall>>,
    next: AnyCall<T>,
) {
    let linked_too = PairArc::clone(&linked).erase();
    let rest = {
        let next = PairArc::clone(&next);
        Box::new(move |chain: &mut Continuations| match next.take_ending() {
            Ending::Cancelled => {
                let _ = linked_too.try_cancel(chain); // or it has ended
            }
            Ending::Finished(outcome) => end(chain, &linked_too, outcome),
        })
    };
    let follows = upstream(&next);
    when_settled(chain, &next, rest);
    // After that: whoever cancels through it finds the rest of the chain in place.
    let mut hop = linked.body().hop.lock();
    let before = std::mem::replace(&mut *hop, Hop { follows: Arc::clone(&follows), watch: None });
    drop(hop);
    if let Some(recheck) = before.watch {
        recheck(); // a worker may wait for just what comes now
    }
    // After that: of several threads that close a circle together the last one finds it.
    if linked.core().is_followed() && depends_on(follows, PairArc::address(&linked)) {
        let name = linked.name();
        let text = format!("what follows `{name}` was made of `{name}` itself: it can never end");
        end(chain, &linked.erase(), Err(Box::new(Error::Deadlock(text.into()))));
    }
}

fn end<T>(chain: &mut Continuations, call: &AnyCall<T>, outcome: CallResult<T>) {
    match try_end(chain, call, outcome) {
        Ok(()) => {}
        Err(Ok(value)) => contain("dropping a result that came too late", || drop(value)),
        // A call that was made of itself: nobody may have seen why it failed.
        Err(Err(error)) => log_lost(call.name(), &error),
    }
}

/// Ends `call` with `outcome`, unless it has ended; then `outcome` is given back.
pub(crate) fn try_end<T>(
    chain: &mut Continuations,
    call: &AnyCall<T>,
    outcome: CallResult<T>,
) -> Result<(), CallResult<T>> {
    if call.core().transition(State::claim).is_err() {
        return Err(outcome);
    }
    // SAFETY: the transition above set the claim.
    unsafe { call.finish(chain, outcome) };
    Ok(())
}
