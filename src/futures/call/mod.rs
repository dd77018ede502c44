//! A call: its [`SharedState`] and what is particular to its origin, in one block of memory.
//!
//! The future, the queue of a pool and the worker all own the same [`Call`]. The queue sees it as an
//! [`QueuedTask`](queued_task::QueuedTask), the future as [`AnyCall`], where only the type of the value is
//! known.

pub(crate) mod assist;
pub(crate) mod cancel_token;
pub(crate) mod continuation;
pub(crate) mod current;
pub(crate) mod dependency;
pub(crate) mod expiry;
pub(crate) mod pair_arc;
pub(crate) mod queued_task;
pub(crate) mod run;
pub(crate) mod shared_state;
pub(crate) mod state;
pub(crate) mod trace_hooks;
pub(crate) mod wait_assist;
pub(crate) mod waiters;

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic as counting; // for `counted`, which a model gives loom's
use std::time::Instant;

use self::continuation::Continuations;
use self::current::{Forget, PoolId};
use self::dependency::{
    DependencyRef, DependsOn, OnChange, kill as kill_in, request_cancel as request, source_of_all,
};
use self::pair_arc::{Block, PairArc};
use self::run::{NoObserver, RunObserver};
use self::shared_state::{CallResult, SharedState};
use self::trace_hooks::{CallOrigin, Traced};
use self::waiters::Waiter;
use crate::LOG_TARGET;
use crate::error::Error;
use crate::futures::call::state::{Phase, State};
use crate::sync::thread_local_static;
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

/// A call whose callbacks this thread is running.
struct Notified {
    call: usize,
    /// Called afterwards, if the registry of waits knows it.
    forget: Option<Forget>,
}

thread_local_static! {
    /// The calls whose callbacks this thread is running, innermost last.
    NOTIFYING: RefCell<Vec<Notified>> = RefCell::new(Vec::new())
}

/// Runs `callbacks` as those of the call at `call`.
fn while_notifying(call: usize, callbacks: impl FnOnce()) {
    let notified = Notified { call, forget: None };
    let _ = NOTIFYING.try_with(|calls| calls.borrow_mut().push(notified));
    callbacks();
    let left = NOTIFYING.try_with(|calls| calls.borrow_mut().pop()).ok().flatten();
    if let Some(forget) = left.and_then(|left| left.forget) {
        forget(call);
    }
}

/// Whether this thread is inside a callback of `call`, so that waiting for it to settle is vain.
pub(crate) fn is_notifying<T>(call: &AnyCall<T>) -> bool {
    notifies(PairArc::address(call))
}

fn notifies(call: usize) -> bool {
    let any = |calls: &RefCell<Vec<Notified>>| calls.borrow().iter().any(|own| own.call == call);
    NOTIFYING.try_with(any).unwrap_or(false)
}

/// Whether this thread is inside any callback.
pub(crate) fn is_notifying_any() -> bool {
    NOTIFYING.try_with(|calls| !calls.borrow().is_empty()).unwrap_or(false)
}

/// As [`index_running`](current::index_running), for the calls whose callbacks this thread runs.
pub(crate) fn index_notifying(forget: Forget, mut index: impl FnMut(usize)) {
    let _ = NOTIFYING.try_with(|calls| {
        for own in calls.borrow_mut().iter_mut().rev().take_while(|own| own.forget.is_none()) {
            own.forget = Some(forget);
            index(own.call);
        }
    });
}

/// Whether this thread is inside a callback of the call that `call` follows in the end, so that it
/// waits in vain: the rest of the chain comes after the callbacks. Not if there is a deadline on the
/// way, which ends the wait.
pub(crate) fn is_notifying_source<T>(call: &AnyCall<T>) -> bool {
    if !is_notifying_any() {
        return false;
    }
    let mut follows = Call::follows(call, None);
    let mut source = None;
    while let DependsOn::Call(next) = follows {
        follows = next.follows(None);
        source = Some(next);
    }
    let is_certain = !matches!(follows, DependsOn::InTime(_));
    let look = source.and_then(|source| source.look());
    is_certain && look.is_some_and(|look| notifies(look.call))
}

/// Tells everybody who waits for `call`, which has just ended in `state`.
///
/// Blocked threads first, then callbacks in the order they were added, then those who move the
/// outcome out. No lock is held while user code runs.
pub(crate) fn notify_waiters<T>(call: &AnyCall<T>, state: State, stage: &dyn RunObserver) {
    Continuations::with(|chain| notify_waiters_in(chain, call, state, stage));
}

/// Tells everybody who waits for `call`, which has ended.
#[cfg(all(target_os = "linux", not(concurrent_loom)))] // for the module `process`
pub(crate) fn notify<T>(call: &AnyCall<T>) {
    notify_waiters(call, call.core.state(), &NoObserver);
}

