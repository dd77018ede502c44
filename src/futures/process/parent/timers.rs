//! Time limits of workers: start, deadline of a call, slow and stalled calls, idle time, end.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::deferred::Deferred;
use super::manager::{DRAIN, ManagerState, SLOW};
use super::worker_exit::{INITIALIZER_HANGS, NOT_READY, STOPPED};
use super::worker_handle::WorkerRef;
use super::worker_state::{Reason, WorkerPhase};
use crate::futures::remote::segments::Arena;
use crate::futures::sys::program::is_stopped;

/// How long a worker may leave a call that it could begin before another worker gets it.
pub(crate) const STALLED: Duration = Duration::from_millis(100);

/// How often to check whether a worker is ready, in case its wake-up was lost.
const LOOKS_AGAIN: Duration = Duration::from_millis(500);

impl WorkerRef {
    /// Checks the time limits of one worker; returns when to check again, and since when it owes an answer.
    pub(crate) fn on_time(&self) -> (Deferred, Option<Instant>, Option<Instant>) {
        let mut state = self.pool.state.lock();
        let mut deferred = Deferred::default();
        let next = self.check_time(&mut state, &mut deferred);
        let next = earlier(next, self.start_refused(&mut state, &mut deferred));
        let handle = &mut state.handles[self.index];
        handle.next_timer = next;
        (deferred, next, handle.worker.owed().map(|(_, since)| since))
    }

    /// As [`on_time`](Self::on_time), under the lock.
    pub(crate) fn check_time(
        &self,
        state: &mut ManagerState,
        deferred: &mut Deferred,
    ) -> Option<Instant> {
        let settings = self.pool.settings();
        let now = Instant::now();
        let handle = &mut state.handles[self.index];
        let due = |at: Option<Instant>| at.filter(|at| *at <= now).is_some();
        if let Some(sender) = &mut handle.sender {
            sender.armed = false;
        }
        match handle.worker.phase() {
            WorkerPhase::Starting => {
                let at = handle.since.checked_add(settings.start_timeout);
                if due(at) {
                    let how = match &handle.sender {
                        Some(sender) if handle.has_hello && is_stopped(sender.pid) => STOPPED,
                        _ if handle.has_hello => INITIALIZER_HANGS,
                        _ => NOT_READY,
                    };
                    handle.kill(Reason::ProtocolViolation(how), Signal::KILL);
                    return None;
                }
                earlier(at, now.checked_add(LOOKS_AGAIN))
            }
            WorkerPhase::Idle => {
                let mut kept = self.pool.arena().trim(now);
                if let (None, Some(sender)) = (kept, &mut handle.sender) {
                    let _ = sender.send_segment_notes(); // without room they go with the next call
                    // Other workers use the same segments, and may free them at any time.
                    kept = now.checked_add(Arena::KEPT_FOR).filter(|_| sender.has_announced());
                }
                let at = settings.idle_timeout.and_then(|limit| handle.since.checked_add(limit));
                if due(at) {
                    handle.retire();
                    return handle.since.checked_add(DRAIN);
                }
                // Until then the supervisor need not be woken for a call.
                let lingers = handle.since.checked_add(STALLED).filter(|until| *until > now);
                earlier(earlier(at, lingers), kept)
            }
            WorkerPhase::Busy => {
                if let Some(sender) = &mut handle.sender {
                    sender.armed = true;
                }
                let (_, since) = handle.worker.head()?;
                let waits = !handle.has_begun();
                let deadline = settings.deadline.and_then(|limit| since.checked_add(limit));
                if due(deadline) {
                    let (returned, still_runs) = handle.take_back(1);
                    if still_runs && handle.kill(Reason::Deadline, Signal::KILL) {
                        state.counts.killed += 1;
                    }
                    state.requeue(returned);
                    deferred.add(self.pool.balance(state));
                    return None; // the end of the worker or an answer is about to come
                }
                let slow = since.checked_add(SLOW).filter(|_| !handle.slow);
                if due(slow) {
                    handle.slow = true;
                    let (returned, _) = handle.take_back(1);
                    state.requeue(returned);
                    deferred.add(self.pool.balance(state));
                }
                let stalled = since.checked_add(STALLED).filter(|_| waits);
                if due(stalled) {
                    return earlier(deadline, self.stalls(state, deferred));
                }
                earlier(deadline, earlier(slow.filter(|slow| *slow > now), stalled))
            }
            WorkerPhase::Draining => {
                let at = handle.since.checked_add(DRAIN);
                if due(at) {
                    if let Some(sender) = &handle.sender {
                        sender.signal(Signal::KILL);
                    }
                    return None;
                }
                at
            }
            WorkerPhase::Killing(reason) => {
                // It may ignore the signal of `terminate_workers`.
                let (_, since) = handle.worker.head()?;
                let deadline = settings.deadline.and_then(|limit| since.checked_add(limit));
                if due(deadline) {
                    handle.kill(reason, Signal::KILL);
                    return None;
                }
                deadline
            }
            WorkerPhase::Empty | WorkerPhase::Exited => None,
        }
    }

    /// Starts workers that the system refused a moment ago; returns when to do that, if calls wait for them.
    fn start_refused(&self, state: &mut ManagerState, deferred: &mut Deferred) -> Option<Instant> {
        let until = state.refused_until.filter(|_| !state.queue.is_empty())?;
        if until > Instant::now() {
            return Some(until);
        }
        state.refused_until = None;
        deferred.add(self.pool.balance(state));
        state.refused_until
    }

    /// A worker has not begun its first call for long: it is stopped, or hangs. Takes its calls back if
    /// another worker can run them; otherwise returns when to check again.
    fn stalls(&self, state: &mut ManagerState, deferred: &mut Deferred) -> Option<Instant> {
        if let Some(sender) = &state.handles[self.index].sender {
            sender.ring(); // the system may have refused the wake-up
        }
        let depth = self.pool.settings().prefetch;
        let mut others = state.handles.iter().enumerate().filter(|(other, _)| *other != self.index);
        let alive = state.handles.iter().filter(|handle| handle.worker.is_alive()).count();
        let can_grow = alive < self.pool.settings().max_workers;
        if !can_grow && !others.any(|(_, handle)| handle.room(depth) > 0) {
            return Instant::now().checked_add(STALLED);
        }
        let handle = &mut state.handles[self.index];
        handle.slow = true; // it gets no further call until it has skipped these
        let (returned, _) = handle.take_back(0);
        state.requeue(returned);
        deferred.add(self.pool.balance(state));
        None
    }
}

pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
