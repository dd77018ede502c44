//! What a composed call follows, its type forgotten, and how to get from a call to those on whose
//! ends its own depends.
//!
//! ```text
//!   and_then ──follows──► map ──follows──► a queued call          (a link: one call)
//!   join_all ──members──► map, a promise, first_ok ──members──►   (a group: several)
//! ```
//!
//! Chains may be long and groups deep: nothing here recurses.

use std::sync::Arc;

use super::continuation::Continuations;
use super::current::{PoolId, is_notifying, is_notifying_any};
use super::in_place::{self, InPlace};
use super::pair_arc::{PairArc, WeakPairArc};
use crate::futures::call::expiry;
use crate::futures::call::state::{Phase, State};
use crate::futures::call::{AnyCall, Call, CallKind};

/// Called when a composed call follows another call than before; `None` for those who do not block.
pub(crate) type OnChange = Option<fn()>;

/// A call whose value is of no interest. All but `follows` and `members` is about the call itself,
/// whatever it follows.
pub(crate) trait Dependency {
    /// `None` if the call is gone, and so has ended.
    fn look(&self) -> Option<Snapshot>;

    /// `watch` is for those who block: it is called when this answer has changed.
    fn follows(&self, watch: OnChange) -> DependsOn;

    /// The members of a group that it still waits for.
    fn members(&self) -> Vec<DependencyRef>;

    /// The last member with an index below `end` that a group still waits for, and its index; for the
    /// registry of waits, to which it is reported when one of those that were looked at has ended.
    fn member_before(&self, end: usize) -> Option<(usize, DependencyRef)>;

    /// Cancels the call itself if it is pending; returns whether it is cancelled now.
    fn cancel(&self, chain: &mut Continuations) -> bool;

    /// Tells it that it should stop, if it runs; returns whether it can hear of it.
    fn ask_to_stop(&self) -> bool;

    /// Ends the process that runs it; false if there is none.
    fn kill(&self) -> bool;

    /// Runs it in place if it waits in the queue of this worker's pool; with `unless_free` not if
    /// another worker can take it.
    fn run_in_place(&self, unless_free: bool) -> InPlace;
}

/// A call as it is at this moment.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    /// Its address: its identity while it is alive.
    pub(crate) call: usize,
    pub(crate) name: &'static str,
    pub(crate) pool: PoolId,
    pub(crate) state: State,
}

pub(crate) type DependencyRef = Arc<dyn Dependency + Send + Sync>;

/// What the end of a call depends on.
pub(crate) enum DependsOn {
    /// No other call, or it has ended.
    Nothing,
    Call(DependencyRef),
    /// It ends with this call, but not later than its deadline.
    InTime(DependencyRef),
    /// The ends of its members.
    Group,
}

impl<T> Dependency for AnyCall<T> {
    fn look(&self) -> Option<Snapshot> {
        let core = self.core();
        let (call, state) = (PairArc::address(self), self.shown_state());
        Some(Snapshot { call, name: self.name(), pool: core.pool(), state })
    }

    fn follows(&self, watch: OnChange) -> DependsOn {
        Call::follows(self, watch)
    }

    fn members(&self) -> Vec<DependencyRef> {
        self.body().members()
    }

    fn member_before(&self, end: usize) -> Option<(usize, DependencyRef)> {
        self.body().member_before(end)
    }

    fn cancel(&self, chain: &mut Continuations) -> bool {
        match self.try_cancel(chain) {
            Ok(()) => true,
            Err(state) => state.phase() == Phase::Cancelled,
        }
    }

    fn ask_to_stop(&self) -> bool {
        self.core().request_cancel();
        self.body().runs_here()
    }

    fn kill(&self) -> bool {
        self.body().kill()
    }

    fn run_in_place(&self, unless_free: bool) -> InPlace {
        in_place::run_queued(self, unless_free)
    }
}

/// A call that another one follows, which does not keep it alive.
///
/// A followed call has among its waiters the rest of the chain, which holds the call and takes its
/// outcome when it has ended. So whoever upgrades this and turns out to be its last owner drops
/// nothing of a user's: it may be done under a lock.
struct DependencySource<T>(WeakPairArc<Call<T, dyn CallKind<T>>>);

