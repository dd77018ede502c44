//! A call that waits in the queue of a pool for its worker, and how it is run.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use super::cancel_token::StopFlag;
use super::continuation::Continuations;
use super::current::{RunningCall, within};
use super::pair_arc::PairArc;
use crate::error::Error;
use crate::futures::call::state::{Phase, State};
use crate::futures::call::{Call, CallKind};
use crate::user_code::{catch, contain};

/// What a worker wants to know of the course of a call that it runs.
pub(crate) trait RunObserver {
    /// The function is about to run.
    fn begins(&self) {}
    /// There was nothing to run: the call had been cancelled.
    fn found_cancelled(&self) {}
    /// The function has returned or panicked; this comes before [`leaves_user_code`].
    ///
    /// [`leaves_user_code`]: Self::leaves_user_code
    fn ended(&self, _failed: bool) {}
    /// The function has returned; its result is about to be seen by others.
    fn leaves_user_code(&self);
    /// User code (callbacks, the drop of a value) is about to run after all.
    fn enters_user_code(&self);
    /// How the pool tells its running calls to stop; `None` if none runs it.
    fn stop_flag(&self) -> Option<StopFlag>;
}

/// The stage of a thread that is no worker.
pub(crate) struct NoObserver;

impl RunObserver for NoObserver {
    fn leaves_user_code(&self) {}
    fn enters_user_code(&self) {}
    fn stop_flag(&self) -> Option<StopFlag> {
        None
    }
}

/// What a call is called in errors and in a timeline.
pub(crate) trait CallName: Send + Sync + 'static {
    fn name(&self) -> &'static str;
}

/// The name of the type `N`, typically that of the function; takes no room in the call.
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

/// A function waiting for its worker, and its name.
///
/// The function is alive exactly while the call is PENDING. Whoever makes the transition out of
/// PENDING owns it: the worker that starts the call or the thread that cancels it.
///
/// `P` is what the queue gave the call.
pub(crate) struct QueuedFn<F, N, P = ()> {
    function: UnsafeCell<ManuallyDrop<F>>,
    permit: P,
    name: N,
}

/// What a queue gives a call that it takes.
pub(crate) trait Permit: Send + Sync {
    /// The call was cancelled.
    fn cancelled(&self, _chain: &mut Continuations) {}
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

    fn cancelled(&self, chain: &mut Continuations) {
        self.permit.cancelled(chain);
    }
}

/// Runs the function of `call` and ends it; returns the state it ended in.
///
/// # Safety
///
/// The caller made the transition that starts and claims the call, and calls this once.
pub(super) unsafe fn execute<T, B>(call: &Call<T, B>, stage: &dyn RunObserver) -> State
where
    B: CallKind<T> + ?Sized,
{
    let core = call.core();
    let entered =
        RunningCall { call: std::ptr::from_ref(call).cast::<()>().addr(), name: call.name() };
    let outcome = within(entered, core, stage, || {
        catch(|| {
            // SAFETY: the caller made the transition out of PENDING.
            unsafe { call.body().call() }
        })
    });
    let outcome = outcome.map_err(|panic| Box::new(Error::Panicked(panic)));
    stage.ended(outcome.is_err());
    stage.leaves_user_code();
    // SAFETY: the caller holds the claim.
    unsafe { core.finish(outcome) }
}

/// A task that can stand in the queue.
pub(crate) trait QueuedTask: Send + 'static {
    /// Starts it and runs it on this thread, unless it is over or runs elsewhere; tells `stage`.
    fn run(self, stage: &dyn RunObserver);

    /// Starts it, unless it is over or runs elsewhere. Runs nothing of the user's. Whoever started it
    /// goes on with [`run_started`](Self::run_started).
    fn start(&self) -> bool;

    /// Runs what was started, on this thread; whoever started it has seen to [`RunObserver::begins`].
    fn run_started(self, stage: &dyn RunObserver);

    /// A call that others can reach may leave PENDING at any moment: look once.
    fn phase(&self) -> Phase;

    /// Cancels it if it is pending; returns the phase that it was in.
    fn cancel(self) -> Phase;

    /// Fails it if it is pending; returns the phase that it was in.
    fn fail(self, error: Error) -> Phase;
}

impl<E: QueuedTask> QueuedTask for Box<E> {
    fn run(self, stage: &dyn RunObserver) {
        (*self).run(stage);
    }
    fn start(&self) -> bool {
        (**self).start()
    }
    fn run_started(self, stage: &dyn RunObserver) {
        (*self).run_started(stage);
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

/// A call that others know of.
impl<T, F, N, P> QueuedTask for PairArc<Call<T, QueuedFn<F, N, P>>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
    N: CallName,
    P: Permit + 'static,
{
    #[inline]
    fn run(self, stage: &dyn RunObserver) {
        if let Err(state) = self.core().transition(State::start_and_claim) {
            if state.phase() == Phase::Cancelled {
                stage.found_cancelled(); // its captures are gone already
            }
            contain("dropping a result that nobody took", || drop(self));
            return;
        }
        stage.begins();
        self.run_started(stage);
    }

    fn start(&self) -> bool {
        self.core().transition(State::start_and_claim).is_ok()
    }

    #[inline]
    fn run_started(self, stage: &dyn RunObserver) {
        // SAFETY: this thread made the transition that starts and claims the call.
        let state = unsafe { execute(&*self, stage) };
        if state.is_waited() {
            let call = PairArc::clone(&self).erase();
            Continuations::with(|chain| call.notify_waiters(chain, state, stage));
        }
        // What was moved out already is not dropped here; a lost failure is logged here.
        let something_left = std::mem::needs_drop::<T>() || state.is_failed();
        if !something_left {
            return;
        }
        // Whoever leaves last drops it, and this worker must not do so while it seems to be free.
        let Some(last) = PairArc::leave(self) else { return };
        if !last.core().state().is_taken() {
            stage.enters_user_code();
        }
        contain("dropping a result that nobody took", || drop(last));
    }

    fn phase(&self) -> Phase {
        self.core().state().phase()
    }

    fn cancel(self) -> Phase {
        let call = self.erase();
        let cancelled = Continuations::with(|chain| call.try_cancel(chain));
        let found = cancelled.map_or_else(State::phase, |()| Phase::Pending);
        contain("dropping a result that nobody took", || drop(call));
        found
    }

    fn fail(self, error: Error) -> Phase {
        if let Err(state) = self.core().transition(State::start_and_claim) {
            contain("dropping a result that nobody took", || drop(self));
            return state.phase();
        }
        contain("dropping a call that cannot run", || {
            // SAFETY: this thread made the transition out of PENDING, so it owns the function.
            unsafe { self.body().discard() };
        });
        let call = self.erase();
        // SAFETY: the transition above set the claim.
        Continuations::with(|chain| unsafe { call.finish(chain, Err(Box::new(error))) });
        contain("dropping a result that nobody took", || drop(call));
        Phase::Pending
    }
}
