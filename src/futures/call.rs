//! A call: its [`Core`] and what is particular to its origin, in one block of memory.
//!
//! The future, the queue of a pool and the worker all hold an `Arc` of the same [`Call`]. The queue
//! sees it as [`Run`], the future as [`AnyCall`], where only the type of the value is known.

use std::cell::{RefCell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::Future;
use super::core::{Core, Outcome};
use super::state::{Phase, State};
use super::waiter::Waiter;
use crate::LOG_TARGET;
use crate::error::Error;
use crate::guard::{catch, contain};
use crate::sync::thread_local_static;

pub(crate) struct Call<T, B: Body + ?Sized> {
    core: Core<T>,
    body: B,
}

pub(crate) type AnyCall<T> = Arc<Call<T, dyn Body>>;

/// Where a call comes from: a queued function, a promise, another call.
pub(crate) trait Body: Send + Sync {
    /// What the call is called in logs and errors.
    fn name(&self) -> &'static str;

    /// Drops the function and what it captured.
    ///
    /// # Safety
    ///
    /// At most once, by whoever cancelled the call, or when the last owner of a call that was
    /// never started drops it.
    unsafe fn discard(&self) {}

    /// Calls `cancel`, which makes the transition, unless another process may have begun the call.
    fn cancelling(&self, cancel: &mut dyn FnMut()) {
        cancel();
    }

    /// Ends the call by ending the process that runs it; `None` if there is no such process.
    fn kill(&self) -> Option<bool> {
        None
    }

    /// The call that this one follows, and whose state is its own until it ends.
    fn upstream(&self) -> Option<&dyn Upstream> {
        None
    }
}

pub(crate) trait Upstream {
    fn cancel(&self) -> bool;
    fn kill(&self) -> bool;
    fn phase(&self) -> Phase;
}

impl<T> Upstream for AnyCall<T> {
    fn cancel(&self) -> bool {
        cancel(self)
    }

    fn kill(&self) -> bool {
        kill(self)
    }

    fn phase(&self) -> Phase {
        Call::phase(self)
    }
}

/// How a call ended, handed to a chain that takes it over.
pub(crate) enum Ending<T> {
    Cancelled,
    Finished(Outcome<T>),
}

/// A call as the queue of a pool sees it.
pub(crate) trait Run: Send + Sync {
    /// Runs the function on this thread and ends the call. Does nothing if it was cancelled.
    fn run(self: Arc<Self>, stage: &dyn Stage);

    /// Cancels the call if it was not started.
    fn cancel(self: Arc<Self>) -> bool;

    /// Fails the call if it was not started.
    fn fail(self: Arc<Self>, error: Error);
}

/// What a worker wants to know of the course of a call that it runs.
pub(crate) trait Stage {
    /// The function has returned; its result is about to be seen by others.
    fn leaves_user_code(&self);
    /// User code (callbacks, the drop of a value) is about to run after all.
    fn enters_user_code(&self);
}

impl<T, B: Body> Call<T, B> {
    pub(crate) fn new(body: B) -> Arc<Self> {
        Arc::new(Self { core: Core::new(), body })
    }
}

impl<T, B: Body + ?Sized> Call<T, B> {
    pub(crate) fn core(&self) -> &Core<T> {
        &self.core
    }

    #[cfg(all(target_os = "linux", not(concurrent_loom)))]
    pub(crate) fn body(&self) -> &B {
        &self.body
    }

    pub(crate) fn name(&self) -> &'static str {
        self.body.name()
    }

    pub(crate) fn phase(&self) -> Phase {
        let own = self.core.state().phase();
        match (own, self.body.upstream()) {
            // Between the upstream's end and this one's, the call still counts as running.
            (Phase::Pending, Some(upstream)) if upstream.phase() != Phase::Pending => {
                Phase::Running
            }
            _ => own,
        }
    }
}

