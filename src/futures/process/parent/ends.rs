//! How workers end, and what that means for the calls they had and for the pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;
use rustix::process::Signal;

use super::crew::{Shared, State};
use super::deferred::Deferred;
use super::slot::{Aftermath, Phase, Reason};
use super::spawn::Ended;
use super::task::Task;
use crate::error::WorkerDeath;
use crate::error::{Cause, Error};
use crate::futures::process::builder::OnWorkerDeath;
use crate::futures::process::channel::link::Link;
use crate::futures::process::child::worker::LOST;

/// What a dynamic loader exits with that cannot load its program.
const NOT_LOADED: i32 = 127;

/// Deaths in a row without an answer to any call, and over no call, after which a pool that would
/// replace its workers is broken.
const STORM: u32 = 5;

/// How often in a row the system may refuse a process to a pool that has none.
const REFUSALS: u32 = 60;

/// How long to do with the workers there are after the system refused one.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Why a worker is killed whose start takes too long.
pub(crate) const NOT_READY: &str =
    "it was not ready in time (`start_timeout`): what does `main` do before `process::init()`?";
/// Why a worker is killed that twice knows nothing of what it owes.
pub(crate) const OUT_OF_STEP: &str = "it owes an answer and knows nothing of that: has its call overwritten memory that is not its own?";
/// The same if the system did not let the pool wake it.
pub(crate) const NOT_WOKEN: &str = "the system had no memory to wake it with";
pub(crate) const STOPPED: &str = "it was stopped (SIGSTOP) while its initializer ran";
pub(crate) const INITIALIZER_HANGS: &str = "its initializer did not end in time (`start_timeout`)";

/// What a supervisor does after its worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Starts another one.
    Start,
    /// The same, after a moment.
    StartLater,
    /// Ends.
    Stop,
}

impl Shared {
    /// The worker that a supervisor started could be connected.
    pub(crate) fn connected(&self, index: usize, link: Link) {
        let mut state = self.state.lock();
        let seat = &mut state.seats[index];
        if matches!(seat.slot.phase(), Phase::Killing(_)) {
            link.signal(Signal::KILL); // it was not wanted any more while it was started
        }
        seat.link = Some(link);
    }

    /// A worker has said that it is there; it may still have to run its initializer.
    pub(crate) fn greeted(&self, index: usize) {
        self.state.lock().seats[index].greeted = true;
    }

    /// Kills a worker that breaks the rules of its channel. One that was told to end may leave it
    /// before: it has [`DRAIN`] for that.
    pub(crate) fn unruly(&self, index: usize, how: &'static str) {
        let seat = &mut self.state.lock().seats[index];
        if seat.slot.phase() != Phase::Draining {
            seat.kill(Reason::Unruly(how), Signal::KILL);
        }
    }

    /// The call whose answer a worker owes.
    pub(crate) fn owed(&self, index: usize) -> Option<u64> {
        self.state.lock().seats[index].slot.owed().map(|(seq, _)| seq)
    }

    /// Wakes a worker that may have missed that; false if the system refuses it.
    pub(crate) fn ring(&self, index: usize) -> bool {
        self.state.lock().seats[index].link.as_ref().is_none_or(Link::ring)
    }

    /// A worker could not be started, or could not take its order because the system refused it
    /// something. The link is to be dropped last.
    pub(crate) fn start_failed(
        self: &Arc<Self>,
        index: usize,
        error: std::io::Error,
    ) -> (Deferred, Next, Option<Link>) {
        let mut state = self.state.lock();
        let mut deferred = Deferred::default();
        let seat = &mut state.seats[index];
        let link = seat.link.take();
        let wanted = seat.slot.phase() == Phase::Starting;
        let aftermath = seat.slot.exited(|_| false);
        debug_assert!(aftermath.in_doubt.is_empty() && aftermath.unstarted.is_empty());
        seat.slot.clear();
        let others = state.seats.iter().any(|seat| seat.slot.is_alive());
        let needed = wanted && !others && !state.queue.is_empty() && state.broken.is_none();
        state.refusals += 1;
        if needed && state.refusals < REFUSALS {
            // What the supervisors that gave up before this one have had may be free by now.
            state.counts.started += 1;
            state.seats[index].start(self.settings().max_tasks_per_child);
            return (deferred, Next::StartLater, link);
        }
        if needed {
            // Nobody is left who could run what is queued. The next call finds out anew.
            state.refusals = 0;
            state.fail_queued(&Error::ProcessStart(Cause::new(error)), &mut deferred);
        } else if wanted {
            state.refused_until = Instant::now().checked_add(BACK_OFF);
            deferred.log(Level::Warn, format!("a worker process cannot be started: {error}"));
        }
        deferred.add(self.balance(&mut state));
        self.notify_gone(&state);
        (deferred, Next::Stop, link)
    }

    /// The process of a worker has ended, and its last answers have been read. `start_error` is
    /// why it could not get ready, `excuse` why it could not take its order, if it said so. The link is to be dropped last.
    pub(crate) fn ended(
        self: &Arc<Self>,
        index: usize,
        ended: Ended,
        start_error: Option<Error>,
        excuse: Option<String>,
    ) -> (Deferred, Next, Option<Link>) {
        let mut state = self.state.lock();
        let mut deferred = Deferred::default();
        let seat = &mut state.seats[index];
        let link = seat.link.take();
        let begun = |seq| link.as_ref().is_some_and(|link| link.page().may_have_begun(seq));
        let aftermath = seat.slot.exited(begun);
        let death = describe(&aftermath, ended, link.as_ref(), excuse);
        // The next call that comes finds a worker as if nothing had happened.
        let eager = !aftermath.in_doubt.is_empty();
        self.settle(&mut state, aftermath, death, start_error, &mut deferred);
        state.seats[index].slot.clear();
        let next = self.replace(&mut state, index, eager);
        deferred.add(self.balance(&mut state));
        self.notify_gone(&state);
        (deferred, next, link)
    }

