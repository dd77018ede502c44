//! The queue and the workers, and every decision about them, under one lock.
//!
//! Everything under the lock is short: bookkeeping, writes that cannot block, signals. Ending a call runs
//! user code, so it is collected in [`Deferred`] and done after the lock was released. Whether a worker is
//! needed is computed from the states of the workers each time; there is no counter beside them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::deferred::Deferred;
use super::delivery::ProcessCallRef;
use super::supervisor::Supervisor;
use super::supervisor::threads::SupervisorThreads;
use super::timers::STALLED;
use super::worker_handle::{WorkerHandle, WorkerRef};
use super::worker_state::{Reason, WorkerPhase};
use crate::error::{Cause, Error, Result};
use crate::futures::process::channel::message::undelivered;
use crate::futures::process::channel::ring::OVERWRITTEN;
use crate::futures::process::channel::sender::{BUDGET, Sender, Unsent};
use crate::futures::process::handshake::Welcome;
use crate::futures::process::settings::ProcessSettings;
use crate::futures::remote::segments::Arena;
use crate::futures::remote::submit::RemotePool;
use crate::futures::sys::fork::generation;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// A call that runs this long is not cheap: calls behind it in the same worker go back to the queue, where
/// any worker can take them.
pub(crate) const SLOW: Duration = Duration::from_millis(2);

/// How long a worker may take to end after it was told to.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// The part of a pool that submitters and supervisors share.
pub(crate) struct PoolManager {
    pub(crate) state: Mutex<ManagerState>,
    /// Notified when a worker has ended.
    pub(super) gone: Condvar,
    settings: ProcessSettings,
    arena: Arena,
    welcome: Welcome,
    /// Of the process that made the pool; a fork has another one.
    generation: u64,
}

pub(crate) struct ManagerState {
    pub(crate) queue: VecDeque<ProcessCallRef>,
    pub(crate) handles: Vec<WorkerHandle>,
    pub(crate) closing: bool,
    /// The workers were told to end at once: calls that come back do not run again.
    pub(crate) terminated: bool,
    /// Why the pool is broken.
    pub(crate) broken: Option<Cause<Error>>,
    /// Ends of workers in a row without an answer to any call.
    pub(crate) deaths_without_progress: u32,
    pub(crate) counts: CallCounts,
    /// Frames to be written next.
    batch: Vec<u8>,
    /// The system has refused a worker: until this time no further one is started while there are others.
    pub(crate) refused_until: Option<Instant>,
    /// Number of starts in a row that the system refused.
    pub(crate) refusals: u32,
    /// Supervisors that were replaced, and whose threads are still to be joined.
    pub(super) finished: Vec<Arc<SupervisorThreads>>,
}

