//! [`QueueState`]: what is under the control lock, and the record of one [`WorkerRecord`].

use std::collections::VecDeque;
use std::sync::Arc;

use super::bounded::BlockedSubmitter;
use super::order::WaitList;
use super::task_ref::TaskRef;
use crate::error::{Cause, Error};
use crate::futures::call::state::Phase;
use crate::futures::call::waiters::Signal;
use crate::futures::deadlock::PoolCapacity;
use crate::sync::{AtomicU8, Counter, JoinHandle, Ordering, is_finished};

#[derive(Debug)]
pub(crate) struct QueueState {
    pub(crate) incoming: WaitList,
    /// INVARIANT: workers that are inside `wake.wait`, woken or not.
    pub(crate) sleeping: usize,
    /// INVARIANT: of those, how many were notified and have not run since; at most `sleeping`.
    pub(crate) notified: usize,
    /// INVARIANT: in the order of their indices.
    pub(crate) workers: Vec<WorkerRecord>,
    /// The threads of workers that left before the pool was closed.
    pub(crate) retired: Vec<JoinHandle<()>>,
    /// The most workers there have been.
    pub(crate) peak: usize,
    /// Calls that were accepted, whatever became of them.
    pub(crate) accepted: usize,
    /// What was counted elsewhere than with a present worker.
    pub(crate) counts: WorkerCounts,
    /// Calls that run in the thread that submitted them.
    pub(crate) in_callers: usize,
    /// Workers that have not left their loop.
    pub(crate) alive: usize,
    /// Threads taken out of `workers` by somebody who is joining them.
    pub(crate) joining: usize,
    pub(crate) max_workers: usize,
    /// The system refused the last thread that was asked for.
    pub(crate) refused_thread: bool,
    pub(crate) closed: bool,
    pub(crate) broken: Option<Error>,
    /// Bounded queue: how many calls have a place in it, which are those that are pending there. A
    /// call that is being cancelled has it until its captures are gone.
    pub(crate) places: usize,
    /// Calls that were run in place and swept out of a bounded queue. A worker drops them: they may
    /// hold a value that nobody took.
    pub(crate) dead: Vec<TaskRef>,
    /// INVARIANT: if somebody is blocked, the queue is full, or somebody is about to give back a
    /// place or to look at the queue. The longest waiting first, so that tickets rise.
    pub(crate) blocked: VecDeque<BlockedSubmitter>,
    pub(crate) next_ticket: u64,
    /// What the registry of waits knows of the pool.
    known: Arc<PoolCapacity>,
    /// Threads that wait for the last worker to end, and that the registry of waits knows.
    pub(crate) end_awaited: Vec<Arc<Signal>>,
}

#[derive(Debug)]
pub(crate) struct WorkerRecord {
    /// The number in its thread's name, the lowest that was free.
    index: usize,
    pub(crate) flag: Arc<WorkerStatus>,
    thread: JoinHandle<()>,
    /// Whether it has left its loop. Then it is only there to be joined.
    pub(crate) ended: bool,
}

/// A worker's word on whether it is inside of user code, and its counters, which only it writes.
/// On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct WorkerStatus {
    place: AtomicU8,
    /// Not 0 if it should see whether there are too many workers. Only a hint, also to the model
    /// checker: who is about to sleep looks in any case.
    summons: Counter,
    /// Calls that it started, those that it runs in place too.
    begun: Counter,
    finished: Counter,
    failed: Counter,
    cancelled: Counter,
}

/// Outside of user code: the worker looks at the queue next.
const AT_THE_QUEUE: u8 = 0;
/// It has taken a call, and runs it, has run it, or is about to.
const WITH_A_CALL: u8 = 1;
/// Inside of user code that is no call: a callback, or the drop of a value that nobody took.
const AFTER_A_CALL: u8 = 2;

/// How many calls ended, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerCounts {
    pub(crate) finished: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
}

