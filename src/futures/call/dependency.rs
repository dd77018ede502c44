//! Type-erased dependencies of a composed call, and how to walk them.
//!
//! ```text
//!   and_then ──follows──► map ──follows──► a queued call          (a link: one call)
//!   join_all ──members──► map, a promise, first_ok ──members──►   (a group: several)
//! ```
//!
//! Chains may be long and groups deep, so nothing here recurses.

use std::sync::Arc;

use super::continuation::Continuations;
use super::current::{PoolId, is_notifying, is_notifying_any};
use super::in_place::{self, InPlace};
use super::pair_arc::{PairArc, WeakPairArc};
use crate::futures::call::expiry;
use crate::futures::call::state::{Phase, State};
use crate::futures::call::{AnyCall, Call, CallKind};

/// Called when a composed call follows another call than before; `None` if the caller does not
/// block.
pub(crate) type OnChange = Option<fn()>;

/// A call with its value type erased. All methods but `follows` and `members` are about the call
/// itself, whatever it follows.
pub(crate) trait Dependency {
    /// The state of the call; `None` if the call is gone, and so has ended.
    fn snapshot(&self) -> Option<Snapshot>;

    /// The calls on which the end of this one depends. A thread that blocks passes `watch`, which is
    /// called when the answer has changed.
    fn follows(&self, watch: OnChange) -> DependsOn;

    /// The members that a group still waits for.
    fn members(&self) -> Vec<DependencyRef>;

    /// The last member with an index below `end` that a group still waits for, and its index. For
    /// the registry of waits: when a member that was returned here has ended, blocked threads check
    /// again.
    fn member_before(&self, end: usize) -> Option<(usize, DependencyRef)>;

    /// Cancels the call itself if it is pending; returns whether it is cancelled now.
    fn cancel(&self, continuations: &mut Continuations) -> bool;

    /// Asks the call to stop, if it runs; returns whether the call can see that.
    fn ask_to_stop(&self) -> bool;

    /// Kills the process that runs the call; false if there is none.
    fn kill(&self) -> bool;

    /// Runs the call in place if it waits in the queue of this worker's pool; with `unless_free`,
    /// only if no other worker can take it.
    fn run_in_place(&self, unless_free: bool) -> InPlace;
}

/// A call as it was at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    /// Its address: its identity while it is alive.
    pub(crate) call: usize,
    pub(crate) name: &'static str,
    pub(crate) pool: PoolId,
    pub(crate) state: State,
}

pub(crate) type DependencyRef = Arc<dyn Dependency + Send + Sync>;

/// The other calls on which the end of a call depends.
pub(crate) enum DependsOn {
    /// No other call, or the call has ended.
    Nothing,
    Call(DependencyRef),
    /// This call, or a deadline, whichever comes first.
    InTime(DependencyRef),
    /// Its members.
    Group,
}

impl<T> Dependency for AnyCall<T> {
    fn snapshot(&self) -> Option<Snapshot> {
        let shared = self.shared();
        let (call, state) = (PairArc::address(self), self.shown_state());
        Some(Snapshot { call, name: self.name(), pool: shared.pool(), state })
    }

    fn follows(&self, watch: OnChange) -> DependsOn {
        Call::follows(self, watch)
    }

    fn members(&self) -> Vec<DependencyRef> {
        self.kind().members()
    }

    fn member_before(&self, end: usize) -> Option<(usize, DependencyRef)> {
        self.kind().member_before(end)
    }

    fn cancel(&self, continuations: &mut Continuations) -> bool {
        match self.try_cancel(continuations) {
            Ok(()) => true,
            Err(state) => state.phase() == Phase::Cancelled,
        }
    }

    fn ask_to_stop(&self) -> bool {
        self.shared().request_cancel();
        self.kind().runs_here()
    }

    fn kill(&self) -> bool {
        self.kind().kill()
    }

