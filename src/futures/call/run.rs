//! A queued call: [`QueuedTask`] to the queue, [`QueuedFn`] to the call; and how a worker runs it.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use super::cancel_token::StopFlag;
use super::continuation::Continuations;
use super::current::{RunningCall, while_notifying, within};
use super::pair_arc::PairArc;
use crate::error::Error;
use crate::futures::call::state::{Phase, State};
use crate::futures::call::{Call, CallKind};
use crate::user_code::{catch, contain};

/// Callbacks by which a worker observes the call that it runs.
pub(crate) trait RunObserver {
    /// The function is about to run.
    fn begins(&self) {}
    /// The call was cancelled before, so there is nothing to run.
    fn found_cancelled(&self) {}
    /// The function has returned or panicked; this comes before [`leaves_user_code`].
    ///
    /// [`leaves_user_code`]: Self::leaves_user_code
    fn ended(&self, _failed: bool) {}
    /// The function has returned; others are about to see its result.
    fn leaves_user_code(&self);
    /// User code (callbacks, the drop of a value) is about to run once more.
    fn enters_user_code(&self);
    /// The flag by which the pool asks its running calls to stop; `None` outside of a pool.
    fn stop_flag(&self) -> Option<StopFlag>;
}

/// For a thread that is no worker.
pub(crate) struct NoObserver;

impl RunObserver for NoObserver {
    fn leaves_user_code(&self) {}
    fn enters_user_code(&self) {}
    fn stop_flag(&self) -> Option<StopFlag> {
        None
    }
}

/// The name of a call in errors and in a timeline.
pub(crate) trait CallName: Send + Sync + 'static {
    fn name(&self) -> &'static str;
}

/// The name of the type `N`, typically that of the function; has no size.
pub(crate) struct NameOf<N>(PhantomData<fn() -> N>);

impl<N> NameOf<N> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<N: 'static> CallName for NameOf<N> {
    fn name(&self) -> &'static str {
        std::any::type_name::<N>()
    }
}

/// A name that was taken where the type was known.
impl CallName for &'static str {
    fn name(&self) -> &'static str {
        self
    }
}

/// A function that waits for its worker, and its name.
///
/// The function is alive exactly while the call is PENDING. The thread that makes the transition
/// out of PENDING owns it: the worker that starts the call, or the thread that cancels it.
///
/// `P` is the [`Permit`] of the call.
pub(crate) struct QueuedFn<F, N, P = ()> {
    function: UnsafeCell<ManuallyDrop<F>>,
    permit: P,
    name: N,
}

/// The right to stand in a queue, which the call gives back.
pub(crate) trait Permit: Send + Sync {
    /// The call was cancelled.
    fn cancelled(&self, _continuations: &mut Continuations) {}
}

impl Permit for () {}

impl<F, N: CallName, P> QueuedFn<F, N, P> {
    pub(crate) fn new(function: F, name: N, permit: P) -> Self {
        Self { function: UnsafeCell::new(ManuallyDrop::new(function)), permit, name }
    }
}

// SAFETY: the function is touched by one thread only, the one that won the transition out of
// PENDING, and it may be another than the one that made it (F: Send). The name may be read by all
// (N: Sync), and so may the permit (P: Sync).
unsafe impl<F: Send, N: Sync, P: Sync> Sync for QueuedFn<F, N, P> {}

impl<T, F: FnOnce() -> T + Send, N: CallName, P: Permit> CallKind<T> for QueuedFn<F, N, P> {
    fn name(&self) -> &'static str {
        self.name.name()
    }

    unsafe fn discard(&self) {
        // SAFETY: by the caller's promise the function is alive and this is its sole owner.
        let function = unsafe { &mut *self.function.get() };
        // SAFETY: as above; it is not touched again.
        unsafe { ManuallyDrop::drop(function) };
    }

    unsafe fn call(&self) -> T {
        let function = {
            // SAFETY: by the caller's promise the function is alive and this is its sole owner.
            let slot = unsafe { &mut *self.function.get() };
            // SAFETY: as above; it is not touched again.
            unsafe { ManuallyDrop::take(slot) }
        };
        function()
    }

    fn cancelled(&self, continuations: &mut Continuations) {
        self.permit.cancelled(continuations);
    }
}

