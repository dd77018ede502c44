//! The queue and the workers, and every decision about them, under one lock.
//!
//! Under the lock there are only short things: bookkeeping, writes that cannot block, signals.
//! Calls are ended after it was released, because that runs user code: what is to be ended is
//! collected in [`Deferred`]. Whether a worker is needed is read from the slots each time, never
//! from a counter kept beside them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::deferred::Deferred;
use super::desk::Desk;
use super::request::{ProcessCallRef, undelivered};
use super::supervisor::Supervisor;
use super::timers::STALLED;
use super::worker_handle::WorkerHandle;
use super::worker_state::{Reason, WorkerPhase};
use crate::error::{Cause, Error, Result};
use crate::futures::process::builder::ProcessSettings;
use crate::futures::process::channel::ring::OVERWRITTEN;
use crate::futures::process::channel::sender::{BUDGET, Sender, Unsent};
use crate::futures::process::handshake::Welcome;
use crate::futures::remote::segments::Arena;
use crate::futures::sys::fork::generation;
use crate::sync::{Condvar, Mutex, MutexGuard, wait_until};

/// A call that runs this long is no longer cheap: what is queued behind it in the same worker goes
/// back to where any worker can take it.
pub(crate) const SLOW: Duration = Duration::from_millis(2);

/// How long a worker that was told to end may take.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

const FORKED: &str = "this process is a fork of the one that made the pool: workers are that one's";

/// What submitters and supervisors share.
pub(crate) struct PoolManager {
    pub(crate) state: Mutex<ManagerState>,
    /// A worker has ended.
    gone: Condvar,
    settings: ProcessSettings,
    arena: Arena,
    welcome: Welcome,
    /// Of the process that made the pool; that of a fork is another.
    generation: u64,
}

pub(crate) struct ManagerState {
    pub(crate) queue: VecDeque<ProcessCallRef>,
    pub(crate) handles: Vec<WorkerHandle>,
    pub(crate) closing: bool,
    /// Its workers were told to end at once: what comes back is not run again.
    pub(crate) terminated: bool,
    /// Why the pool is broken.
    pub(crate) broken: Option<Cause<Error>>,
    /// Ends in a row without an answer to any call.
    pub(crate) deaths_without_progress: u32,
    pub(crate) counts: CallCounts,
    /// Frames that are about to be written.
    batch: Vec<u8>,
    /// Until when no worker is started beside those there are: the system has just refused one.
    pub(crate) refused_until: Option<Instant>,
    /// Starts in a row that the system refused.
    pub(crate) refusals: u32,
    /// Desks whose place another worker has, with threads to be joined.
    finished: Vec<Arc<Desk>>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallCounts {
    pub(crate) submitted: u64,
    pub(crate) answered: u64,
    pub(crate) started: u64,
    pub(crate) died: u64,
    pub(crate) killed: u64,
}

impl PoolManager {
    pub(crate) fn new(settings: ProcessSettings, arena: Arena, welcome: Welcome) -> Arc<Self> {
        let state = ManagerState {
            queue: VecDeque::new(),
            handles: Vec::new(),
            closing: false,
            terminated: false,
            broken: None,
            deaths_without_progress: 0,
            counts: CallCounts::default(),
            batch: Vec::new(),
            refused_until: None,
            refusals: 0,
            finished: Vec::new(),
        };
        let state = Mutex::new(state);
        let (gone, generation) = (Condvar::new(), generation());
        Arc::new(Self { state, gone, settings, arena, welcome, generation })
    }

