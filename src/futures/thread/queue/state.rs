//! [`QueueState`]: the data under the control lock, with a [`WorkerRecord`] for each worker.

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
    /// INVARIANT: the number of workers inside of `wake.wait`, woken or not.
    pub(crate) sleeping: usize,
    /// INVARIANT: how many of these were notified and have not run since; at most `sleeping`.
    pub(crate) notified: usize,
    /// INVARIANT: in the order of their indices.
    pub(crate) workers: Vec<WorkerRecord>,
    /// Workers that left before the pool was closed, whose threads have not been joined. They may
    /// run calls in place still, in what a user has them do at their end.
    pub(crate) retired: Vec<WorkerRecord>,
    /// The most workers there have been.
    pub(crate) peak: usize,
    /// How many calls were accepted in all.
    pub(crate) accepted: usize,
    /// The counts of workers whose threads have been joined, and of calls that no worker ran.
    pub(crate) counts: WorkerCounts,
    /// Calls that run in the thread that submitted them.
    pub(crate) in_callers: usize,
    /// Workers that have not left their loop.
    pub(crate) alive: usize,
    /// Threads that were removed from `workers` and are being joined.
    pub(crate) joining: usize,
    pub(crate) max_workers: usize,
    /// The system refused to start the last thread.
    pub(crate) refused_thread: bool,
    pub(crate) closed: bool,
    pub(crate) broken: Option<Error>,
    /// Bounded queue: how many calls have a place in it, that is, are pending there. A call that is
    /// being cancelled keeps its place until its captures are dropped.
    pub(crate) places: usize,
    /// Tasks that were run in place and swept out of a bounded queue. A worker drops them, because
    /// they may hold a value that was not taken.
    pub(crate) dead: Vec<TaskRef>,
    /// INVARIANT: if it is not empty, the queue is full, or a thread is about to give a place back
    /// or to take a task. The submitter that has waited longest comes first, so that tickets rise.
    pub(crate) blocked: VecDeque<BlockedSubmitter>,
    pub(crate) next_ticket: u64,
    /// The registry's view of the pool.
    known: Arc<PoolCapacity>,
    /// The signals of threads inside of calls that wait for the last worker to end.
    pub(crate) end_awaited: Vec<Arc<Signal>>,
}

#[derive(Debug)]
pub(crate) struct WorkerRecord {
    /// The number in the name of its thread, the lowest that was free.
    index: usize,
    pub(crate) status: Arc<WorkerStatus>,
    thread: JoinHandle<()>,
    /// Whether it has left its loop, so that its thread only has to be joined.
    pub(crate) ended: bool,
}

/// Whether a worker runs user code, and its counters, which only the worker writes. On a cache line
/// of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct WorkerStatus {
    place: AtomicU8,
    /// Not 0 if the worker should check whether there are too many workers. Only a hint, which
    /// model checkers do not see: a worker that is about to sleep checks in any case.
    summons: Counter,
    /// Calls that it has started, also in place.
    begun: Counter,
    finished: Counter,
    failed: Counter,
    cancelled: Counter,
}

/// Outside of user code: the worker takes the next task.
const AT_THE_QUEUE: u8 = 0;
/// The worker has taken a task, and is about to run it, runs it, or has run it.
const WITH_A_CALL: u8 = 1;
/// Inside of user code that is no call: a callback, or the drop of a value that was not taken.
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
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            place: AtomicU8::new(AT_THE_QUEUE),
            summons: Counter::default(),
            begun: Counter::default(),
            finished: Counter::default(),
            failed: Counter::default(),
            cancelled: Counter::default(),
        })
    }

    /// Counts a call that the worker has started.
    pub(crate) fn begins(&self) {
        self.begun.increment();
    }

    /// Counts a call that has run.
    pub(crate) fn ended(&self, failed: bool) {
        let counter = if failed { &self.failed } else { &self.finished };
        counter.increment();
    }

    /// Counts a call that was found to be cancelled.
    pub(crate) fn found_cancelled(&self) {
        self.cancelled.increment();
    }

    /// How many calls have ended, and how many run: more than one if the worker runs calls in
    /// place. Called under both locks, so that the worker takes no task meanwhile; then it does not
    /// matter if the one that it has begins or ends.
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

    /// Marks the worker as busy: it has taken a task.
    pub(crate) fn raise(&self) {
        // ORDERING: Release, for `has_taken_at_most`.
        self.place.store(WITH_A_CALL, Ordering::Release);
    }

    /// Marks the worker as busy: it runs user code that is no call.
    pub(crate) fn raise_after_call(&self) {
        // ORDERING: Relaxed; where `lower` was called before, it is read under the same lock.
        self.place.store(AFTER_A_CALL, Ordering::Relaxed);
    }

    /// Marks the worker as free: it takes the next task.
    pub(crate) fn lower(&self) {
        // ORDERING: Relaxed suffices for threads that have seen the result, which is published
        // after this with Release. Others may see it late and start one worker too many.
        self.place.store(AT_THE_QUEUE, Ordering::Relaxed);
    }

    pub(crate) fn is_raised(&self) -> bool {
        // ORDERING: see `raise_after_call` and `lower`.
        self.place.load(Ordering::Relaxed) != AT_THE_QUEUE
    }

    /// Whether the worker runs no user code. It may have taken a task that it has not begun, which
    /// may be the very call that another worker wants to run in place.
    fn has_taken_at_most(&self) -> bool {
        // ORDERING: Acquire pairs with `raise`: the ends of earlier calls are seen, so that the
        // worker counts as running a call only if it does.
        match self.place.load(Ordering::Acquire) {
            AT_THE_QUEUE => true,
            WITH_A_CALL => self.counts().1 == 0,
            _ => false,
        }
    }
}

