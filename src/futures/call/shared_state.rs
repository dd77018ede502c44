//! The shared state of a call: phase, outcome and waiters, and which thread may access each of them
//! when.
//!
//! - `state` is atomic. Every transition is one of `state.rs`, made by compare-and-swap.
//! - `outcome` is written once, by the owner of the claim, before FINISHED is published. From then
//!   on it is shared and read-only, until the owner of the only `Future` moves it out of a settled
//!   call (`TAKEN`) or the last owner drops it.
//! - `waiters` is accessed under `lock` only. A call without waiters never takes the lock: a thread
//!   that registers a waiter first sets `WAITED` under the lock, and sees by the same operation
//!   whether the call has ended; the thread that ends the call sees `WAITED` in the transition that
//!   ends it.

use std::mem::MaybeUninit;

use super::cancel_token::{CancelToken, StopFlag};
use super::current::{PoolId, Running};
use super::trace_hooks::{CallEnd, Traced};
use super::waiters::{Waiter, Waiters};
use crate::error::Error;
use crate::futures::call::state::{Phase, State};
use crate::sync::{AtomicBool, AtomicU8, Mutex, Ordering, UnsafeCell, exclusive_load};

/// The outcome of a finished call: its value, or the error. The box keeps the usual case small.
pub(crate) type CallResult<T> = Result<T, Box<Error>>;

pub(crate) struct SharedState<T> {
    state: AtomicU8,
    lock: Mutex<()>,
    /// The running call was asked to stop.
    cancel_requested: AtomicBool,
    /// The pool in whose queue the call was put; 0 if it is in none.
    pool: PoolId,
    traced: Traced,
    waiters: UnsafeCell<Waiters<T>>,
    outcome: UnsafeCell<MaybeUninit<CallResult<T>>>,
}

// SAFETY: the value moves between threads (T: Send); the waiters are Send themselves.
unsafe impl<T: Send> Send for SharedState<T> {}

// SAFETY: `waiters` is guarded by `lock`. `outcome` is written by one thread, which alone holds the
// claim, and published with Release; all reads follow an Acquire load that saw FINISHED. Handing
// out `&T` to several threads at once needs T: Sync, and that is asked for where it can happen:
// `Future<T>: Sync` and `Future::add_done_callback`.
unsafe impl<T: Send> Sync for SharedState<T> {}