    /// Decides about the calls that a worker leaves, and about the pool.
    fn settle(
        &self,
        state: &mut State,
        aftermath: Aftermath<Task>,
        death: WorkerDeath,
        start_error: Option<Error>,
        deferred: &mut Deferred,
    ) {
        let Aftermath { reason, was_draining, in_doubt, unstarted, .. } = aftermath;
        state.requeue(unstarted);
        let fail = |deferred: &mut Deferred, error: Error| {
            deferred.failed.extend(in_doubt.iter().map(|task| (Task::clone(task), error.clone())));
        };
        let pid = death.pid;
        match reason {
            Some(Reason::Asked) => return fail(deferred, Error::Killed { pid }),
            Some(Reason::Deadline) => {
                let limit = self.settings().deadline.unwrap_or_default();
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
            None | Some(Reason::Unruly(_)) => {}
        }
        state.counts.died += 1;
        if let Some(error) = start_error {
            deferred.log(Level::Error, format!("Exception in initializer: {error}"));
            return state.break_off(Cause::new(error), deferred);
        }
        deferred.log(Level::Warn, death.to_string());
        if reason == Some(Reason::Unruly(INITIALIZER_HANGS)) {
            // The next one would hang as well.
            let cause = Error::WorkerDied(Cause::new(death));
            return state.break_off(Cause::new(cause), deferred);
        }
        if in_doubt.is_empty() {
            state.fruitless += 1;
        }
        let storm = state.fruitless >= STORM;
        let cause = Cause::new(Error::WorkerDied(Cause::new(death.clone())));
        match (self.settings().on_worker_death, in_doubt) {
            (OnWorkerDeath::BreakPool, in_doubt) => {
                // In front: they are the first to hear.
                in_doubt.into_iter().rev().for_each(|task| state.queue.push_front(task));
                state.break_off(cause, deferred);
            }
            (_, in_doubt) if in_doubt.is_empty() && storm => state.break_off(cause, deferred),
            (policy, in_doubt) => {
                let times = if let OnWorkerDeath::Retry(times) = policy { times } else { 0 };
                let again = |task: &Task| times > 0 && task.count_death() <= times;
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

    /// Whether the supervisor of a seat that is free now starts another worker in it: if calls wait for
    /// one, or if a call has just cost the pool one.
    fn replace(&self, state: &mut State, index: usize, eager: bool) -> Next {
        let starting =
            state.seats.iter().filter(|seat| seat.slot.phase() == Phase::Starting).count();
        let wanted = state.queue.len() > starting || eager && !state.closing;
        if state.broken.is_some() || !wanted {
            return Next::Stop;
        }
        state.counts.started += 1;
        state.seats[index].start(self.settings().max_tasks_per_child);
        Next::Start
    }
}

/// What is known of an end.
fn describe(
    aftermath: &Aftermath<Task>,
    ended: Ended,
    link: Option<&Link>,
    excuse: Option<String>,
) -> WorkerDeath {
    let last_words = link.and_then(|link| link.page().last_words()).or(excuse);
    let note = match aftermath.reason {
        Some(Reason::Unruly(how)) => Some(how),
        _ if !aftermath.was_ready && ended.exit_code == Some(NOT_LOADED) => {
            Some("its program could not be loaded: its standard error says why")
        }
        _ if !aftermath.was_ready && ended.exit_code == Some(LOST) && last_words.is_some() => {
            Some("it could not take its order from the pool")
        }
        _ if !aftermath.was_ready && ended.exit_code == Some(LOST) => {
            Some("it could not take its order from the pool: its standard error says why")
        }
        _ if !aftermath.was_ready => {
            Some("it was not ready yet: does `main` begin with `process::init()`?")
        }
        _ => None,
    };
    WorkerDeath {
        pid: link.map_or(0, |link| link.pid),
        exit_code: ended.exit_code,
        signal: ended.signal,
        call: aftermath.in_doubt.first().map(|task| task.description()),
        last_words,
        note,
        by_pool: aftermath.reason.is_some(),
        ..WorkerDeath::default()
    }
}

impl State {
    /// Fails the calls that wait for a worker that is not to be had.
    pub(crate) fn fail_queued(&mut self, error: &Error, deferred: &mut Deferred) {
        deferred.failed.extend(self.queue.drain(..).map(|task| (task, error.clone())));
    }

    /// Breaks the pool: fails all calls, each with an error of its own, and kills all workers.
    pub(crate) fn break_off(&mut self, cause: Cause<Error>, deferred: &mut Deferred) {
        let mut tasks: Vec<Task> = Vec::new();
        for seat in &mut self.seats {
            tasks.extend(seat.slot.give_up());
            seat.kill(Reason::Stop, Signal::KILL);
        }
        let queued: Vec<Task> = self.queue.drain(..).collect();
        for task in queued.into_iter().chain(tasks) {
            let cause = Cause::new(Error::clone(&cause));
            deferred.failed.push((task, Error::BrokenProcessPool { accepted: true, cause }));
        }
        self.broken = Some(cause);
    }
}
