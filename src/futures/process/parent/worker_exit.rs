//! Ends of workers, and what becomes of their calls and of the pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;
use rustix::process::Signal;

use super::deferred::Deferred;
use super::delivery::ProcessCallRef;
use super::incoming::Incoming;
use super::manager::ManagerState;
use super::spawn::Ended;
use super::worker_handle::WorkerRef;
use super::worker_state::{Aftermath, Reason, WorkerPhase};
use crate::error::WorkerDeath;
use crate::error::{Cause, Error};
use crate::futures::process::channel::sender::Sender;
use crate::futures::process::child::run::LOST;
use crate::futures::process::options::OnWorkerDeath;

/// Exit code of a dynamic loader that cannot load its program.
const NOT_LOADED: i32 = 127;

/// After this many deaths in a row, without an answer to any call and while no call ran, a pool that
/// replaces its workers is broken.
const MAX_CRASH_LOOP: u32 = 5;

/// How many times in a row the system may refuse a process to a pool without workers.
const REFUSALS: u32 = 60;

/// How long a pool goes on with fewer workers after the system has refused one.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The reason for killing a worker whose start takes too long.
pub(crate) const NOT_READY: &str =
    "it was not ready in time (`start_timeout`): what does `main` do before `process::init()`?";
/// The reason for killing a worker that denies twice that it runs the call whose answer it owes.
pub(crate) const OUT_OF_STEP: &str =
    "it does not know of the call that it must answer: has a call written to memory not its own?";
/// The same if the system did not let the pool wake the worker.
pub(crate) const NOT_WOKEN: &str = "the system had no memory to wake it with";
pub(crate) const STOPPED: &str = "it was stopped (SIGSTOP) while its initializer ran";
const INITIALIZER_ENDED: &str = "it ended while its initializer ran";
pub(crate) const INITIALIZER_HANGS: &str = "its initializer did not end in time (`start_timeout`)";

/// The supervisor's next action after the end of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterExit {
    /// Starts another worker.
    Start,
    /// The same, after a moment.
    StartLater,
    /// Ends.
    Stop,
}

impl WorkerRef {
    /// A worker was started and has its channel.
    pub(crate) fn connected(&self, sender: Sender, incoming: &Arc<Incoming>) {
        let mut state = self.pool.state.lock();
        let handle = &mut state.handles[self.index];
        if matches!(handle.worker.phase(), WorkerPhase::Killing(_)) {
            sender.signal(Signal::KILL); // it was killed while it was starting
        }
        handle.sender = Some(sender);
        handle.incoming = Arc::downgrade(incoming);
    }

    /// A worker has sent its hello; it may still have to run its initializer.
    pub(crate) fn hello_came(&self) {
        self.pool.state.lock().handles[self.index].has_hello = true;
    }

    /// Kills a worker that breaks the protocol of its channel. A worker that was told to end may leave the
    /// channel earlier than it ends: it has [`DRAIN`](super::manager::DRAIN) for that.
    pub(crate) fn violated_protocol(&self, how: &'static str) {
        let handle = &mut self.pool.state.lock().handles[self.index];
        if handle.worker.phase() != WorkerPhase::Draining {
            handle.kill(Reason::ProtocolViolation(how), Signal::KILL);
        }
    }

    /// The call whose answer a worker owes.
    pub(crate) fn owed(&self) -> Option<u64> {
        self.pool.state.lock().handles[self.index].worker.owed().map(|(seq, _)| seq)
    }

    /// Wakes a worker that may have missed a wake-up; false if the system refuses it.
    pub(crate) fn ring(&self) -> bool {
        self.pool.state.lock().handles[self.index].sender.as_ref().is_none_or(Sender::ring)
    }