impl<T: Send + 'static> Dependency for DependencySource<T> {
    fn look(&self) -> Option<Snapshot> {
        self.0.upgrade()?.look()
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

    fn cancel(&self, chain: &mut Continuations) -> bool {
        self.0.upgrade().is_some_and(|call| {
            if chain.puts_off() { expiry::cancel(chain, &call) } else { call.cancel(chain) }
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

pub(crate) fn upstream<T: Send + 'static>(call: &AnyCall<T>) -> DependencyRef {
    Arc::new(DependencySource(PairArc::downgrade(call)))
}

/// The call on whose state that of a chain depends now: the one at its beginning, which may be a
/// group; `None` if that is the call asked about.
///
/// There is one, and the way there ends. A future is followed once at most, and nobody has it any
/// more then: if calls were made to follow each other in a circle, no future is left from which to get
/// there, and who closed it is about to open it (`continuation.rs`). The timer comes from within, but from a
/// call that it has claimed; such a call follows nothing any more.
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

/// Whether this thread is inside a callback of the call that `call` follows in the end, so that it
/// waits in vain: the rest of the chain comes after the callbacks. Not if there is a deadline on the
/// way, which ends the wait.
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
    let look = source.and_then(|source| source.look());
    is_certain && look.is_some_and(|look| is_notifying(look.call))
}

/// Whether the end of `call` depends on that of the call at the address `on`, which has not ended.
pub(crate) fn depends_on(call: DependencyRef, on: usize) -> bool {
    let mut left = vec![call];
    while let Some(call) = left.pop() {
        if call.look().is_some_and(|look| look.call == on) {
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

/// Cancels the call on which that of a chain depends now, if it has not started. Returns whether it is
/// cancelled now.
pub(crate) fn cancel(chain: &mut Continuations, call: &dyn Dependency) -> bool {
    match source_of_all(call.follows(None)) {
        Some(source) => source.cancel(chain),
        None => call.cancel(chain),
    }
}

/// Cancels what `call` depends on and has not started, and asks the rest to stop. Returns whether
/// anything was cancelled or can hear of it; not of a call that was done before.
pub(crate) fn request_cancel(chain: &mut Continuations, call: &dyn Dependency) -> bool {
    // As it was before: a call may stop, and be done, as soon as it is asked.
    let before = call.look();
    let asked = cancel_or(chain, call, &|running| running.ask_to_stop());
    let may_end = |look: Snapshot| look.state.phase() == Phase::Cancelled || !look.state.is_done();
    asked && before.is_some_and(may_end)
}

/// Cancels what `call` depends on and has not started, and ends the processes that run the rest.
/// Returns whether anything was cancelled or will end so.
pub(crate) fn kill(chain: &mut Continuations, call: &dyn Dependency) -> bool {
    cancel_or(chain, call, &|running| running.kill())
}

type EndTest<'a> = &'a dyn Fn(&dyn Dependency) -> bool;

/// Cancels what `call` depends on; what has started is left to `end`.
fn cancel_or(chain: &mut Continuations, call: &dyn Dependency, end: EndTest<'_>) -> bool {
    let mut left = Vec::new();
    let mut ended = cancel_step(chain, call, end, &mut left);
    while let Some(next) = left.pop() {
        ended |= cancel_step(chain, &*next, end, &mut left);
    }
    ended
}

fn cancel_step(
    chain: &mut Continuations,
    call: &dyn Dependency,
    end: EndTest<'_>,
    left: &mut Vec<DependencyRef>,
) -> bool {
    match call.follows(None) {
        DependsOn::Call(next) | DependsOn::InTime(next) => {
            // If that has ended, a function of this one's is running, or is about to.
            match next.look() {
                Some(look) if !look.state.is_done() => {
                    left.push(next);
                    false
                }
                _ => end(call),
            }
        }
        DependsOn::Group => {
            left.extend(call.members());
            call.cancel(chain)
        }
        DependsOn::Nothing => call.cancel(chain) || end(call),
    }
}

impl<T, B: CallKind<T> + ?Sized> Call<T, B> {
    /// What its end depends on now; nothing once it has ended, or is about to by a claim.
    pub(crate) fn follows(&self, watch: OnChange) -> DependsOn {
        let state = self.core().state();
        let ends = state.is_done() || state.is_claimed();
        if ends { DependsOn::Nothing } else { self.body().follows(watch) }
    }

    /// The state as a user sees it: a call runs when the process that has it says so.
    fn shown_state(&self) -> State {
        let state = self.core().state();
        let begun = state.phase() == Phase::Pending && self.body().has_begun_elsewhere();
        state.start().filter(|_| begun).unwrap_or(state)
    }

    pub(crate) fn phase(&self) -> Phase {
        let own = self.shown_state().phase();
        if own != Phase::Pending {
            return own;
        }
        match source_of_all(self.body().follows(None)) {
            // Between the source's end and this one's, the call still counts as running.
            Some(source) if source.look().is_none_or(|look| look.state.phase() != own) => {
                Phase::Running
            }
            _ => own,
        }
    }
}