    pub(crate) fn settings(&self) -> &ProcessSettings {
        &self.settings
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    pub(crate) fn welcome(&self) -> Welcome {
        self.welcome
    }

    /// Whether this process is a fork of the one that made the pool. Workers, threads and channels are
    /// that one's, and whoever held a lock here may be none of ours.
    pub(crate) fn is_of_parent(&self) -> bool {
        generation() != self.generation
    }

    /// An error if the pool takes no calls.
    pub(crate) fn admits(&self) -> Result<()> {
        if self.is_of_parent() {
            let cause = Cause::new(Error::InvalidArgument(FORKED.into()));
            return Err(Error::BrokenProcessPool { accepted: false, cause });
        }
        self.state.lock().admits()
    }

    /// Queues a call, and sends it at once if there is a worker for it.
    pub(crate) fn submit(self: &Arc<Self>, task: ProcessCallRef) -> Result<()> {
        let after = {
            let mut state = self.state.lock();
            state.admits()?;
            state.counts.submitted += 1;
            state.queue.push_back(task);
            self.balance(&mut state)
        };
        after.run();
        Ok(())
    }

    /// For a call that can be sent now.
    pub(crate) fn look_for_worker(self: &Arc<Self>) -> Deferred {
        self.balance(&mut self.state.lock())
    }

    /// For a call that cannot be sent at all: what waits behind it goes on.
    pub(crate) fn withdraw(self: &Arc<Self>, address: *const ()) -> Deferred {
        let mut state = self.state.lock();
        // Its caller owns it as well, so that nothing of a user's is dropped here.
        state.queue.retain(|task| !std::ptr::eq(task.address(), address));
        self.balance(&mut state)
    }

    /// Gives calls to workers that have room, starts workers for the others, and lets workers end
    /// that are not needed any more.
    pub(crate) fn balance(self: &Arc<Self>, state: &mut ManagerState) -> Deferred {
        let mut after = Deferred::default();
        if state.terminated {
            after.cancelled.extend(state.queue.drain(..));
        }
        if state.broken.is_none() {
            self.hand_out(state, &mut after);
            self.start_workers(state, &mut after);
        }
        if state.closing && state.queue.is_empty() {
            state.handles.iter_mut().for_each(WorkerHandle::retire);
        }
        after
    }

    fn hand_out(&self, state: &mut ManagerState, after: &mut Deferred) {
        let depth = self.settings.prefetch;
        while !state.queue.is_empty() {
            let backlog = state.queue.len();
            let alive = state.handles.iter().filter(|handle| handle.slot.is_alive()).count().max(1);
            let candidates = state.handles.iter().enumerate().filter_map(|(index, handle)| {
                let (room, busy) = (handle.room(depth), handle.slot.in_flight());
                // With a backlog, fewer and larger writes: not before half of it is done.
                let worth = room > 0 && (backlog == 1 || room >= busy);
                worth.then_some((busy, index, room))
            });
            let Some((_, index, room)) = candidates.min() else { return };
            let share = room.min(backlog.div_ceil(alive));
            if !self.give(state, index, share, after) {
                return;
            }
        }
    }

    /// Sends up to `count` calls to a worker; false if it could be given none.
    fn give(
        &self,
        state: &mut ManagerState,
        index: usize,
        count: usize,
        after: &mut Deferred,
    ) -> bool {
        let now = Instant::now();
        let ManagerState { queue, handles, batch, .. } = state;
        let WorkerHandle { slot, link: Some(link), alarm, .. } = &mut handles[index] else {
            return false;
        };
        batch.clear();
        let mut given = 0;
        while given < count {
            let Some(task) = queue.pop_front() else { break };
            if task.is_over() {
                given += 1; // cancelled; that it is gone is progress, too
                continue;
            }
            // ORDERING: Relaxed; it is set under this lock, and unset before it is taken.
            if task.preparing().load(Ordering::Relaxed) {
                queue.push_front(task);
                break; // a thread is at it, and comes back
            }
            let message = task.message().lock();
            let Some(content) = message.as_ref() else {
                drop(message);
                continue; // cancelled just now
            };
            if !content.is_ready() {
                drop(message);
                // ORDERING: Relaxed; as above.
                task.preparing().store(true, Ordering::Relaxed);
                after.unready.push(ProcessCallRef::clone(&task));
                queue.push_front(task);
                break;
            }
            let weight = Sender::weight(content);
            if slot.in_flight() > 0 && slot.bytes() + weight > BUDGET {
                drop(message);
                queue.push_front(task);
                break;
            }
            let seq = slot.next_seq();
            if !task.offer(link.page(), seq) {
                continue;
            }
            let framed = link.frame(batch, seq, content);
            drop(message);
            if let Err(unsent) = framed {
                task.returned();
                if slot.in_flight() > 0 {
                    queue.push_front(task); // when an answer has come it can be sent, perhaps
                    break;
                }
                match unsent {
                    Unsent::Refused(error) => {
                        let why = format!("its descriptors could not be sent: {error}");
                        after.failed.push((task, undelivered(&why)));
                        given += 1;
                        continue;
                    }
                    Unsent::NoRoom => {
                        queue.push_front(task);
                        if slot
                            .kill(Reason::ProtocolViolation("it does not receive its descriptors"))
                        {
                            link.signal(Signal::KILL);
                        }
                        break;
                    }
                }
            }
            slot.dispatch(task, weight, now);
            given += 1;
        }
        if let Err(error) = link.write(batch) {
            let how = match error {
                OVERWRITTEN => "it claims to have read what was not written",
                _ => "there was no room for its calls",
            };
            if slot.kill(Reason::ProtocolViolation(how)) {
                link.signal(Signal::KILL);
            }
        }
        let watched = slot.in_flight() > 1 || self.settings.deadline.is_some();
        let soon = now + STALLED;
        if watched && !link.armed || alarm.is_none_or(|alarm| alarm > soon) {
            link.armed |= watched;
            *alarm = Some(soon); // or before: it looks as soon as it is awake
            link.wake();
        }
        given > 0
    }

    fn start_workers(self: &Arc<Self>, state: &mut ManagerState, after: &mut Deferred) {
        loop {
            let phases = state.handles.iter().map(|handle| handle.slot.phase());
            let starting = phases.clone().filter(|phase| *phase == WorkerPhase::Starting).count();
            let alive = state.handles.iter().filter(|handle| handle.slot.is_alive()).count();
            if state.queue.len() <= starting || alive >= self.settings.max_workers {
                return;
            }
            let refused = state.refused_until.is_some_and(|until| Instant::now() < until);
            if refused && alive > 0 {
                return;
            }
            let empty = phases.clone().position(|phase| phase == WorkerPhase::Empty);
            let index = empty.unwrap_or(state.handles.len());
            if index == state.handles.len() {
                if index >= self.settings.max_workers {
                    return; // its worker has just ended: its supervisor decides
                }
                state.handles.push(WorkerHandle::new());
            }
            let supervisor = Supervisor::new(self, index);
            match Desk::open(format!("ProcessPool-{index}"), supervisor) {
                Ok(desk) => {
                    state.counts.started += 1;
                    let handle = &mut state.handles[index];
                    handle.start(self.settings.max_tasks_per_child);
                    state.finished.extend(handle.desk.replace(desk));
                    state.finished.retain(|desk| !desk.has_ended());
                }
                Err(error) if alive == 0 => {
                    // Nobody is there who could run what is queued. The next call finds out anew.
                    state.fail_queued(&Error::ThreadStart(Cause::new(error)), after);
                    return;
                }
                Err(_) => return, // with those there are
            }
        }
    }

    /// Takes no more calls; false if that was so already.
    pub(crate) fn close(self: &Arc<Self>) -> bool {
        if self.is_of_parent() {
            return false;
        }
        let (after, first) = {
            let mut state = self.state.lock();
            let first = !std::mem::replace(&mut state.closing, true);
            (self.balance(&mut state), first)
        };
        after.run();
        first
    }

    /// Cancels what has not started; gives how many calls that were.
    pub(crate) fn cancel_pending(self: &Arc<Self>) -> usize {
        if self.is_of_parent() {
            return 0;
        }
        let after = {
            let mut state = self.state.lock();
            let mut after = Deferred::default();
            for handle in &mut state.handles {
                after.cancelled.extend(handle.take_back(0).0);
            }
            after.cancelled.extend(state.queue.drain(..));
            after.add(self.balance(&mut state));
            after
        };
        after.run()
    }

    /// Signals all workers; with that the pool is at its end.
    pub(crate) fn signal_workers(self: &Arc<Self>, signal: Signal) {
        if self.is_of_parent() {
            return;
        }
        {
            let mut state = self.state.lock();
            state.closing = true;
            state.terminated = true;
            let mut killed = 0;
            for handle in &mut state.handles {
                killed += u64::from(handle.kill(Reason::Stop, signal));
                if let Some(link) = &handle.link {
                    // One that is stopped hears of the signal when it goes on.
                    link.signal(Signal::CONT);
                }
                // One that does not heed the signal ends after its call.
                handle.link.iter_mut().for_each(Sender::close);
            }
            state.counts.killed += killed;
        }
        self.cancel_pending();
    }

    /// Waits until there is no worker, and no supervisor; false if time ran out before.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        if self.is_of_parent() {
            return true;
        }
        let mut state = self.state.lock();
        while state.handles.iter().any(|handle| handle.slot.phase() != WorkerPhase::Empty) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            wait_until(&self.gone, &mut state, deadline);
        }
        let mut desks = state.finished.clone();
        desks.extend(state.handles.iter().filter_map(|handle| handle.desk.clone()));
        drop(state);
        desks.iter().all(|desk| desk.join(deadline))
    }

    /// Calls that wait and calls that run.
    pub(crate) fn left(&self) -> (usize, usize) {
        let state = self.state.lock();
        let (waiting, running) = state.left();
        (waiting, running)
    }

    /// Kills the worker that runs the call at this address; false if none does.
    pub(crate) fn kill_call(self: &Arc<Self>, address: *const ()) -> bool {
        if self.is_of_parent() {
            return false;
        }
        let (after, killed) = {
            let mut state = self.state.lock();
            let is_it = |task: &ProcessCallRef| std::ptr::eq(task.address(), address);
            let found = state.handles.iter().enumerate().find_map(|(index, handle)| {
                handle.slot.position(is_it).map(|position| (index, position))
            });
            let Some((index, position)) = found else { return false };
            // What is behind it must not start, or the kill might hit the next call instead.
            let (returned, still_runs) = state.handles[index].take_back(position + 1);
            state.requeue(returned);
            let killed = still_runs && state.handles[index].kill(Reason::Asked, Signal::KILL);
            state.counts.killed += u64::from(killed);
            (self.balance(&mut state), killed)
        };
        after.run();
        killed
    }

    pub(crate) fn notify_gone(&self, _state: &MutexGuard<'_, ManagerState>) {
        self.gone.notify_all();
    }
}

impl ManagerState {
    fn admits(&self) -> Result<()> {
        if let Some(cause) = &self.broken {
            return Err(Error::BrokenProcessPool { accepted: false, cause: Cause::clone(cause) });
        }
        if self.closing { Err(Error::Shutdown) } else { Ok(()) }
    }

    pub(crate) fn left(&self) -> (usize, usize) {
        let queued = self.queue.iter().filter(|task| !task.is_over()).count();
        let sent =
            self.handles.iter().flat_map(WorkerHandle::calls).filter(|(task, _)| !task.is_over());
        sent.fold(
            (queued, 0),
            |(waiting, running), (_, begun)| {
                if begun { (waiting, running + 1) } else { (waiting + 1, running) }
            },
        )
    }

    /// Puts calls back where they came from: in front, in order.
    pub(crate) fn requeue(&mut self, tasks: Vec<ProcessCallRef>) {
        for task in tasks.into_iter().rev() {
            task.returned();
            self.queue.push_front(task);
        }
    }
}
