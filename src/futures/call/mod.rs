//! A call: its [`SharedState`] and what is particular to its origin, in one block of memory.
//!
//! The future, the queue of a pool and the worker all own the same [`Call`]. The queue sees it as a
//! [`QueuedTask`](run::QueuedTask), the future as [`AnyCall`], which knows only the type of the
//! value.

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
pub(crate) mod stack;
pub(crate) mod state;
pub(crate) mod trace_hooks;
pub(crate) mod wait_assist;
pub(crate) mod waiters;

use std::fmt;
use std::sync::atomic as counting; // used by `pair_arc`; its model substitutes loom's
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

pub(crate) struct Call<T, K: CallKind<T> + ?Sized> {
    shared: SharedState<T>,
    kind: K,
}

pub(crate) type AnyCall<T> = PairArc<Call<T, dyn CallKind<T>>>;

/// Where a call comes from: a queued function, a promise, another call.
pub(crate) trait CallKind<T>: Send + Sync {
    /// The name of the call in logs and errors.
    fn name(&self) -> &'static str;

    /// Drops the function and what it captured.
    ///
    /// # Safety
    ///
    /// At most once, by the thread that cancelled the call, or when the last owner of a call that
    /// was never started drops it.
    unsafe fn discard(&self) {}

    /// Calls the function. Only calls that were queued in a pool have one.
    ///
    /// # Safety
    ///
    /// At most once, by the thread that made the transition out of PENDING.
    unsafe fn call(&self) -> T {
        unreachable!("only calls that were queued are run")
    }

    /// Calls `cancel`, which makes the transition to CANCELLED, unless another process may have
    /// begun the call.
    fn cancelling(&self, cancel: &mut dyn FnMut()) {
        cancel();
    }

    /// Whether the call runs in this process, so that it can see a request to stop.
    fn runs_here(&self) -> bool {
        true
    }

    /// Whether another process has reported that it began the call. This may become false again: if
    /// the process ends, the call may go back to its queue.
    fn has_begun_elsewhere(&self) -> bool {
        false
    }

    /// Kills the process that runs the call; false if there is none.
    fn kill(&self) -> bool {
        false
    }

    /// Called by a thread that is about to block on this call: may receive the result itself, until
    /// `done` or `deadline`. Does not notify other waiters.
    fn assist(&self, _done: &dyn Fn() -> bool, _deadline: Option<Instant>) {}

    /// The calls on which this call's end depends; see
    /// [`Dependency`](self::dependency::Dependency).
    fn follows(&self, _watch: OnChange) -> DependsOn {
        DependsOn::Nothing
    }

    /// The members of a group; see [`Dependency::members`](self::dependency::Dependency::members).
    fn members(&self) -> Vec<DependencyRef> {
        Vec::new()
    }

    /// See [`Dependency::member_before`](self::dependency::Dependency::member_before).
    fn member_before(&self, _end: usize) -> Option<(usize, DependencyRef)> {
        None
    }

    /// Called when the call has been cancelled: a group cancels its members.
    fn cancelled(&self, _continuations: &mut Continuations) {}
}

/// How a call ended, for a continuation that takes the outcome over.
pub(crate) enum Ending<T> {
    Cancelled,
    Finished(CallResult<T>),
}

impl<T, K: CallKind<T>> Call<T, K> {
    /// Makes a call that is in no thread pool's queue; returns an owner of it, and the one for its
    /// future.
    pub(crate) fn pair(kind: K) -> (PairArc<Self>, AnyCall<T>)
    where
        K: 'static,
    {
        Self::queued(0, kind)
    }

    /// Makes a call for the queue of a thread pool; returns the queue's owner and the future's.
    pub(crate) fn queued(pool: PoolId, kind: K) -> (PairArc<Self>, AnyCall<T>)
    where
        K: 'static,
    {
        let origin = match pool {
            0 if kind.runs_here() => CallOrigin::Elsewhere,
            0 => CallOrigin::Process,
            pool => CallOrigin::Thread(pool),
        };
        let traced = Traced::submitted(kind.name(), origin);
        let (call, own) = PairArc::pair(Self { shared: SharedState::new(pool, traced), kind });
        (call, own.erase())
    }
}

impl<T, K: CallKind<T> + 'static> PairArc<Call<T, K>> {
    pub(crate) fn erase(self) -> AnyCall<T> {
        let block = PairArc::into_raw(self) as *mut Block<Call<T, dyn CallKind<T>>>;
        // SAFETY: it was made from an owner just now.
        unsafe { PairArc::from_raw(block) }
    }
}

impl<T, K: CallKind<T> + ?Sized> Call<T, K> {
    pub(crate) fn shared(&self) -> &SharedState<T> {
        &self.shared
    }

