//! [`ScopeState`]: the calls of one scope, and how the scope waits for their end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::futures::call::AnyCall;
use crate::futures::call::assist::AwaitedSet;
use crate::futures::call::continuation::Continuations;
use crate::futures::call::current::while_notifying;
use crate::futures::call::dependency::Dependency;
use crate::futures::call::waiters::{Signal, WakeWhen};
use crate::futures::deadlock::{self, Awaits, InPlaceRun, OnDeadlock, Recheck, Wait, WaitFor};
use crate::futures::wait::wait_set::{unwatch, watch};
use crate::sync::{Mutex, unique_id};
use crate::user_code::contain;

/// A call of a scope, without its value.
pub(super) type Known = AnyCall<()>;

/// The calls of one scope.
pub(super) struct ScopeState {
    state: Mutex<ScopeCounts>,
}

struct ScopeCounts {
    /// INVARIANT: the number of [`LiveTask`]s.
    live_tasks: usize,
    /// The thread that waits until there is none, by its signal.
    none_live: Option<Arc<Signal>>,
    /// The drops of tasks that were not called, by the numbers under which their threads are at it.
    drops: Vec<usize>,
    /// Calls in the order spawned, each with its number: all that may be pending or running, and
    /// those with a lost failure.
    /// Dropped without the lock, though no drop of them unwinds: a panic contains the drop of its
    /// payload, and the error of a broken pool has the pool as an owner, too.
    known: VecDeque<(u64, Known)>,
    next_number: u64,
    /// When there are this many known calls, those that are not needed any more are removed.
    sweep_at: usize,
    /// The thread of the scope is blocked, or about to block, and has seen all known calls and drops.
    /// LOCK: read under that of the registry of waits.
    watched: bool,
}

/// The number of known calls at which a scope first removes those that are not needed any more.
const FIRST_SWEEP: usize = 64;

/// A task of a scope that was neither called nor dropped yet.
pub(super) struct LiveTask(Arc<ScopeState>);

impl LiveTask {
    pub(super) fn of(calls: &Arc<ScopeState>) -> Self {
        calls.state.lock().live_tasks += 1;
        Self(Arc::clone(calls))
    }

    /// Runs `drops`, the drop of the function of this task, which was not called.
    pub(super) fn while_dropping(&self, drops: impl FnOnce()) {
        let number = 2 * unique_id() + 1; // odd, and so the address of no call
        let watched = {
            let mut state = self.0.state.lock();
            state.drops.push(number);
            std::mem::take(&mut state.watched)
        };
        if watched {
            deadlock::recheck_blocked(Recheck::All); // the thread of the scope depends on this one
        }
        while_notifying(number, || contain("dropping a call of a scope that did not run", drops));
        self.0.state.lock().drops.retain(|other| *other != number);
    }
}

impl Drop for LiveTask {
    fn drop(&mut self) {
        let waits = {
            let mut state = self.0.state.lock();
            state.live_tasks -= 1;
            if state.live_tasks == 0 { state.none_live.take() } else { None }
        };
        if let Some(signal) = waits {
            signal.notify(0, false);
        }
    }
}

/// Blocks, when dropped, until no live task is left.
pub(super) struct WaitsOnDrop<'a>(pub(super) &'a ScopeState);

impl Drop for WaitsOnDrop<'_> {
    fn drop(&mut self) {
        let live = || self.0.state.lock().until_none_live();
        while let Some(signal) = live() {
            signal.wait(WakeWhen::ONE, None);
        }
    }
}