impl<T> SharedState<T> {
    pub(crate) fn new(pool: PoolId, traced: Traced) -> Self {
        Self {
            state: AtomicU8::new(State::NEW.0),
            lock: Mutex::new(()),
            cancel_requested: AtomicBool::new(false),
            pool,
            traced,
            waiters: UnsafeCell::new(Waiters::EMPTY),
            outcome: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The present state. Everything that the thread which made it wrote before is visible.
    pub(crate) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire)) // ORDERING: pairs with `transition`
    }

    /// The state as the last owner finds it.
    pub(crate) fn last_state(&mut self) -> State {
        State(exclusive_load(&mut self.state))
    }

    pub(crate) fn pool(&self) -> PoolId {
        self.pool
    }

    /// Asks the running call to stop.
    pub(crate) fn request_cancel(&self) {
        self.with_waiters(|waiters| {
            // ORDERING: Release; what the asking thread wrote before is visible to the call. Under
            // the lock, so that a token is either made before this, or made with the request.
            self.cancel_requested.store(true, Ordering::Release);
            waiters.request_cancel();
        });
    }

    /// Makes a transition, or gives the state that does not allow it.
    pub(crate) fn transition(&self, step: impl Fn(State) -> Option<State>) -> Result<State, State> {
        // ORDERING: Release publishes the outcome (finish) or the drop of the captures; Acquire on
        // both ends because the loser of a race goes on to read what the winner wrote.
        let mut current = self.state.load(Ordering::Acquire);
        loop {
            let next = step(State(current)).ok_or(State(current))?;
            match self.state.compare_exchange_weak(
                current,
                next.0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    self.trace(State(current), next);
                    return Ok(next);
                }
                Err(changed) => current = changed,
            }
        }
    }

    /// Records a transition in the timeline; `finish` records the end of a call, before others can
    /// see it.
    fn trace(&self, from: State, to: State) {
        match (from.phase(), to.phase()) {
            (Phase::Pending, Phase::Running) => self.traced.started(),
            (_, Phase::Cancelled) => self.traced.ended(CallEnd::Cancelled),
            _ => {}
        }
    }

    /// Writes the outcome and ends the call; the caller must then notify the waiters if the
    /// returned state says that there are any.
    ///
    /// # Safety
    ///
    /// The caller made the transition that set the claim, and calls this once.
    pub(crate) unsafe fn finish(&self, outcome: CallResult<T>) -> State {
        let failed = outcome.is_err();
        self.outcome.with_mut(|slot| {
            // SAFETY: the claim gives this thread the sole access until FINISHED is published.
            unsafe { slot.cast::<CallResult<T>>().write(outcome) };
        });
        self.traced.ended(if failed { CallEnd::Failed } else { CallEnd::Returned });
        self.transition(|state| Some(state.finish(failed))).unwrap_or_else(|state| state)
    }

    /// The outcome.
    ///
    /// # Safety
    ///
    /// The caller saw the state FINISHED, and holds something that keeps the outcome from being
    /// taken while the reference lives: a borrow of a `Future`, or an unsettled call.
    pub(crate) unsafe fn outcome(&self) -> &CallResult<T> {
        debug_assert!(self.state().is_finished() && !self.state().is_taken());
        self.outcome.with(|slot| {
            // SAFETY: FINISHED was published after the outcome was written, and it is not written
            // again; the caller keeps it from being taken.
            unsafe { &*slot.cast::<CallResult<T>>() }
        })
    }

    /// Moves the outcome out.
    ///
    /// # Safety
    ///
    /// The caller saw the call finished and settled, and owns the only `Future` of it, so that
    /// no thread borrows the outcome and no other one takes it.
    pub(crate) unsafe fn take_outcome(&self) -> CallResult<T> {
        // ORDERING: Relaxed; the drop that goes by it follows by the reference count. A store will
        // do, because only holders of the future and the thread that ends a call change its state.
        let state = self.state.load(Ordering::Relaxed);
        self.state.store(state | State::TAKEN, Ordering::Relaxed);
        self.outcome.with(|slot| {
            // SAFETY: initialised (finished) and never read again (TAKEN); the caller is alone.
            unsafe { slot.cast::<CallResult<T>>().read() }
        })
    }

    /// Notes that a caller has received the error, so that it is not logged as lost.
    pub(crate) fn mark_seen(&self) {
        // ORDERING: Relaxed; it decides about a log line only, and the drop that reads it follows
        // this by the reference count.
        self.state.fetch_or(State::SEEN, Ordering::Relaxed);
    }

    /// Puts `waiter` on the list, or returns it if what it waits for has already happened.
    pub(crate) fn register(&self, waiter: Waiter<T>) -> Result<(), Waiter<T>> {
        let for_settled = waiter.is_for_settled();
        if let Some(signal) = waiter.signal() {
            signal.blocks().on(&self.traced);
        }
        self.with_waiters(|waiters| {
            // ORDERING: AcqRel; either the thread that ends the call sees WAITED and then looks
            // under the lock, or this sees that the call has ended, with its outcome.
            let state = State(self.state.fetch_or(State::WAITED, Ordering::AcqRel));
            let over = if for_settled { state.is_settled() } else { state.is_done() };
            if over {
                return Err(waiter);
            }
            waiters.push(waiter);
            Ok(())
        })
    }

    /// Whether another call takes the outcome over.
    pub(crate) fn is_followed(&self) -> bool {
        self.with_waiters(|waiters| waiters.has_continuation())
    }

    /// Runs `access` on the list of waiters, under the lock.
    pub(crate) fn with_waiters<R>(&self, access: impl FnOnce(&mut Waiters<T>) -> R) -> R {
        let _guard = self.lock.lock();
        self.waiters.with_mut(|waiters| {
            // SAFETY: the lock is held, and every access goes through here or `drop`.
            access(unsafe { &mut *waiters })
        })
    }

    /// Removes from the waiters of an ended call those that only wake threads. If no callback is
    /// among the others, the call is settled by this: no callback will borrow the outcome.
    pub(crate) fn take_threads(&self) -> Waiters<T> {
        self.with_waiters(|waiters| {
            let (threads, settled) = waiters.take_threads();
            if settled {
                // ORDERING: Release, as in `settle`.
                self.state.fetch_and(State::SETTLED_MASK, Ordering::Release);
            }
            threads
        })
    }

    /// Settles the call: callbacks may not borrow the outcome any more. Returns the waiters for
    /// that.
    pub(crate) fn settle(&self) -> Waiters<T> {
        self.with_waiters(|waiters| {
            // ORDERING: Release; what callbacks read stays before whatever the taker does.
            self.state.fetch_and(State::SETTLED_MASK, Ordering::Release);
            waiters.take()
        })
    }
}

impl<T> Running for SharedState<T> {
    fn is_cancel_requested(&self) -> bool {
        self.cancel_requested.load(Ordering::Acquire) // ORDERING: pairs with `request_cancel`
    }

    fn is_awaited(&self) -> bool {
        self.state().is_waited()
    }

    fn token(&self, pool: Option<StopFlag>) -> CancelToken {
        self.with_waiters(|waiters| {
            if let Some(token) = waiters.token() {
                return token.clone(); // a call that asks often makes no more than one
            }
            let token = CancelToken::new(self.is_cancel_requested(), pool);
            self.state.fetch_or(State::WAITED, Ordering::AcqRel); // ORDERING: as in `register`
            waiters.push(Waiter::Token(token.clone()));
            token
        })
    }
}

impl<T> Drop for SharedState<T> {
    fn drop(&mut self) {
        let state = self.last_state();
        if state.phase() == Phase::Pending {
            self.traced.ended(CallEnd::GivenUp);
        }
        if state.is_finished() && !state.is_taken() {
            // SAFETY: initialised (finished), not moved out, and `&mut self` is exclusive.
            unsafe { self.outcome.get_mut().assume_init_drop() };
        }
    }
}