impl<T, B: Body + ?Sized> Drop for Call<T, B> {
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
            contain("logging a lost failure", || {
                if let Err(error) = outcome {
                    let name = self.body.name();
                    log::error!(target: LOG_TARGET, "{name} failed and nobody looked: {error}");
                }
            });
        }
    }
}

thread_local_static! {
    /// The calls whose callbacks this thread is running, innermost last.
    NOTIFYING: RefCell<Vec<usize>> = RefCell::new(Vec::new())
}

fn address<T>(call: &AnyCall<T>) -> usize {
    Arc::as_ptr(call).cast::<()>().addr()
}

/// Whether this thread is inside a callback of `call`, so that waiting for it to settle is vain.
pub(crate) fn is_notifying<T>(call: &AnyCall<T>) -> bool {
    NOTIFYING.try_with(|calls| calls.borrow().contains(&address(call))).unwrap_or(false)
}

/// Tells everybody who waits for `call`, which has just ended in `state`.
///
/// Blocked threads first, then callbacks in the order they were added, then those who move the
/// outcome out. No lock is held while user code runs.
pub(crate) fn tell_waiters<T>(call: &AnyCall<T>, state: State, stage: &dyn Stage) {
    let mut callbacks = Vec::new();
    let mut later = Vec::new();
    let waiters = call.core.with_waiters(|waiters| waiters.take());
    for waiter in waiters.in_order() {
        match waiter {
            Waiter::Done(signal, index) => signal.notify(index, state.is_failed()),
            Waiter::Callback(callback) => callbacks.push(callback),
            Waiter::Settled(_) | Waiter::Task(_) | Waiter::Then(_) => later.push(waiter),
        }
    }
    if !callbacks.is_empty() {
        stage.enters_user_code();
        let future = Future::from_call(Arc::clone(call));
        let _ = NOTIFYING.try_with(|calls| calls.borrow_mut().push(address(call)));
        for callback in callbacks {
            let what = "exception calling callback";
            contain(what, || callback(&future));
        }
        let _ = NOTIFYING.try_with(|calls| calls.borrow_mut().pop());
    }
    let settled = call.core.settle();
    for waiter in later.into_iter().chain(settled.in_order()) {
        match waiter {
            Waiter::Settled(signal) => signal.notify(0, false),
            Waiter::Task(waker) => {
                stage.enters_user_code();
                contain("waking the task that awaits a call", || waker.wake());
            }
            Waiter::Then(then) => {
                stage.enters_user_code();
                contain("the rest of a chain of calls", || then(take_ending(call)));
            }
            Waiter::Done(..) | Waiter::Callback(_) => unreachable!("refused by a done call"),
        }
    }
}

/// Moves the end of a settled call out, for the owner of its only future.
pub(crate) fn take_ending<T>(call: &AnyCall<T>) -> Ending<T> {
    let state = call.core.state();
    debug_assert!(state.is_settled());
    if state.is_finished() {
        // SAFETY: settled and finished; callers consumed the only future.
        Ending::Finished(unsafe { call.core.take_outcome() })
    } else {
        Ending::Cancelled
    }
}

/// Cancels `call` unless it started, telling everybody; see [`Future::cancel`].
pub(crate) fn cancel<T>(call: &AnyCall<T>) -> bool {
    match call.body.upstream() {
        Some(upstream) => upstream.cancel(),
        None => cancel_own(call),
    }
}

/// Kills the process that runs `call`; false if there is none. See [`Future::kill`].
pub(crate) fn kill<T>(call: &AnyCall<T>) -> bool {
    match call.body.upstream() {
        Some(upstream) => upstream.kill(),
        None => call.body.kill().unwrap_or(false),
    }
}

/// Cancels `call` itself, whatever it follows.
pub(crate) fn cancel_own<T>(call: &AnyCall<T>) -> bool {
    let mut attempt = None;
    call.body.cancelling(&mut || attempt = Some(call.core.transition(State::cancel)));
    match attempt.unwrap_or_else(|| Err(call.core.state())) {
        Ok(state) => {
            contain("dropping a cancelled call", || {
                // SAFETY: this thread made the one transition to CANCELLED.
                unsafe { call.body.discard() };
            });
            if state.is_waited() {
                tell_waiters(call, state, &Elsewhere);
            }
            true
        }
        Err(state) => state.phase() == Phase::Cancelled,
    }
}