    pub(crate) fn kind(&self) -> &K {
        &self.kind
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl<T, K: CallKind<T> + ?Sized> Drop for Call<T, K> {
    fn drop(&mut self) {
        let state = self.shared.last_state();
        if state.phase() == Phase::Pending {
            contain("dropping a call that never ran", || {
                // SAFETY: never started, not cancelled, and this is the last owner.
                unsafe { self.kind.discard() };
            });
        }
        if state.is_lost_failure() {
            // SAFETY: finished, not taken, and `&mut self` is exclusive.
            let outcome = unsafe { self.shared.outcome() };
            if let Err(error) = outcome {
                log_lost(self.kind.name(), error);
            }
        }
    }
}

/// Logs a failure that no caller can receive.
pub(crate) fn log_lost(name: &str, error: &Error) {
    contain("logging a lost failure", || {
        log::error!(target: LOG_TARGET, "{name} failed and nobody looked: {error}");
    });
}

impl<T> AnyCall<T> {
    /// Cancels the call itself, whatever it follows, and notifies everybody who waits for it; or
    /// gives the state that does not allow it.
    pub(crate) fn try_cancel(&self, continuations: &mut Continuations) -> Result<(), State> {
        let state = self.begin_cancel()?;
        // First, because what is dropped may wait for these threads.
        self.wake_threads(state);
        while_notifying(PairArc::address(self), || {
            // SAFETY: this thread made the one transition to CANCELLED.
            unsafe { self.discard_cancelled() };
        });
        self.kind.cancelled(continuations);
        if state.is_waited() {
            self.notify_waiters(continuations, state, &NoObserver);
        }
        Ok(())
    }

    /// Makes the transition to CANCELLED, or gives the state that does not allow it. What was
    /// captured is there still, and no waiter has been notified.
    fn begin_cancel(&self) -> Result<State, State> {
        let state = self.shared.state();
        if state.phase() != Phase::Pending {
            return Err(state); // so that nothing is taken back from another process
        }
        let mut attempt = None;
        self.kind.cancelling(&mut || attempt = Some(self.shared.transition(State::cancel)));
        attempt.unwrap_or_else(|| Err(self.shared.state()))
    }

    /// Drops what the cancelled call captured.
    ///
    /// # Safety
    ///
    /// By the thread to which [`begin_cancel`](Self::begin_cancel) returned `Ok`, once.
    unsafe fn discard_cancelled(&self) {
        contain("dropping a cancelled call", || {
            // SAFETY: the caller's promise.
            unsafe { self.kind.discard() };
        });
    }

    /// Ends the call, whose claim the caller holds.
    ///
    /// # Safety
    ///
    /// The caller made the transition that set the claim, and calls this once.
    pub(crate) unsafe fn finish(&self, continuations: &mut Continuations, outcome: CallResult<T>) {
        // SAFETY: the caller's promise.
        let state = unsafe { self.shared.finish(outcome) };
        if state.is_waited() {
            self.notify_waiters(continuations, state, &NoObserver);
        }
    }

    /// Wakes the threads that wait for the call, which has just ended in `state`: those that can go on
    /// before its callbacks have run.
    pub(crate) fn wake_threads(&self, state: State) {
        if !state.is_waited() {
            return;
        }
        for waiter in self.shared.take_threads().in_order() {
            match waiter {
                Waiter::Done(signal, index) => signal.notify(index, state.is_failed()),
                Waiter::Settled(signal) => signal.notify(0, false),
                Waiter::Token(_) => {}
                Waiter::Callback(_) | Waiter::Task(_) | Waiter::Then(_) => {
                    unreachable!("it runs user code")
                }
            }
        }
    }

    /// Notifies everybody who waits for the call, which has just ended in `state`.
    ///
    /// Blocked threads first, then callbacks in the order they were added, then those who move the
    /// outcome out. No lock is held while user code runs.
    pub(crate) fn notify_waiters(
        &self,
        continuations: &mut Continuations,
        state: State,
        observer: &dyn RunObserver,
    ) {
        let mut callbacks = Vec::new();
        let mut later = Vec::new();
        let waiters = self.shared.with_waiters(|waiters| waiters.take());
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
        let settled = self.shared.settle();
        for waiter in later.into_iter().chain(settled.in_order()) {
            match waiter {
                Waiter::Settled(signal) => signal.notify(0, false),
                Waiter::Task(waker) => {
                    observer.enters_user_code();
                    contain("waking the task that awaits a call", || waker.wake());
                }
                Waiter::Then(continuation) => {
                    observer.enters_user_code();
                    continuations.push(continuation);
                }
                Waiter::Done(..) | Waiter::Callback(_) | Waiter::Token(_) => {
                    unreachable!("refused by a done call")
                }
            }
        }
    }

    /// Moves the end of the settled call out, for the owner of its only future.
    pub(crate) fn take_ending(&self) -> Ending<T> {
        let state = self.shared.state();
        debug_assert!(state.is_settled());
        if state.is_finished() {
            // SAFETY: settled and finished; callers consumed the only future.
            Ending::Finished(unsafe { self.shared.take_outcome() })
        } else {
            Ending::Cancelled
        }
    }
}

impl<T, K: CallKind<T> + ?Sized> fmt::Debug for Call<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Future at {:p} state={}>", std::ptr::from_ref(self).cast::<()>(), self.phase())
    }
}