/// [`notify_waiters`] as a part of a chain that is being run already.
pub(crate) fn notify_waiters_in<T>(
    chain: &mut Continuations,
    call: &AnyCall<T>,
    state: State,
    stage: &dyn RunObserver,
) {
    let mut callbacks = Vec::new();
    let mut later = Vec::new();
    let waiters = call.core.with_waiters(|waiters| waiters.take());
    for waiter in waiters.in_order() {
        match waiter {
            Waiter::Done(signal, index) => signal.notify(index, state.is_failed()),
            Waiter::Callback(callback) => callbacks.push(callback),
            Waiter::Token(_) => {}
            Waiter::Settled(_) | Waiter::Task(_) | Waiter::Then(_) => later.push(waiter),
        }
    }
    if !callbacks.is_empty() {
        stage.enters_user_code();
        while_notifying(PairArc::address(call), || {
            for callback in callbacks {
                callback(call); // it contains the user's
            }
        });
    }
    let settled = call.core.settle();
    for waiter in later.into_iter().chain(settled.in_order()) {
        match waiter {
            Waiter::Settled(signal) => signal.notify(0, false),
            Waiter::Task(waker) => {
                stage.enters_user_code();
                contain("waking the task that awaits a call", || waker.wake());
            }
            Waiter::Then(rest) => {
                stage.enters_user_code();
                chain.push(rest);
            }
            Waiter::Done(..) | Waiter::Callback(_) | Waiter::Token(_) => {
                unreachable!("refused by a done call")
            }
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

/// Cancels `call` unless it started, telling everybody; see [`Future::cancel`](crate::futures::Future::cancel).
pub(crate) fn cancel<T>(call: &AnyCall<T>) -> bool {
    match source_of_all(Call::follows(call, None)) {
        Some(source) => Continuations::with(|chain| source.cancel(chain)),
        None => cancel_own(call),
    }
}

/// Cancels `call` if it is pending, asks it to stop if it is running; see
/// [`Future::request_cancel`](crate::futures::Future::request_cancel).
pub(crate) fn request_cancel<T>(call: &AnyCall<T>) -> bool {
    // As it was before: a call may stop, and be done, as soon as it is asked.
    let state = call.core.state();
    let told = Continuations::with(|chain| request(chain, call));
    told && (state.phase() == Phase::Cancelled || !state.is_done())
}

/// Cancels `call` if it is pending, kills the process that runs it; see [`Future::kill`](crate::futures::Future::kill).
pub(crate) fn kill<T>(call: &AnyCall<T>) -> bool {
    Continuations::with(|chain| kill_in(chain, call))
}

/// Cancels `call` itself, whatever it follows; returns whether it is cancelled now.
pub(crate) fn cancel_own<T>(call: &AnyCall<T>) -> bool {
    Continuations::with(|chain| cancel_in(chain, call))
}

/// [`cancel_own`] as a part of a chain that is being run already.
pub(crate) fn cancel_in<T>(chain: &mut Continuations, call: &AnyCall<T>) -> bool {
    match cancel_now_in(chain, call) {
        Ok(()) => true,
        Err(state) => state.phase() == Phase::Cancelled,
    }
}

/// Cancels `call` itself, or gives the state that does not allow it.
pub(crate) fn cancel_now<T>(call: &AnyCall<T>) -> Result<(), State> {
    Continuations::with(|chain| cancel_now_in(chain, call))
}

fn cancel_now_in<T>(chain: &mut Continuations, call: &AnyCall<T>) -> Result<(), State> {
    let state = begin_cancel(call)?;
    // SAFETY: this thread made the one transition to CANCELLED.
    unsafe { discard_cancelled(call) };
    call.body.cancelled(chain);
    if state.is_waited() {
        notify_waiters_in(chain, call, state, &NoObserver);
    }
    Ok(())
}

/// Makes the transition to CANCELLED, or gives the state that does not allow it. What was captured is
/// there still, and nobody has been told.
pub(crate) fn begin_cancel<T>(call: &AnyCall<T>) -> Result<State, State> {
    let state = call.core.state();
    if state.phase() != Phase::Pending {
        return Err(state); // so that nothing is taken back from another process
    }
    let mut attempt = None;
    call.body.cancelling(&mut || attempt = Some(call.core.transition(State::cancel)));
    attempt.unwrap_or_else(|| Err(call.core.state()))
}

/// Drops what a cancelled call captured.
///
/// # Safety
///
/// By whoever was given the state by [`begin_cancel`], once.
pub(crate) unsafe fn discard_cancelled<T>(call: &AnyCall<T>) {
    contain("dropping a cancelled call", || {
        // SAFETY: the caller's promise.
        unsafe { call.body.discard() };
    });
}

/// Ends `call`, whose claim the caller holds.
///
/// # Safety
///
/// The caller made the transition that set the claim, and calls this once.
pub(crate) unsafe fn finish<T>(call: &AnyCall<T>, outcome: CallResult<T>) {
    // SAFETY: the caller's promise.
    Continuations::with(|chain| unsafe { finish_in(chain, call, outcome) });
}

/// [`finish`] as a part of a chain that is being run already.
///
/// # Safety
///
/// As for [`finish`].
pub(crate) unsafe fn finish_in<T>(
    chain: &mut Continuations,
    call: &AnyCall<T>,
    outcome: CallResult<T>,
) {
    // SAFETY: the caller's promise.
    let state = unsafe { call.core.finish(outcome) };
    if state.is_waited() {
        notify_waiters_in(chain, call, state, &NoObserver);
    }
}

impl<T, B: CallKind<T> + ?Sized> fmt::Debug for Call<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Future at {:p} state={}>", std::ptr::from_ref(self).cast::<()>(), self.phase())
    }
}