/// Ends `call`, whose claim the caller holds.
///
/// # Safety
///
/// The caller made the transition that set the claim, and calls this once.
pub(crate) unsafe fn finish<T>(call: &AnyCall<T>, outcome: Outcome<T>) {
    // SAFETY: the caller's promise.
    let state = unsafe { call.core.finish(outcome) };
    if state.is_waited() {
        tell_waiters(call, state, &Elsewhere);
    }
}

/// The stage of a thread that is no worker.
pub(crate) struct Elsewhere;

impl Stage for Elsewhere {
    fn leaves_user_code(&self) {}
    fn enters_user_code(&self) {}
}

/// A function waiting for its worker; `N` is the function that its name is taken from.
///
/// The function is alive exactly while the call is PENDING. Whoever makes the transition out of
/// PENDING owns it: the worker that starts the call or the thread that cancels it.
pub(crate) struct Job<F, N> {
    function: UnsafeCell<ManuallyDrop<F>>,
    name: PhantomData<fn() -> N>,
}

impl<F, N> Job<F, N> {
    pub(crate) fn new(function: F) -> Self {
        Self { function: UnsafeCell::new(ManuallyDrop::new(function)), name: PhantomData }
    }
}

// SAFETY: the function is touched by one thread only, the one that won the transition out of
// PENDING, and it may be another than the one that made it (F: Send).
unsafe impl<F: Send, N> Sync for Job<F, N> {}

impl<F: Send, N> Body for Job<F, N> {
    fn name(&self) -> &'static str {
        std::any::type_name::<N>()
    }

    unsafe fn discard(&self) {
        // SAFETY: by the caller's promise the function is alive and this is its sole owner.
        let function = unsafe { &mut *self.function.get() };
        // SAFETY: as above; it is not touched again.
        unsafe { ManuallyDrop::drop(function) };
    }
}

impl<T, F, N> Run for Call<T, Job<F, N>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
    N: 'static,
{
    fn run(self: Arc<Self>, stage: &dyn Stage) {
        if self.core.transition(State::start_and_claim).is_err() {
            return; // cancelled; its captures are gone already
        }
        let function = {
            // SAFETY: this thread made the transition out of PENDING, so it owns the function.
            let slot = unsafe { &mut *self.body.function.get() };
            // SAFETY: as above; it is not touched again.
            unsafe { ManuallyDrop::take(slot) }
        };
        let outcome = catch(function).map_err(|panic| Box::new(Error::Panicked(panic)));
        stage.leaves_user_code();
        // SAFETY: the transition above set the claim.
        let state = unsafe { self.core.finish(outcome) };
        if state.is_waited() {
            let call: AnyCall<T> = Arc::clone(&self) as AnyCall<T>;
            tell_waiters(&call, state, stage);
        }
        if std::mem::needs_drop::<T>() && Arc::strong_count(&self) == 1 {
            stage.enters_user_code();
            contain("dropping a result that nobody took", || drop(self));
        }
    }

    fn cancel(self: Arc<Self>) -> bool {
        cancel_own(&(self as AnyCall<T>))
    }

    fn fail(self: Arc<Self>, error: Error) {
        if self.core.transition(State::start_and_claim).is_err() {
            return;
        }
        contain("dropping a call that cannot run", || {
            // SAFETY: this thread made the transition out of PENDING, so it owns the function.
            unsafe { self.body.discard() };
        });
        // SAFETY: the transition above set the claim.
        unsafe { finish(&(self as AnyCall<T>), Err(Box::new(error))) };
    }
}

impl<T, B: Body + ?Sized> fmt::Debug for Call<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Future at {:p} state={}>", std::ptr::from_ref(self).cast::<()>(), self.phase())
    }
}