    fn run_in_place(&self, unless_free: bool) -> InPlace {
        in_place::run_queued(self, unless_free)
    }
}

/// A weak reference to a call that another one follows.
///
/// A followed call has a continuation among its waiters, which owns the call and takes its outcome
/// when it has ended. So if an upgraded reference turns out to be the last owner, it drops no user
/// value, and may be dropped under a lock.
struct DependencySource<T>(WeakPairArc<Call<T, dyn CallKind<T>>>);

impl<T: Send + 'static> Dependency for DependencySource<T> {
    fn snapshot(&self) -> Option<Snapshot> {
        self.0.upgrade()?.snapshot()
    }

    fn follows(&self, watch: OnChange) -> DependsOn {
        self.0.upgrade().map_or(DependsOn::Nothing, |call| call.follows(watch))
    }

    fn members(&self) -> Vec<DependencyRef> {
        self.0.upgrade().map_or_else(Vec::new, |call| call.members())
    }

    fn member_before(&self, end: usize) -> Option<(usize, DependencyRef)> {
        self.0.upgrade()?.member_before(end)
    }

    fn cancel(&self, continuations: &mut Continuations) -> bool {
        self.0.upgrade().is_some_and(|call| {
            if continuations.puts_off() {
                expiry::cancel(continuations, &call)
            } else {
                call.cancel(continuations)
            }
        })
    }

    fn ask_to_stop(&self) -> bool {
        self.0.upgrade().is_some_and(|call| call.ask_to_stop())
    }

    fn kill(&self) -> bool {
        self.0.upgrade().is_some_and(|call| call.kill())
    }

    fn run_in_place(&self, unless_free: bool) -> InPlace {
        self.0.upgrade().map_or(InPlace::NotOurs, |call| call.run_in_place(unless_free))
    }
}

pub(crate) fn dependency_on<T: Send + 'static>(call: &AnyCall<T>) -> DependencyRef {
    Arc::new(DependencySource(PairArc::downgrade(call)))
}

/// The first call of the chain, on whose state that of the last one depends; it may be a group.
/// `None` if that is the call asked about.
///
/// The walk ends. A future is followed at most once, and no longer exists then: if calls follow
/// each other in a circle, no future leads into it, and the thread that closed it is about to open
/// it (`continuation.rs`). The timer starts inside of a chain, but at a call that it has claimed,
/// and such a call follows nothing.
pub(crate) fn source_of_all(follows: DependsOn) -> Option<DependencyRef> {
    match follows {
        DependsOn::Call(call) | DependsOn::InTime(call) => Some(source_of(call)),
        DependsOn::Nothing | DependsOn::Group => None,
    }
}

/// [`source_of_all`] for a followed call; it may be `call` itself.
pub(crate) fn source_of(mut call: DependencyRef) -> DependencyRef {
    while let DependsOn::Call(next) | DependsOn::InTime(next) = call.follows(None) {
        call = next;
    }
    call
}

/// Whether this thread is inside a callback of the first call of the chain of `call`. A wait for
/// `call` could not end then, since continuations run after callbacks; unless there is a deadline
/// in the chain.
pub(crate) fn is_notifying_source(call: &dyn Dependency) -> bool {
    if !is_notifying_any() {
        return false;
    }
    let mut follows = call.follows(None);
    let mut source = None;
    while let DependsOn::Call(next) = follows {
        follows = next.follows(None);
        source = Some(next);
    }
    let is_certain = !matches!(follows, DependsOn::InTime(_));
    let snapshot = source.and_then(|source| source.snapshot());
    is_certain && snapshot.is_some_and(|snapshot| is_notifying(snapshot.call))
}