    /// A worker could not be started, or could not set itself up because the system refused it something.
    /// The caller drops the sender last.
    pub(crate) fn start_failed(
        &self,
        error: std::io::Error,
    ) -> (Deferred, AfterExit, Option<Sender>) {
        let mut state = self.pool.state.lock();
        let mut deferred = Deferred::default();
        let handle = &mut state.handles[self.index];
        let sender = handle.sender.take();
        let wanted = handle.worker.phase() == WorkerPhase::Starting;
        let aftermath = handle.worker.exited(|_| false);
        debug_assert!(aftermath.in_doubt.is_empty() && aftermath.unstarted.is_empty());
        handle.worker.clear();
        let others = state.handles.iter().any(|handle| handle.worker.is_alive());
        let needed = wanted && !others && !state.queue.is_empty() && state.broken.is_none();
        if needed && state.refusals < REFUSALS {
            state.refusals += 1;
            // Resources of the supervisors that gave up before this one may be free by now.
            state.counts.started += 1;
            state.handles[self.index].start(self.pool.settings().max_tasks_per_child);
            return (deferred, AfterExit::StartLater, sender);
        }
        if needed {
            // No worker is left to run the queued calls. The next call tries again.
            state.refusals = 0;
            state.fail_queued(&Error::ProcessStart(Cause::new(error)), &mut deferred);
        } else if wanted {
            state.back_off();
            if state.refusals == 0 {
                state.refusals = 1; // so that this is said once until a worker is ready
                deferred.log(Level::Warn, format!("a worker process cannot be started: {error}"));
            }
        }
        deferred.add(self.pool.balance(&mut state));
        self.pool.notify_gone(&state);
        (deferred, AfterExit::Stop, sender)
    }

    /// The process of a worker has ended, and its last answers were read. `start_error` is the failure of its
    /// initializer, `setup_failure` why it could not set itself up, if it said so. The caller drops the sender last.
    pub(crate) fn ended(
        &self,
        ended: Ended,
        start_error: Option<Error>,
        setup_failure: Option<String>,
    ) -> (Deferred, AfterExit, Option<Sender>) {
        let mut state = self.pool.state.lock();
        let mut deferred = Deferred::default();
        let handle = &mut state.handles[self.index];
        let (sender, has_hello) = (handle.sender.take(), handle.has_hello);
        let begun = |seq| sender.as_ref().is_some_and(|sender| sender.page().may_have_begun(seq));
        let aftermath = handle.worker.exited(begun);
        let death = describe(&aftermath, ended, sender.as_ref(), setup_failure, has_hello);
        // Replaces the worker at once, so that the next call does not wait for a start.
        let eager = !aftermath.in_doubt.is_empty();
        self.settle(&mut state, aftermath, death, start_error, &mut deferred);
        state.handles[self.index].worker.clear();
        let next = self.replace(&mut state, eager);
        deferred.add(self.pool.balance(&mut state));
        self.pool.notify_gone(&state);
        (deferred, next, sender)
    }

    /// Decides what becomes of the calls that a worker leaves, and of the pool.
    fn settle(
        &self,
        state: &mut ManagerState,
        aftermath: Aftermath<ProcessCallRef>,
        death: WorkerDeath,
        start_error: Option<Error>,
        deferred: &mut Deferred,
    ) {
        let Aftermath { reason, was_draining, in_doubt, unstarted, .. } = aftermath;
        state.requeue(unstarted);
        let fail = |deferred: &mut Deferred, error: Error| {
            deferred
                .failed
                .extend(in_doubt.iter().map(|task| (ProcessCallRef::clone(task), error.clone())));
        };
        let pid = death.pid;
        match reason {
            Some(Reason::Asked) => return fail(deferred, Error::Killed { pid }),
            Some(Reason::Deadline) => {
                let limit = self.pool.settings().deadline.unwrap_or_default();
                deferred.failed.extend(in_doubt.into_iter().map(|task| {
                    let call = Some(task.description().into());
                    (task, Error::DeadlineExceeded { limit, call })
                }));
                return;
            }
            Some(Reason::Stop) => {
                let cause = Cause::new(Error::WorkerDied(Cause::new(death)));
                return fail(deferred, Error::BrokenProcessPool { accepted: true, cause });
            }
            None if was_draining && in_doubt.is_empty() => return,
            None | Some(Reason::ProtocolViolation(_)) => {}
        }
        state.counts.died += 1;
        if let Some(error) = start_error {
            deferred.log(Level::Error, format!("Exception in initializer: {error}"));
            return state.break_off(Cause::new(error), deferred);
        }
        deferred.log(Level::Warn, death.to_string());
        if reason == Some(Reason::ProtocolViolation(INITIALIZER_HANGS)) {
            // The next worker would hang as well.
            let cause = Error::WorkerDied(Cause::new(death));
            return state.break_off(Cause::new(cause), deferred);
        }
        if in_doubt.is_empty() {
            state.deaths_without_progress += 1;
        }
        let storm = state.deaths_without_progress >= MAX_CRASH_LOOP;
        let cause = Cause::new(Error::WorkerDied(Cause::new(death.clone())));
        match (self.pool.settings().on_worker_death, in_doubt) {
            (OnWorkerDeath::BreakPool, in_doubt) => {
                // In front, so that their callers are the first to be notified.
                in_doubt.into_iter().rev().for_each(|task| state.queue.push_front(task));
                state.break_off(cause, deferred);
            }
            (_, in_doubt) if in_doubt.is_empty() && storm => state.break_off(cause, deferred),
            (policy, in_doubt) => {
                let times = if let OnWorkerDeath::Retry(times) = policy { times } else { 0 };
                let again =
                    |task: &ProcessCallRef| times > 0 && task.delivery().count_death() <= times;
                let (again, failed): (Vec<_>, Vec<_>) = in_doubt.into_iter().partition(again);
                state.requeue(again);
                deferred.failed.extend(failed.into_iter().map(|task| {
                    let call = Some(task.description());
                    let death = WorkerDeath { call, ..death.clone() };
                    (task, Error::WorkerDied(Cause::new(death)))
                }));
            }
        }
    }

