//! A call: its [`SharedState`] and what is particular to its origin, in one block of memory.
//!
//! The future, the queue of a pool and the worker all own the same [`Call`]. The queue sees it as an
//! [`QueuedTask`](run::QueuedTask), the future as [`AnyCall`], where only the type of the value is
//! known.

pub(crate) mod assist;
pub(crate) mod cancel_token;
pub(crate) mod continuation;
pub(crate) mod current;
pub(crate) mod dependency;
pub(crate) mod expiry;
pub(crate) mod in_place;
pub(crate) mod pair_arc;
pub(crate) mod run;
pub(crate) mod shared_state;
pub(crate) mod state;
pub(crate) mod trace_hooks;
pub(crate) mod wait_assist;
pub(crate) mod waiters;

use std::fmt;
use std::sync::atomic as counting; // for `pair_arc`, to which a model gives loom's
use std::time::Instant;

use self::continuation::Continuations;
use self::current::{PoolId, while_notifying};
use self::dependency::{DependencyRef, DependsOn, OnChange};
use self::pair_arc::{Block, PairArc};
use self::run::{NoObserver, RunObserver};
use self::shared_state::{CallResult, SharedState};
use self::trace_hooks::{CallOrigin, Traced};
use self::waiters::Waiter;
use crate::LOG_TARGET;
use crate::error::Error;
use crate::futures::call::state::{Phase, State};
use crate::user_code::contain;

pub(crate) struct Call<T, B: CallKind<T> + ?Sized> {
    core: SharedState<T>,
    body: B,
}

pub(crate) type AnyCall<T> = PairArc<Call<T, dyn CallKind<T>>>;

/// Where a call comes from: a queued function, a promise, another call.
pub(crate) trait CallKind<T>: Send + Sync {
    /// What the call is called in logs and errors.
    fn name(&self) -> &'static str;

    /// Drops the function and what it captured.
    ///
    /// # Safety
    ///
    /// At most once, by whoever cancelled the call, or when the last owner of a call that was
    /// never started drops it.
    unsafe fn discard(&self) {}

    /// Calls the function. Only what was queued in a pool has one.
    ///
    /// # Safety
    ///
    /// At most once, by whoever made the transition out of PENDING.
    unsafe fn call(&self) -> T {
        unreachable!("only calls that were queued are run")
    }

    /// Calls `cancel`, which makes the transition, unless another process may have begun the call.
    fn cancelling(&self, cancel: &mut dyn FnMut()) {
        cancel();
    }

    /// Whether the call runs in this process: then it can learn that it should stop.
    fn runs_here(&self) -> bool {
        true
    }

    /// Whether another process has said that it began the call. That may be undone: a call whose
    /// process ends may come back to its queue.
    fn has_begun_elsewhere(&self) -> bool {
        false
    }

    /// Ends the call by ending the process that runs it; false if there is no such process.
    fn kill(&self) -> bool {
        false
    }

    /// Spends a moment, until `deadline` at most, to bring about the end of a call that runs
    /// elsewhere, in a thread that is about to block until it is `done`. Tells nobody else of it.
    fn attend(&self, _done: &dyn Fn() -> bool, _deadline: Option<Instant>) {}

    /// The calls on which the end of this one depends; see [`Dependency`](self::dependency::Dependency).
    fn follows(&self, _watch: OnChange) -> DependsOn {
        DependsOn::Nothing
    }

    /// As there.
    fn members(&self) -> Vec<DependencyRef> {
        Vec::new()
    }

    /// As there.
    fn member_before(&self, _end: usize) -> Option<(usize, DependencyRef)> {
        None
    }

    /// The call was cancelled: goes on to its members.
    fn cancelled(&self, _chain: &mut Continuations) {}
}

/// How a call ended, handed to a chain that takes it over.
pub(crate) enum Ending<T> {
    Cancelled,
    Finished(CallResult<T>),
}

impl<T, B: CallKind<T>> Call<T, B> {
    /// A call that is in the queue of no pool of threads, and that of its future.
    pub(crate) fn pair(body: B) -> (PairArc<Self>, AnyCall<T>)
    where
        B: 'static,
    {
        Self::queued(0, body)
    }

    /// A call for the queue of a pool, and that of its future.
    pub(crate) fn queued(pool: PoolId, body: B) -> (PairArc<Self>, AnyCall<T>)
    where
        B: 'static,
    {
        let kind = match pool {
            0 if body.runs_here() => CallOrigin::Elsewhere,
            0 => CallOrigin::Process,
            pool => CallOrigin::Thread(pool),
        };
        let traced = Traced::submitted(body.name(), kind);
        let (call, own) = PairArc::pair(Self { core: SharedState::new(pool, traced), body });
        (call, own.erase())
    }
}

impl<T, B: CallKind<T> + 'static> PairArc<Call<T, B>> {
    pub(crate) fn erase(self) -> AnyCall<T> {
        let block = PairArc::into_raw(self) as *mut Block<Call<T, dyn CallKind<T>>>;
        // SAFETY: it was made from an owner just now.
        unsafe { PairArc::from_raw(block) }
    }
}

impl<T, B: CallKind<T> + ?Sized> Call<T, B> {
    pub(crate) fn core(&self) -> &SharedState<T> {
        &self.core
    }