/// Numbers of events so far.
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

    /// Whether this process is a fork of the one that made the pool. Workers, threads and channels belong to
    /// that one, and a lock may be held by one of its threads.
    pub(crate) fn is_of_parent(&self) -> bool {
        generation() != self.generation
    }

    /// Sends a call that has become ready.
    pub(crate) fn look_for_worker(self: &Arc<Self>) -> Deferred {
        self.balance(&mut self.state.lock())
    }

    /// Removes a call that cannot be sent, so that those behind it go on.
    pub(crate) fn withdraw(self: &Arc<Self>, call: &ProcessCallRef) -> Deferred {
        let mut state = self.state.lock();
        // The caller owns the call as well, so that no user code is dropped here.
        state.queue.retain(|task| !task.is(call.delivery()));
        self.balance(&mut state)
    }

    /// Gives calls to workers that have room, starts workers for the others, and lets workers end that are
    /// no longer needed.
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
            let alive =
                state.handles.iter().filter(|handle| handle.worker.is_alive()).count().max(1);
            let candidates = state.handles.iter().enumerate().filter_map(|(index, handle)| {
                let (room, busy) = (handle.room(depth), handle.worker.in_flight());
                // With a backlog, fewer and larger writes: not before the worker has done half of its calls.
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
        let WorkerHandle { worker, sender: Some(sender), next_timer, .. } = &mut handles[index]
        else {
            return false;
        };
        batch.clear();
        let mut given = 0;
        while given < count {
            let Some(task) = queue.pop_front() else { break };
            if task.is_done() {
                given += 1; // cancelled; removing it is progress, too
                continue;
            }
            let delivery = task.delivery();
            // ORDERING: Relaxed; it is set under this lock, and cleared before this lock is taken.
            if delivery.preparing.load(Ordering::Relaxed) {
                queue.push_front(task);
                break; // a thread makes it ready, and looks for a worker then
            }
            let message = delivery.message.lock();
            let Some(content) = message.as_ref() else {
                drop(message);
                continue; // cancelled just now
            };
            if !content.is_ready() {
                drop(message);
                // ORDERING: Relaxed; as above.
                delivery.preparing.store(true, Ordering::Relaxed);
                after.unready.push(ProcessCallRef::clone(&task));
                queue.push_front(task);
                break;
            }
            let weight = Sender::weight(content);
            if worker.in_flight() > 0 && worker.bytes() + weight > BUDGET {
                drop(message);
                queue.push_front(task);
                break;
            }
            let seq = worker.next_seq();
            if !task.offer(sender.page(), seq) {
                continue;
            }
            let framed = sender.frame(batch, seq, content);
            drop(message);
            if let Err(unsent) = framed {
                task.delivery().returned();
                if worker.in_flight() > 0 {
                    queue.push_front(task); // perhaps it can be sent after the next answer
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
                        if worker
                            .kill(Reason::ProtocolViolation("it does not receive its descriptors"))
                        {
                            sender.signal(Signal::KILL);
                        }
                        break;
                    }
                }
            }
            worker.dispatch(task, weight, now);
            given += 1;
        }
        if let Err(error) = sender.write(batch) {
            let how = match error {
                OVERWRITTEN => "it claims to have read bytes that were not written",
                _ => "there was no room for its calls",
            };
            if worker.kill(Reason::ProtocolViolation(how)) {
                sender.signal(Signal::KILL);
            }
        }
        let watched = worker.in_flight() > 1 || self.settings.deadline.is_some();
        let soon = now + STALLED;
        if watched && !sender.armed || next_timer.is_none_or(|next_timer| next_timer > soon) {
            sender.armed |= watched;
            *next_timer = Some(soon); // or earlier: the supervisor checks when it is awake
            sender.wake();
        }
        given > 0
    }

    fn start_workers(self: &Arc<Self>, state: &mut ManagerState, after: &mut Deferred) {
        loop {
            let phases = state.handles.iter().map(|handle| handle.worker.phase());
            let starting = phases.clone().filter(|phase| *phase == WorkerPhase::Starting).count();
            let alive = state.handles.iter().filter(|handle| handle.worker.is_alive()).count();
            if state.queue.len() <= starting || alive >= self.settings.max_workers {
                return;
            }
            let refused = state.refused_until.filter(|until| alive > 0 && Instant::now() < *until);
            if refused.is_some() {
                // A supervisor of the workers there are tries again then.
                state.handles.iter_mut().for_each(|handle| handle.wake_before(refused));
                return;
            }
            let empty = phases.clone().position(|phase| phase == WorkerPhase::Empty);
            let index = empty.unwrap_or(state.handles.len());
            if index == state.handles.len() {
                if index >= self.settings.max_workers {
                    return; // a worker has just ended: its supervisor decides
                }
                state.handles.push(WorkerHandle::new());
            }
            let worker = WorkerRef { pool: Arc::clone(self), index };
            let supervisor = Supervisor::new(worker);
            match SupervisorThreads::start(format!("ProcessPool-{index}"), supervisor) {
                Ok(threads) => {
                    state.counts.started += 1;
                    let handle = &mut state.handles[index];
                    handle.start(self.settings.max_tasks_per_child);
                    state.finished.extend(handle.supervisor.replace(threads));
                    state.finished.retain(|threads| !threads.have_ended());
                }
                Err(error) if alive == 0 => {
                    // No worker is there to run the queued calls. The next call tries again.
                    state.fail_queued(&Error::ThreadStart(Cause::new(error)), after);
                    return;
                }
                Err(_) => state.back_off(),
            }
        }
    }

    /// Signals all workers, and ends the pool.
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
                if let Some(sender) = &handle.sender {
                    // A stopped worker receives the signal when it goes on.
                    sender.signal(Signal::CONT);
                }
                // A worker that ignores the signal ends after its call.
                handle.sender.iter_mut().for_each(Sender::close);
            }
            state.counts.killed += killed;
        }
        self.cancel_pending();
    }

    pub(crate) fn notify_gone(&self, _state: &MutexGuard<'_, ManagerState>) {
        self.gone.notify_all();
    }
}

impl ManagerState {
    pub(super) fn admits(&self) -> Result<()> {
        if let Some(cause) = &self.broken {
            return Err(Error::BrokenProcessPool { accepted: false, cause: Cause::clone(cause) });
        }
        if self.closing { Err(Error::Shutdown) } else { Ok(()) }
    }

    pub(crate) fn unfinished(&self) -> (usize, usize) {
        let queued = self.queue.iter().filter(|task| !task.is_done()).count();
        let sent =
            self.handles.iter().flat_map(WorkerHandle::calls).filter(|(task, _)| !task.is_done());
        sent.fold(
            (queued, 0),
            |(waiting, running), (_, begun)| {
                if begun { (waiting, running + 1) } else { (waiting + 1, running) }
            },
        )
    }

    /// Puts calls back at the front of the queue, in order.
    pub(crate) fn requeue(&mut self, tasks: Vec<ProcessCallRef>) {
        for task in tasks.into_iter().rev() {
            task.delivery().returned();
            self.queue.push_front(task);
        }
    }
}