    /// Whether the supervisor of a free place starts another worker: if calls wait for one, or if the last
    /// one died with a call.
    fn replace(&self, state: &mut ManagerState, eager: bool) -> AfterExit {
        let starting = state
            .handles
            .iter()
            .filter(|handle| handle.worker.phase() == WorkerPhase::Starting)
            .count();
        let wanted = state.queue.len() > starting || eager && !state.closing;
        if state.broken.is_some() || !wanted {
            return AfterExit::Stop;
        }
        state.counts.started += 1;
        state.handles[self.index].start(self.pool.settings().max_tasks_per_child);
        AfterExit::Start
    }
}

/// Describes the end of a worker, for errors and logs.
fn describe(
    aftermath: &Aftermath<ProcessCallRef>,
    ended: Ended,
    sender: Option<&Sender>,
    setup_failure: Option<String>,
    has_hello: bool,
) -> WorkerDeath {
    let panic_message = sender.and_then(|sender| sender.page().panic_message()).or(setup_failure);
    let note = match aftermath.reason {
        Some(Reason::ProtocolViolation(how)) => Some(how),
        _ if !aftermath.was_ready && has_hello => Some(INITIALIZER_ENDED),
        _ if !aftermath.was_ready && ended.exit_code == Some(NOT_LOADED) => {
            Some("its program could not be loaded: its standard error says why")
        }
        _ if !aftermath.was_ready && ended.exit_code == Some(LOST) && panic_message.is_some() => {
            Some("it could not set itself up as a worker")
        }
        _ if !aftermath.was_ready && ended.exit_code == Some(LOST) => {
            Some("it could not set itself up as a worker: its standard error says why")
        }
        _ if !aftermath.was_ready => {
            Some("it was not ready yet: does `main` begin with `process::init()`?")
        }
        _ => None,
    };
    WorkerDeath {
        pid: sender.map_or(0, |sender| sender.pid),
        exit_code: ended.exit_code,
        signal: ended.signal,
        call: aftermath.in_doubt.first().map(|task| task.description()),
        panic_message,
        note,
        by_pool: aftermath.reason.is_some(),
        ..WorkerDeath::default()
    }
}

impl ManagerState {
    /// The system has refused a worker: goes on for a moment with those that there are.
    pub(super) fn back_off(&mut self) {
        self.refused_until = Instant::now().checked_add(BACK_OFF);
    }

    /// Fails the queued calls, since no worker can be started.
    pub(crate) fn fail_queued(&mut self, error: &Error, deferred: &mut Deferred) {
        deferred.failed.extend(self.queue.drain(..).map(|task| (task, error.clone())));
    }

    /// Breaks the pool: fails all calls, each with an error of its own, and kills all workers.
    pub(crate) fn break_off(&mut self, cause: Cause<Error>, deferred: &mut Deferred) {
        let mut tasks: Vec<ProcessCallRef> = Vec::new();
        for handle in &mut self.handles {
            tasks.extend(handle.worker.give_up());
            handle.kill(Reason::Stop, Signal::KILL);
        }
        let queued: Vec<ProcessCallRef> = self.queue.drain(..).collect();
        for task in queued.into_iter().chain(tasks) {
            let cause = Cause::new(Error::clone(&cause));
            deferred.failed.push((task, Error::BrokenProcessPool { accepted: true, cause }));
        }
        self.broken = Some(cause);
    }
}