impl ScopeState {
    pub(super) fn new() -> Arc<Self> {
        let known = VecDeque::new();
        let state = ScopeCounts {
            live_tasks: 0,
            none_live: None,
            drops: Vec::new(),
            known,
            next_number: 0,
            sweep_at: FIRST_SWEEP,
            watched: false,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(super) fn add(&self, call: Known) {
        let (forgotten, watched) = {
            let mut state = self.state.lock();
            let number = state.next_number;
            state.next_number += 1;
            state.known.push_back((number, call));
            let full = state.known.len() >= state.sweep_at;
            let forgotten = if full { state.sweep() } else { VecDeque::new() };
            (forgotten, std::mem::take(&mut state.watched))
        };
        drop(forgotten);
        if watched {
            deadlock::recheck_blocked(Recheck::All); // the thread of the scope may have to run the new call
        }
    }

    /// The number of tasks that have neither run nor been dropped.
    pub(super) fn unfinished(&self) -> usize {
        self.state.lock().live_tasks
    }

    /// The earliest known call whose number is `least` or more.
    fn next(&self, least: u64) -> Option<(u64, Known)> {
        let state = self.state.lock();
        // Its distance from the first call is that of their numbers, unless calls in between were
        // removed.
        let first = state.known.front()?.0;
        let mut at = usize::try_from(least.saturating_sub(first)).unwrap_or(usize::MAX);
        if state.known.get(at).is_none_or(|(number, _)| *number != least) {
            at = state.known.partition_point(|(number, _)| *number < least);
        }
        state.known.get(at).map(|(number, call)| (*number, Known::clone(call)))
    }

    /// Runs `visit` on each known call, also on those added meanwhile; without the lock.
    ///
    /// Calls may be removed meanwhile, so the position is kept as a number.
    fn each(&self, mut visit: impl FnMut(&Known)) {
        let mut least = 0;
        while let Some((number, call)) = self.next(least) {
            visit(&call);
            least = number + 1;
        }
    }

    /// Cancels the calls that have not started; returns their number.
    pub(super) fn cancel_pending(&self) -> usize {
        let mut cancelled = 0;
        self.each(|call| {
            let ended = Continuations::with(|continuations| call.try_cancel(continuations));
            cancelled += usize::from(ended.is_ok());
        });
        cancelled
    }

    /// Waits until all calls have ended and no live task is left. Returns the first call with a
    /// lost failure; or the deadlock for which calls had to be cancelled.
    pub(super) fn wait(&self) -> Result<Option<Known>, Error> {
        let mut deadlock = Ok(());
        loop {
            match self.next_to_end() {
                Unended::Calls(calls) => {
                    if let Err(error) = self.wait_for(&calls) {
                        deadlock = Err(error);
                    }
                }
                Unended::Drops(signal, drops) => self.wait_for_drops(&signal, &drops),
                Unended::Nothing => {
                    let mut state = self.state.lock();
                    let lost = state
                        .known
                        .iter()
                        .position(|(_, call)| call.shared().state().is_lost_failure());
                    let lost = lost.and_then(|index| state.known.remove(index));
                    return deadlock.map(|()| lost.map(|(_, call)| call));
                }
            }
        }
    }

    /// What has not ended, for a thread that is about to wait for it.
    fn next_to_end(&self) -> Unended {
        let mut state = self.state.lock();
        let calls = state.not_done();
        state.watched = true;
        if !calls.is_empty() {
            return Unended::Calls(NotDone(calls));
        }
        // A destructor of a cancelled call may still run, and may even spawn.
        match state.until_none_live() {
            Some(signal) => Unended::Drops(signal, state.drops.clone()),
            None => Unended::Nothing,
        }
    }

    /// Waits until no task is live, a call is added, or another drop begins. If `drops` would never
    /// end, a wait in one of them fails in place of this one.
    fn wait_for_drops(&self, signal: &Arc<Signal>, drops: &[usize]) {
        let is_current = || self.state.lock().watched;
        let mut wait = Wait {
            on_deadlock: OnDeadlock::Insists,
            is_current: &is_current,
            ..Wait::new(Awaits::Drops(drops), WaitFor::All)
        };
        let mut run = InPlaceRun::default();
        while deadlock::wait(signal, WakeWhen::ONE, &wait, &mut run).is_err() {
            wait.on_deadlock = OnDeadlock::Forces;
        }
    }

    /// Waits until all of `calls` have ended, or one was added. If they never would, other waits
    /// fail in place of this one; if there are none, the scope's calls that have not started are
    /// cancelled, and the error says why.
    fn wait_for(&self, calls: &NotDone) -> Result<(), Error> {
        let signal = Signal::new();
        for (index, call) in calls.0.iter().enumerate() {
            if !watch(call, &signal, index) {
                signal.notify(index, false);
            }
        }
        let until = WakeWhen { ended: calls.0.len(), or_failure: false };
        let is_current = || self.state.lock().watched;
        let mut wait = Wait {
            on_deadlock: OnDeadlock::Insists,
            is_current: &is_current,
            ..Wait::new(Awaits::Calls(calls), WaitFor::All)
        };
        let mut run = InPlaceRun::default();
        let mut deadlock = Ok(());
        while let Err(error) = deadlock::wait(&signal, until, &wait, &mut run) {
            if self.cancel_pending() > 0 {
                deadlock = Err(error);
                wait.on_deadlock = OnDeadlock::Insists;
            } else {
                wait.on_deadlock = OnDeadlock::Forces;
            }
        }
        calls.0.iter().for_each(|call| unwatch(call, &signal));
        deadlock
    }
}

/// What a scope still waits for.
enum Unended {
    Calls(NotDone),
    /// Drops of tasks that were not called; and the signal for the end of all tasks.
    Drops(Arc<Signal>, Vec<usize>),
    Nothing,
}

/// Calls of a scope that had not ended when the thread of the scope began to wait for them.
struct NotDone(Vec<Known>);

impl AwaitedSet for NotDone {
    fn before(&self, end: usize) -> Option<(usize, &dyn Dependency)> {
        let index = end.min(self.0.len()).checked_sub(1)?;
        Some((index, &self.0[index]))
    }

    fn from(&self, start: usize) -> Option<(usize, &dyn Dependency)> {
        Some((start, self.0.get(start)?))
    }
}

impl ScopeCounts {
    /// A signal for the end of all live tasks; `None` if there is none.
    fn until_none_live(&mut self) -> Option<Arc<Signal>> {
        (self.live_tasks > 0).then(|| Arc::clone(self.none_live.insert(Signal::new())))
    }

    fn not_done(&self) -> Vec<Known> {
        let known = self.known.iter().map(|(_, call)| call);
        known.filter(|call| !call.shared().state().is_done()).cloned().collect()
    }

    /// Removes the calls that are done and have no lost failure.
    fn sweep(&mut self) -> VecDeque<(u64, Known)> {
        let known = std::mem::take(&mut self.known);
        let (kept, done) = known.into_iter().partition(|(_, call)| {
            let state = call.shared().state();
            !state.is_done() || state.is_lost_failure()
        });
        self.known = kept;
        self.sweep_at = FIRST_SWEEP.max(2 * self.known.len());
        done
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use super::*;
    use crate::futures::Promise;

    fn pending() -> (Promise<()>, Known) {
        let (promise, future) = Promise::pair();
        (promise, Known::clone(future.call()))
    }

    fn known(calls: &ScopeState) -> Vec<u64> {
        calls.state.lock().known.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn calls_that_ended_are_forgotten() {
        let calls = ScopeState::new();
        for _ in 0..1_000 {
            let (promise, call) = pending();
            promise.set_result(()).expect("it is the first");
            calls.add(call);
            assert!(known(&calls).len() <= FIRST_SWEEP);
        }
    }

    #[test]
    fn a_drop_has_a_number_of_its_own_while_it_lasts() {
        let calls = ScopeState::new();
        let drops = || calls.state.lock().drops.clone();
        let [outer, inner] = [LiveTask::of(&calls), LiveTask::of(&calls)];
        outer.while_dropping(|| {
            let first = drops();
            inner.while_dropping(|| {
                let both = drops();
                assert!(both.len() == 2 && both[0] != both[1] && first == both[..1]);
                assert!(both.iter().all(|number| number % 2 == 1), "no address is odd");
            });
            assert_eq!(drops(), first);
        });
        assert!(drops().is_empty());
    }

    #[test]
    fn the_more_are_left_the_less_often_they_are_looked_through() {
        let calls = ScopeState::new();
        let promises: Vec<_> = (0..300)
            .map(|_| {
                let (promise, call) = pending();
                calls.add(call);
                promise
            })
            .collect();
        assert_eq!(known(&calls).len(), promises.len());
        assert_eq!(calls.state.lock().sweep_at, 512);
    }

    #[test]
    fn the_next_call_is_found_where_others_were_forgotten() {
        let calls = ScopeState::new();
        let mut promises = Vec::new();
        for _ in 0..60 {
            let (promise, call) = pending();
            calls.add(call);
            promises.push(Some(promise));
        }
        let left = [0, 7, 8, 20, 59];
        for (number, promise) in promises.iter_mut().enumerate() {
            if !left.contains(&number) {
                promise.take().expect("it is there").set_result(()).expect("it is the first");
            }
        }
        let forgotten = calls.state.lock().sweep();
        drop(forgotten);
        assert_eq!(known(&calls), left.map(|number| number as u64));
        for least in 0..62 {
            let expected = left.into_iter().find(|number| *number >= least);
            let next = calls.next(least as u64).map(|(number, _)| number as usize);
            assert_eq!(next, expected, "from {least} on");
        }
    }
}