impl WorkerCounts {
    pub(crate) fn add(&mut self, other: Self) {
        self.finished += other.finished;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

impl WorkerStatus {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            place: AtomicU8::new(AT_THE_QUEUE),
            summons: Counter::default(),
            begun: Counter::default(),
            finished: Counter::default(),
            failed: Counter::default(),
            cancelled: Counter::default(),
        })
    }

    /// This worker has started a call.
    pub(crate) fn begins(&self) {
        self.begun.increment();
    }

    /// A call that it started has run.
    pub(crate) fn ended(&self, failed: bool) {
        let counter = if failed { &self.failed } else { &self.finished };
        counter.increment();
    }

    /// The call that was taken had been cancelled.
    pub(crate) fn found_cancelled(&self) {
        self.cancelled.increment();
    }

    /// What ended, and how many calls run: more than one if it waits for calls that it runs in
    /// place. Under both locks, so that it takes no call meanwhile: then it does not matter when one
    /// that it took begins, or ends.
    pub(crate) fn counts(&self) -> (WorkerCounts, usize) {
        let counts = WorkerCounts {
            finished: self.finished.get(),
            failed: self.failed.get(),
            cancelled: self.cancelled.get(),
        };
        let ended = counts.finished + counts.failed;
        (counts, self.begun.get().saturating_sub(ended)) // read last, so that it is not behind
    }

    pub(crate) fn summon(&self, summon: bool) {
        self.summons.set(usize::from(summon));
    }

    pub(crate) fn is_summoned(&self) -> bool {
        self.summons.get() != 0
    }

    /// Says that this worker has taken a call.
    pub(crate) fn raise(&self) {
        // ORDERING: Release, for `has_taken_at_most`.
        self.place.store(WITH_A_CALL, Ordering::Release);
    }

    /// Says that this worker is inside of user code that is no call.
    pub(crate) fn raise_after_call(&self) {
        // ORDERING: Relaxed; where it was lowered before, this is read under the same lock.
        self.place.store(AFTER_A_CALL, Ordering::Relaxed);
    }

    /// Says that this worker looks at the queue next.
    pub(crate) fn lower(&self) {
        // ORDERING: Relaxed suffices for those who saw the result: it is published after this
        // with Release. Others may see it late and start a worker too many.
        self.place.store(AT_THE_QUEUE, Ordering::Relaxed);
    }

    pub(crate) fn is_raised(&self) -> bool {
        // ORDERING: see `raise_after_call` and `lower`.
        self.place.load(Ordering::Relaxed) != AT_THE_QUEUE
    }

    /// Whether this worker runs no user code. It may have taken a call that it has not begun: that may
    /// be the very call that another wants to run in place.
    fn has_taken_at_most(&self) -> bool {
        // ORDERING: Acquire pairs with `raise`: what ended before it took this call is seen, so that
        // it seems to run one only if it does.
        match self.place.load(Ordering::Acquire) {
            AT_THE_QUEUE => true,
            WITH_A_CALL => self.counts().1 == 0,
            _ => false,
        }
    }
}

/// What is left of a queue's work, as a count of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    /// Submitters that wait for room.
    pub(crate) blocked: usize,
}

/// Starts a worker that owns this flag.
pub(crate) type StartWorker<'a> =
    &'a dyn Fn(Arc<WorkerStatus>, usize) -> std::io::Result<JoinHandle<()>>;

impl QueueState {
    pub(crate) fn new(incoming: WaitList, max_workers: usize, known: Arc<PoolCapacity>) -> Self {
        Self {
            incoming,
            sleeping: 0,
            notified: 0,
            workers: Vec::new(),
            retired: Vec::new(),
            peak: 0,
            accepted: 0,
            counts: WorkerCounts::default(),
            in_callers: 0,
            alive: 0,
            joining: 0,
            max_workers,
            refused_thread: false,
            closed: false,
            broken: None,
            places: 0,
            dead: Vec::new(),
            blocked: VecDeque::new(),
            next_ticket: 0,
            known,
            end_awaited: Vec::new(),
        }
    }

    /// Takes the call out of the queue that was put there last, unless it is pending.
    pub(crate) fn pop_over(&mut self) -> Option<(TaskRef, Phase)> {
        let (job, phase) = self.incoming.pop_over()?;
        self.counts.cancelled += usize::from(phase == Phase::Cancelled); // others count where they ran
        Some((job, phase))
    }

    /// Why no more calls are taken.
    pub(crate) fn refusal(&self) -> Option<Error> {
        // Broken wins over shut down, as in Python.
        self.broken.clone().or_else(|| self.closed.then_some(Error::Shutdown))
    }