    pub(crate) fn body(&self) -> &B {
        &self.body
    }

    pub(crate) fn name(&self) -> &'static str {
        self.body.name()
    }
}

impl<T, B: CallKind<T> + ?Sized> Drop for Call<T, B> {
    fn drop(&mut self) {
        let state = self.core.last_state();
        if state.phase() == Phase::Pending {
            contain("dropping a call that never ran", || {
                // SAFETY: never started, not cancelled, and this is the last owner.
                unsafe { self.body.discard() };
            });
        }
        if state.is_lost_failure() {
            // SAFETY: finished, not taken, and `&mut self` is exclusive.
            let outcome = unsafe { self.core.outcome() };
            if let Err(error) = outcome {
                log_lost(self.body.name(), error);
            }
        }
    }
}

/// Logs a failure that nobody will look at.
pub(crate) fn log_lost(name: &str, error: &Error) {
    contain("logging a lost failure", || {
        log::error!(target: LOG_TARGET, "{name} failed and nobody looked: {error}");
    });
}

impl<T> AnyCall<T> {
    /// Cancels the call itself, whatever it follows, and notifies everybody who waits for it; or gives
    /// the state that does not allow it.
    pub(crate) fn try_cancel(&self, chain: &mut Continuations) -> Result<(), State> {
        let state = self.begin_cancel()?;
        // SAFETY: this thread made the one transition to CANCELLED.
        unsafe { self.discard_cancelled() };
        self.body.cancelled(chain);
        if state.is_waited() {
            self.notify_waiters(chain, state, &NoObserver);
        }
        Ok(())
    }

    /// Makes the transition to CANCELLED, or gives the state that does not allow it. What was captured
    /// is there still, and nobody has been notified.
    fn begin_cancel(&self) -> Result<State, State> {
        let state = self.core.state();
        if state.phase() != Phase::Pending {
            return Err(state); // so that nothing is taken back from another process
        }
        let mut attempt = None;
        self.body.cancelling(&mut || attempt = Some(self.core.transition(State::cancel)));
        attempt.unwrap_or_else(|| Err(self.core.state()))
    }

    /// Drops what the cancelled call captured.
    ///
    /// # Safety
    ///
    /// By whoever was given the state by [`begin_cancel`](Self::begin_cancel), once.
    unsafe fn discard_cancelled(&self) {
        contain("dropping a cancelled call", || {
            // SAFETY: the caller's promise.
            unsafe { self.body.discard() };
        });
    }

    /// Ends the call, whose claim the caller holds.
    ///
    /// # Safety
    ///
    /// The caller made the transition that set the claim, and calls this once.
    pub(crate) unsafe fn finish(&self, chain: &mut Continuations, outcome: CallResult<T>) {
        // SAFETY: the caller's promise.
        let state = unsafe { self.core.finish(outcome) };
        if state.is_waited() {
            self.notify_waiters(chain, state, &NoObserver);
        }
    }

    /// Notifies everybody who waits for the call, which has just ended in `state`.
    ///
    /// Blocked threads first, then callbacks in the order they were added, then those who move the
    /// outcome out. No lock is held while user code runs.
    pub(crate) fn notify_waiters(
        &self,
        chain: &mut Continuations,
        state: State,
        observer: &dyn RunObserver,
    ) {
        let mut callbacks = Vec::new();
        let mut later = Vec::new();
        let waiters = self.core.with_waiters(|waiters| waiters.take());
        for waiter in waiters.in_order() {
            match waiter {
                Waiter::Done(signal, index) => signal.notify(index, state.is_failed()),
                Waiter::Callback(callback) => callbacks.push(callback),
                Waiter::Token(_) => {}
                Waiter::Settled(_) | Waiter::Task(_) | Waiter::Then(_) => later.push(waiter),
            }
        }
        if !callbacks.is_empty() {
            observer.enters_user_code();
            while_notifying(PairArc::address(self), || {
                for callback in callbacks {
                    callback(self); // it contains the user's
                }
            });
        }
        let settled = self.core.settle();
        for waiter in later.into_iter().chain(settled.in_order()) {
            match waiter {
                Waiter::Settled(signal) => signal.notify(0, false),
                Waiter::Task(waker) => {
                    observer.enters_user_code();
                    contain("waking the task that awaits a call", || waker.wake());
                }
                Waiter::Then(rest) => {
                    observer.enters_user_code();
                    chain.push(rest);
                }
                Waiter::Done(..) | Waiter::Callback(_) | Waiter::Token(_) => {
                    unreachable!("refused by a done call")
                }
            }
        }
    }

    /// Moves the end of the settled call out, for the owner of its only future.
    pub(crate) fn take_ending(&self) -> Ending<T> {
        let state = self.core.state();
        debug_assert!(state.is_settled());
        if state.is_finished() {
            // SAFETY: settled and finished; callers consumed the only future.
            Ending::Finished(unsafe { self.core.take_outcome() })
        } else {
            Ending::Cancelled
        }
    }
}

impl<T, B: CallKind<T> + ?Sized> fmt::Debug for Call<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Future at {:p} state={}>", std::ptr::from_ref(self).cast::<()>(), self.phase())
    }
}