/// The number of calls that are left in a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    /// Submitters that wait for room.
    pub(crate) blocked: usize,
}

/// Starts the worker of this status and this number.
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

    /// Removes the task that was queued last, unless it is pending.
    pub(crate) fn pop_over(&mut self) -> Option<(TaskRef, Phase)> {
        let (task, phase) = self.incoming.pop_over()?;
        self.counts.cancelled += usize::from(phase == Phase::Cancelled); // others are counted where they ran
        Some((task, phase))
    }

    /// Notes that a call was begun in place; in a queue by priority, sometimes moves those that were
    /// to `over`.
    #[inline]
    pub(crate) fn note_begun(&mut self, over: &mut Vec<TaskRef>) {
        if self.incoming.note_begun() {
            let mut begun = self.incoming.take_dead();
            self.counts.cancelled += begun.iter().filter(|task| task.is_cancelled()).count();
            over.append(&mut begun);
        }
    }

    /// The reason why no more calls are accepted.
    pub(crate) fn refusal(&self) -> Option<Error> {
        // Broken wins over shut down, as in Python.
        self.broken.clone().or_else(|| self.closed.then_some(Error::Shutdown))
    }

    /// Checks that calls are accepted, and starts the first worker. Called before the task is
    /// queued, so that an error concerns the caller alone.
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
        let status = WorkerStatus::new();
        let in_place = |(place, worker): &(usize, &WorkerRecord)| *place == worker.index;
        let index = self.workers.iter().enumerate().take_while(in_place).count();
        let started = start(Arc::clone(&status), index);
        self.refused_thread = started.is_err();
        let started = started.map(|thread| {
            self.workers.insert(index, WorkerRecord { index, status, thread, ended: false });
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
        let is_free = |worker: &WorkerRecord| !worker.ended && worker.status.has_taken_at_most();
        self.may_grow() || self.workers.iter().any(is_free)
    }

    /// Tells the registry of waits how many workers there are, and whether there may be more.
    pub(crate) fn publish_capacity(&self) {
        self.known.set(self.alive, self.may_grow());
    }

    /// How many tasks workers are about to take: one for each worker outside of user code, unless
    /// there are too many workers.
    pub(crate) fn free_workers(&self) -> usize {
        let present = self.workers.iter().filter(|worker| !worker.ended);
        let (mut free, mut busy) = (0, 0);
        present
            .for_each(|worker| *if worker.status.is_raised() { &mut busy } else { &mut free } += 1);
        self.max_workers.saturating_sub(busy).min(free)
    }

    pub(crate) fn has_surplus(&self) -> bool {
        self.workers.len() > self.max_workers
    }

    /// Removes a worker that leaves while the pool goes on.
    pub(crate) fn retire(&mut self, status: &WorkerStatus) {
        let own = |worker: &WorkerRecord| std::ptr::eq(&*worker.status, status);
        if let Some(at) = self.workers.iter().position(own) {
            let worker = self.workers.remove(at);
            self.retired.push(worker);
            self.publish_capacity();
        }
    }

    /// Marks a worker as ended; returns whether it had left before.
    pub(crate) fn mark_ended(&mut self, status: &WorkerStatus) -> bool {
        self.alive -= 1;
        self.publish_capacity();
        if self.alive == 0 {
            self.end_awaited.drain(..).for_each(|signal| signal.notify(0, false));
        }
        let own = |worker: &&mut WorkerRecord| std::ptr::eq(&*worker.status, status);
        match self.workers.iter_mut().find(own) {
            Some(worker) => {
                worker.ended = true;
                false
            }
            None => true,
        }
    }

    /// Removes the threads of workers that have left and can be joined without blocking.
    pub(crate) fn take_finished(&mut self) -> Vec<JoinHandle<()>> {
        let retired = std::mem::take(&mut self.retired);
        let (finished, running): (Vec<_>, _) =
            retired.into_iter().partition(|worker| is_finished(&worker.thread));
        self.retired = running;
        finished.into_iter().map(|worker| self.strike_out(worker)).collect()
    }

    /// Removes a thread to be joined, when all workers have ended.
    pub(crate) fn take_thread(&mut self) -> Option<JoinHandle<()>> {
        let worker = self.workers.pop().or_else(|| self.retired.pop())?;
        Some(self.strike_out(worker))
    }

    /// Keeps the counts of a worker that runs no more calls; returns its thread, to be joined.
    fn strike_out(&mut self, worker: WorkerRecord) -> JoinHandle<()> {
        self.counts.add(worker.status.counts().0);
        worker.thread
    }

    /// Whether to notify a sleeper: one sleeps, and none is being woken already.
    pub(crate) fn wake_one(&mut self) -> bool {
        let wake = self.sleeping > 0 && self.notified == 0;
        self.notified += usize::from(wake);
        wake
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests;