    /// Sees to it that a call may be queued, and that there is a worker for it. Done before it is
    /// queued: if it fails, nobody but the caller is hurt.
    #[inline]
    pub(crate) fn make_ready(&mut self, start: StartWorker<'_>) -> Result<(), Error> {
        if self.closed || self.broken.is_some() || self.workers.is_empty() {
            return self.refuse_or_start(start);
        }
        Ok(())
    }

    #[cold]
    fn refuse_or_start(&mut self, start: StartWorker<'_>) -> Result<(), Error> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        self.start_worker(start).map_err(|error| Error::ThreadStart(Cause::new(error)))
    }

    pub(crate) fn start_worker(&mut self, start: StartWorker<'_>) -> std::io::Result<()> {
        let flag = WorkerStatus::new();
        let in_place = |(place, worker): &(usize, &WorkerRecord)| *place == worker.index;
        let index = self.workers.iter().enumerate().take_while(in_place).count();
        let started = start(Arc::clone(&flag), index);
        self.refused_thread = started.is_err();
        let started = started.map(|thread| {
            self.workers.insert(index, WorkerRecord { index, flag, thread, ended: false });
            self.alive += 1;
            self.peak = self.peak.max(self.workers.len());
        });
        self.publish_capacity();
        started
    }

    fn may_grow(&self) -> bool {
        self.workers.len() < self.max_workers && !self.refused_thread && self.refusal().is_none()
    }

    /// Whether a worker is free to take a call, or one can be started.
    pub(crate) fn has_worker_to_spare(&self) -> bool {
        let is_free = |worker: &WorkerRecord| !worker.ended && worker.flag.has_taken_at_most();
        self.may_grow() || self.workers.iter().any(is_free)
    }

    /// Tells the registry of waits who could come for a call that waits here.
    pub(crate) fn publish_capacity(&self) {
        self.known.set(self.alive, self.may_grow());
    }

    /// How many calls workers are about to take: no more than there are workers outside of user code,
    /// each of which looks at the queue next unless there are too many of them.
    pub(crate) fn free_workers(&self) -> usize {
        let present = self.workers.iter().filter(|worker| !worker.ended);
        let (mut free, mut busy) = (0, 0);
        present
            .for_each(|worker| *if worker.flag.is_raised() { &mut busy } else { &mut free } += 1);
        self.max_workers.saturating_sub(busy).min(free)
    }

    pub(crate) fn has_surplus(&self) -> bool {
        self.workers.len() > self.max_workers
    }

    /// Strikes out a worker that is leaving while the pool goes on.
    pub(crate) fn retire(&mut self, flag: &WorkerStatus) {
        let own = |worker: &WorkerRecord| std::ptr::eq(&*worker.flag, flag);
        if let Some(at) = self.workers.iter().position(own) {
            let worker = self.workers.remove(at);
            self.counts.add(worker.flag.counts().0);
            self.retired.push(worker.thread);
            self.publish_capacity();
        }
    }

    /// Returns whether it had been struck out before.
    pub(crate) fn mark_ended(&mut self, flag: &WorkerStatus) -> bool {
        self.alive -= 1;
        self.publish_capacity();
        if self.alive == 0 {
            self.end_awaited.drain(..).for_each(|signal| signal.notify(0, false));
        }
        let own = |worker: &&mut WorkerRecord| std::ptr::eq(&*worker.flag, flag);
        match self.workers.iter_mut().find(own) {
            Some(worker) => {
                worker.ended = true;
                false
            }
            None => true,
        }
    }

    /// Takes out the threads of workers that left and can be joined without blocking.
    pub(crate) fn take_finished(&mut self) -> Vec<JoinHandle<()>> {
        let retired = std::mem::take(&mut self.retired);
        let (finished, running) = retired.into_iter().partition(is_finished);
        self.retired = running;
        finished
    }

    /// Takes out a thread to be joined, when all workers have ended.
    pub(crate) fn take_thread(&mut self) -> Option<JoinHandle<()>> {
        match self.workers.pop() {
            Some(worker) => {
                self.counts.add(worker.flag.counts().0);
                Some(worker.thread)
            }
            None => self.retired.pop(),
        }
    }

    /// Whether to notify a sleeper: one sleeps, and none is on its way already.
    pub(crate) fn wake_one(&mut self) -> bool {
        let wake = self.sleeping > 0 && self.notified == 0;
        self.notified += usize::from(wake);
        wake
    }
}
