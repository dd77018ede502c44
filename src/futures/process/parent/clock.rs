//! What becomes of workers as time goes by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::crew::{DRAIN, SLOW, Shared, State};
use super::deferred::Deferred;
use super::ends::{INITIALIZER_HANGS, NOT_READY, STOPPED};
use super::slot::{Phase, Reason};
use crate::futures::process::shm::segments::Arena;
use crate::futures::process::sys::program::is_stopped;

/// How long a worker may leave a call that it could begin before somebody else gets it.
pub(crate) const STALLED: Duration = Duration::from_millis(100);

/// When to look whether a worker is ready, should its wake-up be lost.
const LOOKS_AGAIN: Duration = Duration::from_millis(500);

impl Shared {
    /// Looks at the clock for one worker; gives when to look again, and since when it owes an answer.
    pub(crate) fn on_time(
        self: &Arc<Self>,
        index: usize,
    ) -> (Deferred, Option<Instant>, Option<Instant>) {
        let mut state = self.state.lock();
        let mut deferred = Deferred::default();
        let next = self.check_time(&mut state, index, &mut deferred);
        let seat = &mut state.seats[index];
        seat.alarm = next;
        (deferred, next, seat.slot.owed().map(|(_, since)| since))
    }

    pub(crate) fn check_time(
        self: &Arc<Self>,
        state: &mut State,
        index: usize,
        deferred: &mut Deferred,
    ) -> Option<Instant> {
        let settings = self.settings();
        let now = Instant::now();
        let seat = &mut state.seats[index];
        let due = |at: Option<Instant>| at.filter(|at| *at <= now).is_some();
        if let Some(link) = &mut seat.link {
            link.armed = false;
        }
        match seat.slot.phase() {
            Phase::Starting => {
                let at = seat.since.checked_add(settings.start_timeout);
                if due(at) {
                    let how = match &seat.link {
                        Some(link) if seat.greeted && is_stopped(link.pid) => STOPPED,
                        _ if seat.greeted => INITIALIZER_HANGS,
                        _ => NOT_READY,
                    };
                    seat.kill(Reason::Unruly(how), Signal::KILL);
                    return None;
                }
                earlier(at, now.checked_add(LOOKS_AGAIN))
            }
            Phase::Idle => {
                let mut kept = self.arena().trim(now);
                if let (None, Some(link)) = (kept, &mut seat.link) {
                    let _ = link.ask_to_tidy(); // if there is no room it is told with the next call
                    // Others use what it keeps, and may be the last to do so.
                    kept = now.checked_add(Arena::KEPT_FOR).filter(|_| link.has_announced());
                }
                let at = settings.idle_timeout.and_then(|limit| seat.since.checked_add(limit));
                if due(at) {
                    seat.retire();
                    return seat.since.checked_add(DRAIN);
                }
                // So long the supervisor need not be woken for a call.
                let lingers = seat.since.checked_add(STALLED).filter(|until| *until > now);
                earlier(earlier(at, lingers), kept)
            }
            Phase::Busy => {
                if let Some(link) = &mut seat.link {
                    link.armed = true;
                }
                let (_, since) = seat.slot.head()?;
                let waits = !seat.has_begun();
                let deadline = settings.deadline.and_then(|limit| since.checked_add(limit));
                if due(deadline) {
                    let (returned, still_runs) = seat.take_back(1);
                    if still_runs && seat.kill(Reason::Deadline, Signal::KILL) {
                        state.counts.killed += 1;
                    }
                    state.requeue(returned);
                    deferred.add(self.balance(state));
                    return None; // an end or an answer is about to come
                }
                let slow = since.checked_add(SLOW).filter(|_| !seat.slow);
                if due(slow) {
                    seat.slow = true;
                    let (returned, _) = seat.take_back(1);
                    state.requeue(returned);
                    deferred.add(self.balance(state));
                }
                let stalled = since.checked_add(STALLED).filter(|_| waits);
                if due(stalled) {
                    return earlier(deadline, self.stalls(state, index, deferred));
                }
                earlier(deadline, earlier(slow.filter(|slow| *slow > now), stalled))
            }
            Phase::Draining => {
                let at = seat.since.checked_add(DRAIN);
                if due(at) {
                    if let Some(link) = &seat.link {
                        link.signal(Signal::KILL);
                    }
                    return None;
                }
                at
            }
            Phase::Empty | Phase::Killing(_) | Phase::Exited => None,
        }
    }

    /// A worker has not begun its first call for long: it is stopped, or hangs. Takes back what it
    /// has if somebody else can do it; gives when to look again if not.
    fn stalls(
        self: &Arc<Self>,
        state: &mut State,
        index: usize,
        deferred: &mut Deferred,
    ) -> Option<Instant> {
        if let Some(link) = &state.seats[index].link {
            link.ring(); // the system may have refused that before
        }
        let depth = self.settings().prefetch;
        let mut others = state.seats.iter().enumerate().filter(|(other, _)| *other != index);
        let alive = state.seats.iter().filter(|seat| seat.slot.is_alive()).count();
        let can_grow = alive < self.settings().max_workers;
        if !can_grow && !others.any(|(_, seat)| seat.room(depth) > 0) {
            return Instant::now().checked_add(STALLED);
        }
        let seat = &mut state.seats[index];
        seat.slow = true; // it is given no more before it has said that it skipped these
        let (returned, _) = seat.take_back(0);
        state.requeue(returned);
        deferred.add(self.balance(state));
        None
    }
}

pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
