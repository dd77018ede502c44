//! A worker's place in the pool: its slot, its channel, its desk.

use std::sync::Arc;
use std::time::Instant;

use rustix::process::Signal;

use super::desk::Desk;
use super::request::ProcessCallRef;
use super::worker_state::{Reason, WorkerPhase, WorkerState};
use crate::error::Error;
use crate::futures::process::channel::sender::Sender;

/// A worker's place in the pool.
pub(crate) struct WorkerHandle {
    pub(crate) slot: WorkerState<ProcessCallRef>,
    pub(crate) link: Option<Sender>,
    pub(crate) desk: Option<Arc<Desk>>,
    /// When the phase of the slot began, as far as a timer depends on it.
    pub(crate) since: Instant,
    /// The call that runs is not cheap; nothing is queued behind it.
    pub(crate) slow: bool,
    /// The worker that starts has said that it is there.
    pub(crate) greeted: bool,
    /// When the supervisor looks at the clock next.
    pub(crate) alarm: Option<Instant>,
}

impl WorkerHandle {
    pub(crate) fn new() -> Self {
        Self {
            slot: WorkerState::new(),
            link: None,
            desk: None,
            since: Instant::now(),
            slow: false,
            greeted: false,
            alarm: None,
        }
    }

    pub(crate) fn start(&mut self, allowance: Option<usize>) {
        self.slot.start(allowance);
        self.since = Instant::now();
        self.slow = false;
        self.greeted = false;
    }

    pub(crate) fn room(&self, depth: Option<usize>) -> usize {
        if self.slow && self.slot.in_flight() > 0 { 0 } else { self.slot.room(depth) }
    }

    /// Tells the worker to end, if it has nothing to do.
    pub(crate) fn retire(&mut self) {
        if self.slot.retire(|task| task.is_over()) {
            self.since = Instant::now();
            if let Some(link) = &mut self.link {
                link.close();
                link.wake(); // from now on its supervisor watches the clock
            }
        }
    }

    /// Has the supervisor look at the clock at this time.
    pub(crate) fn look_again(&mut self, at: Option<Instant>) {
        let late = at.is_some_and(|at| self.alarm.is_none_or(|alarm| at < alarm));
        if let (true, Some(link)) = (late, &self.link) {
            link.wake();
        }
    }

    /// Whether the worker has begun the first of its calls.
    pub(crate) fn has_begun(&self) -> bool {
        self.calls().next().is_some_and(|(_, begun)| begun)
    }

    /// The calls that the worker has, and whether it has begun them.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&ProcessCallRef, bool)> {
        let page = self.link.as_ref().map(Sender::page);
        self.slot
            .calls()
            .map(move |(seq, task)| (task, page.is_some_and(|page| page.has_begun(seq))))
    }

    /// Kills the worker; false if there is none, or it is being killed.
    pub(crate) fn kill(&mut self, reason: Reason, signal: Signal) -> bool {
        let kills = self.slot.kill(reason);
        if let (true, Some(link)) = (kills, &self.link) {
            link.signal(signal);
        }
        kills
    }

    /// How a call ends whose worker somebody has asked to kill; `None` if nobody has.
    pub(crate) fn killed_on_request(&self) -> Option<Error> {
        let asked = self.slot.phase() == WorkerPhase::Killing(Reason::Asked);
        asked.then(|| Error::Killed { pid: self.link.as_ref().map_or(0, |link| link.pid) })
    }

    /// Takes back the calls behind the first `keep`, and tells whether the last of those can still
    /// be running.
    pub(crate) fn take_back(&mut self, keep: usize) -> (Vec<ProcessCallRef>, bool) {
        let Some(link) = &self.link else { return (Vec::new(), true) };
        let behind = self.slot.take_back(keep, |seq| link.page().revoke(seq));
        let still_runs = behind.iter().all(Option::is_some);
        (behind.into_iter().flatten().collect(), still_runs)
    }

    /// The worker is ready for calls.
    pub(crate) fn ready(&mut self) {
        if self.slot.ready() {
            self.since = Instant::now();
        }
    }
}
