//! [`WorkerHandle`]: a worker's place in the pool, with its state, channel and supervisor; and
//! [`WorkerRef`]: the same as its supervisor and the reader of its replies see it.

use std::sync::{Arc, Weak};
use std::time::Instant;

use rustix::process::Signal;

use super::delivery::ProcessCallRef;
use super::incoming::Incoming;
use super::manager::PoolManager;
use super::supervisor::threads::SupervisorThreads;
use super::worker_state::{Reason, WorkerPhase, WorkerState};
use crate::error::Error;
use crate::futures::process::channel::sender::Sender;

/// One worker of a pool, for the threads that look after it: what happens to it, they report here. These
/// decide under the lock of the pool (`answered.rs`, `timers.rs`, `worker_exit.rs`).
#[derive(Clone)]
pub(crate) struct WorkerRef {
    pub(crate) pool: Arc<PoolManager>,
    /// Its place in the pool.
    pub(crate) index: usize,
}

/// A worker's place in the pool.
pub(crate) struct WorkerHandle {
    pub(crate) worker: WorkerState<ProcessCallRef>,
    pub(crate) sender: Option<Sender>,
    /// Owned by its supervisor.
    pub(crate) incoming: Weak<Incoming>,
    pub(crate) supervisor: Option<Arc<SupervisorThreads>>,
    /// When the phase began that a time limit applies to.
    pub(crate) since: Instant,
    /// The running call is not cheap; no call is sent behind it.
    pub(crate) slow: bool,
    /// The worker has sent its hello.
    pub(crate) has_hello: bool,
    /// When the supervisor checks the time next.
    pub(crate) next_timer: Option<Instant>,
}

impl WorkerHandle {
    pub(crate) fn new() -> Self {
        Self {
            worker: WorkerState::new(),
            sender: None,
            incoming: Weak::new(),
            supervisor: None,
            since: Instant::now(),
            slow: false,
            has_hello: false,
            next_timer: None,
        }
    }

    pub(crate) fn start(&mut self, allowance: Option<usize>) {
        self.worker.start(allowance);
        self.since = Instant::now();
        self.slow = false;
        self.has_hello = false;
    }

    pub(crate) fn room(&self, depth: Option<usize>) -> usize {
        if self.slow && self.worker.in_flight() > 0 { 0 } else { self.worker.room(depth) }
    }

    /// Tells the worker to end if it has nothing to do.
    pub(crate) fn retire(&mut self) {
        if self.worker.retire(|task| task.is_done()) {
            self.since = Instant::now();
            if let Some(sender) = &mut self.sender {
                sender.close();
                sender.wake(); // its supervisor limits the time from now on
            }
        }
    }

    /// Makes sure that the supervisor checks the time at `at`.
    pub(crate) fn wake_before(&mut self, at: Option<Instant>) {
        let earlier = at.is_some_and(|at| self.next_timer.is_none_or(|next_timer| at < next_timer));
        if let (true, Some(sender)) = (earlier, &self.sender) {
            sender.wake();
        }
    }

    /// Whether the worker has begun the first of its calls.
    pub(crate) fn has_begun(&self) -> bool {
        self.calls().next().is_some_and(|(_, begun)| begun)
    }

    /// The calls that the worker has, and whether it has begun them.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&ProcessCallRef, bool)> {
        let page = self.sender.as_ref().map(Sender::page);
        self.worker
            .calls()
            .map(move |(seq, task)| (task, page.is_some_and(|page| page.has_begun(seq))))
    }

    /// Kills the worker; false if there is none, or it is being killed already. Then SIGKILL is sent all the
    /// same: the signal before may have been one that the worker ignores.
    pub(crate) fn kill(&mut self, reason: Reason, signal: Signal) -> bool {
        let kills = self.worker.kill(reason);
        if let (true, Some(sender)) = (kills || signal == Signal::KILL, &self.sender) {
            sender.signal(signal);
        }
        kills
    }

    /// The error of a call whose worker was killed on request; `None` if it was not.
    pub(crate) fn killed_on_request(&self) -> Option<Error> {
        let asked = self.worker.phase() == WorkerPhase::Killing(Reason::Asked);
        asked.then(|| Error::Killed { pid: self.sender.as_ref().map_or(0, |sender| sender.pid) })
    }

    /// Takes back the calls behind the first `keep`; also returns whether the last of those can still be
    /// running.
    pub(crate) fn take_back(&mut self, keep: usize) -> (Vec<ProcessCallRef>, bool) {
        let Some(sender) = &self.sender else { return (Vec::new(), true) };
        let behind = self.worker.take_back(keep, |seq| sender.page().revoke(seq));
        let still_runs = behind.iter().all(Option::is_some);
        (behind.into_iter().flatten().collect(), still_runs)
    }

    /// The worker is ready for calls.
    pub(crate) fn ready(&mut self) {
        if self.worker.ready() {
            self.since = Instant::now();
        }
    }
}