/// Runs the function of `call` and ends it; returns the state it ended in.
///
/// # Safety
///
/// The caller made the transition that starts and claims the call, and calls this once.
pub(super) unsafe fn execute<T, K>(call: &Call<T, K>, observer: &dyn RunObserver) -> State
where
    K: CallKind<T> + ?Sized,
{
    let shared = call.shared();
    let running_call =
        RunningCall { call: std::ptr::from_ref(call).cast::<()>().addr(), name: call.name() };
    let outcome = within(running_call, shared, observer, || {
        catch(|| {
            // SAFETY: the caller made the transition out of PENDING.
            unsafe { call.kind().call() }
        })
    });
    let outcome = outcome.map_err(|panic| Box::new(Error::Panicked(panic)));
    observer.ended(outcome.is_err());
    observer.leaves_user_code();
    // SAFETY: the caller holds the claim.
    unsafe { shared.finish(outcome) }
}

/// A task that can stand in a pool's queue.
pub(crate) trait QueuedTask: Send + 'static {
    /// Starts and runs the task on this thread, unless it is over or runs elsewhere; calls
    /// `observer`.
    fn run(self, observer: &dyn RunObserver);

    /// Starts the task, unless it is over or runs elsewhere; returns whether it did. Runs no user
    /// code. The caller goes on with [`run_started`](Self::run_started).
    fn start(&self) -> bool;

    /// Runs the started task on this thread. The caller has called [`RunObserver::begins`].
    fn run_started(self, observer: &dyn RunObserver);

    /// The phase at this moment. A call that others can reach may leave PENDING at any time, so
    /// callers ask once.
    fn phase(&self) -> Phase;

    /// Cancels the task if it is pending; returns the phase that it was in.
    fn cancel(self) -> Phase;

    /// Fails the task if it is pending; returns the phase that it was in.
    fn fail(self, error: Error) -> Phase;
}

impl<E: QueuedTask> QueuedTask for Box<E> {
    fn run(self, observer: &dyn RunObserver) {
        (*self).run(observer);
    }
    fn start(&self) -> bool {
        (**self).start()
    }
    fn run_started(self, observer: &dyn RunObserver) {
        (*self).run_started(observer);
    }
    fn phase(&self) -> Phase {
        (**self).phase()
    }
    fn cancel(self) -> Phase {
        (*self).cancel()
    }
    fn fail(self, error: Error) -> Phase {
        (*self).fail(error)
    }
}

/// A call that has a future.
impl<T, F, N, P> QueuedTask for PairArc<Call<T, QueuedFn<F, N, P>>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
    N: CallName,
    P: Permit + 'static,
{
    #[inline]
    fn run(self, observer: &dyn RunObserver) {
        if let Err(state) = self.shared().transition(State::start_and_claim) {
            if state.phase() == Phase::Cancelled {
                observer.found_cancelled(); // its captures are gone already
            }
            contain("dropping a result that nobody took", || drop(self));
            return;
        }
        observer.begins();
        self.run_started(observer);
    }

    fn start(&self) -> bool {
        self.shared().transition(State::start_and_claim).is_ok()
    }

    #[inline]
    fn run_started(self, observer: &dyn RunObserver) {
        // SAFETY: this thread made the transition that starts and claims the call.
        let state = unsafe { execute(&*self, observer) };
        if state.is_waited() {
            let call = PairArc::clone(&self).erase();
            Continuations::with(|continuations| {
                call.notify_waiters(continuations, state, observer)
            });
        }
        // A value that was moved out is not dropped here; a lost failure is logged here.
        let something_left = std::mem::needs_drop::<T>() || state.is_failed();
        if !something_left {
            return;
        }
        // The last owner drops the value, and this worker must not do so while it counts as free.
        let Some(last) = PairArc::leave(self) else { return };
        if !last.shared().state().is_taken() {
            observer.enters_user_code();
        }
        contain("dropping a result that nobody took", || drop(last));
    }

    fn phase(&self) -> Phase {
        self.shared().state().phase()
    }

    fn cancel(self) -> Phase {
        let call = self.erase();
        let cancelled = Continuations::with(|continuations| call.try_cancel(continuations));
        let found = cancelled.map_or_else(State::phase, |()| Phase::Pending);
        contain("dropping a result that nobody took", || drop(call));
        found
    }

    fn fail(self, error: Error) -> Phase {
        if let Err(state) = self.shared().transition(State::start_and_claim) {
            contain("dropping a result that nobody took", || drop(self));
            return state.phase();
        }
        while_notifying(PairArc::address(&self), || {
            contain("dropping a call that cannot run", || {
                // SAFETY: this thread made the transition out of PENDING, so it owns the function.
                unsafe { self.kind().discard() };
            });
        });
        let call = self.erase();
        // SAFETY: the transition above set the claim.
        Continuations::with(|continuations| unsafe {
            call.finish(continuations, Err(Box::new(error)))
        });
        contain("dropping a result that nobody took", || drop(call));
        Phase::Pending
    }
}