/// Whether the end of `call` depends on that of the call at the address `on`, which has not ended.
pub(crate) fn depends_on(call: DependencyRef, on: usize) -> bool {
    let mut left = vec![call];
    while let Some(call) = left.pop() {
        if call.snapshot().is_some_and(|snapshot| snapshot.call == on) {
            return true;
        }
        match call.follows(None) {
            DependsOn::Call(next) | DependsOn::InTime(next) => left.push(next),
            DependsOn::Group => left.extend(call.members()),
            DependsOn::Nothing => {}
        }
    }
    false
}

/// Cancels the first call of the chain of `call`, if it has not started; returns whether it is
/// cancelled now.
pub(crate) fn cancel(continuations: &mut Continuations, call: &dyn Dependency) -> bool {
    match source_of_all(call.follows(None)) {
        Some(source) => source.cancel(continuations),
        None => call.cancel(continuations),
    }
}

/// Cancels the calls on which `call` depends that have not started, and asks the others to stop.
/// Returns whether one was cancelled or can see the request; false if `call` was done before.
pub(crate) fn request_cancel(continuations: &mut Continuations, call: &dyn Dependency) -> bool {
    // Before it is asked: it may stop, and be done, at once.
    let before = call.snapshot();
    let asked = cancel_or(continuations, call, &|running| running.ask_to_stop());
    let may_end = |snapshot: Snapshot| {
        snapshot.state.phase() == Phase::Cancelled || !snapshot.state.is_done()
    };
    asked && before.is_some_and(may_end)
}

/// Cancels the calls on which `call` depends that have not started, and kills the processes that
/// run the others. Returns whether one was cancelled or will end so.
pub(crate) fn kill(continuations: &mut Continuations, call: &dyn Dependency) -> bool {
    cancel_or(continuations, call, &|running| running.kill())
}

type EndTest<'a> = &'a dyn Fn(&dyn Dependency) -> bool;

/// Cancels the calls on which `call` depends; calls `end` with those that have started.
fn cancel_or(continuations: &mut Continuations, call: &dyn Dependency, end: EndTest<'_>) -> bool {
    let mut left = Vec::new();
    let mut ended = cancel_step(continuations, call, end, &mut left);
    while let Some(next) = left.pop() {
        ended |= cancel_step(continuations, &*next, end, &mut left);
    }
    ended
}

fn cancel_step(
    continuations: &mut Continuations,
    call: &dyn Dependency,
    end: EndTest<'_>,
    left: &mut Vec<DependencyRef>,
) -> bool {
    match call.follows(None) {
        DependsOn::Call(next) | DependsOn::InTime(next) => {
            // If `next` has ended, the function of `call` runs, or is about to.
            match next.snapshot() {
                Some(snapshot) if !snapshot.state.is_done() => {
                    left.push(next);
                    false
                }
                _ => end(call),
            }
        }
        DependsOn::Group => {
            left.extend(call.members());
            call.cancel(continuations)
        }
        DependsOn::Nothing => call.cancel(continuations) || end(call),
    }
}

impl<T, K: CallKind<T> + ?Sized> Call<T, K> {
    /// The calls on which its end depends at present; none once it has ended or was claimed.
    pub(crate) fn follows(&self, watch: OnChange) -> DependsOn {
        let state = self.shared().state();
        let ends = state.is_done() || state.is_claimed();
        if ends { DependsOn::Nothing } else { self.kind().follows(watch) }
    }

    /// The state as the user sees it: a call in another process runs once that process has said so.
    fn shown_state(&self) -> State {
        let state = self.shared().state();
        let begun = state.phase() == Phase::Pending && self.kind().has_begun_elsewhere();
        state.start().filter(|_| begun).unwrap_or(state)
    }

    pub(crate) fn phase(&self) -> Phase {
        let own = self.shown_state().phase();
        if own != Phase::Pending {
            return own;
        }
        match source_of_all(self.kind().follows(None)) {
            // Between the end of the source and its own, the call counts as running.
            Some(source)
                if source.snapshot().is_none_or(|snapshot| snapshot.state.phase() != own) =>
            {
                Phase::Running
            }
            _ => own,
        }
    }
}
