//! The bounded queue: its places, and submitters that are blocked because there is none.
//!
//! A call takes a place when it enters the queue. The thread that moves it out of PENDING gives the
//! place back: the worker that starts it, from the queue or in place, under the control lock; or
//! the thread that cancels it, by the call's [`QueuePermit`]. So each place is given back once. The
//! number of places is the capacity, plus one for each worker that is about to take a call.
//!
//! A submitter that finds no place leaves its call in `blocked` and sleeps. The thread that gives a
//! place back moves the call that has waited longest into the queue, so that calls run in the order
//! in which they came.
//!
//! The registry of waits knows a submitter that sleeps inside of a call. If the workers that could
//! make room depend on that call, the submitter takes its own call back and runs it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Queue;
use super::state::{QueueState, StartWorker, WorkerCounts};
use super::task_ref::{TaskRef, discard};
use crate::error::Error;
use crate::futures::call::continuation::Continuations;
use crate::futures::call::current::PoolId;
use crate::futures::call::run::Permit;
use crate::futures::call::state::Phase;
use crate::futures::call::waiters::{Signal, WakeWhen};
use crate::futures::deadlock::{self, Awaits, InPlaceRun, Wait, WaitFor};
use crate::futures::thread::shared::PoolShared;
use crate::sync::{MutexGuard, Ordering, deadline_after};

/// The queue is swept when it holds more ended tasks than this, and more than waiting calls. A
/// model cannot have as many.
const KEPT_DEAD: usize = if cfg!(concurrent_loom) { 1 } else { 16 };

/// The policy for submitting to a full queue: the setting of [`ThreadPoolBuilder::when_full`].
///
/// # Examples
///
/// ```
/// use concurrent::futures::{FullQueue, ThreadPoolExecutor};
///
/// let builder = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(1);
/// let pool = builder.when_full(FullQueue::RunInCaller).build()?;
/// // Five calls for a worker and one place: this thread runs those for which there is no room.
/// assert_eq!(pool.map(|n: u32| n + 1, 0..5).flatten().sum::<u32>(), 15);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// [`ThreadPoolBuilder::when_full`]: crate::futures::ThreadPoolBuilder::when_full
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullQueue {
    /// It blocks until there is room; the first to come goes first.
    ///
    /// Inside of a call it runs the submitted call itself if otherwise there would never be room,
    /// or if room would come only after a deadline
    /// ([`with_timeout`](crate::futures::Future::with_timeout)) of a call that needs this very
    /// worker.
    #[default]
    Block,
    /// It blocks for at most this long, then fails with [`Error::QueueFull`].
    BlockFor(Duration),
    /// It fails with [`Error::QueueFull`] at once.
    Refuse,
    /// It runs the call in the submitting thread, before it returns.
    RunInCaller,
}

/// The place of a call in a bounded queue; gives it back when the call is cancelled.
pub(crate) struct QueuePermit(Weak<PoolShared>);

impl QueuePermit {
    /// `None` for an unbounded queue.
    pub(crate) fn for_pool(pool: &Arc<PoolShared>) -> Option<Self> {
        pool.queue().capacity.map(|_| Self(Arc::downgrade(pool)))
    }
}

impl Permit for Option<QueuePermit> {
    fn cancelled(&self, continuations: &mut Continuations) {
        let Some(QueuePermit(pool)) = self else { return };
        let pool = Weak::clone(pool);
        // This may log, and may drop the last owner of the pool, with the closures that it has.
        continuations.user_code(move |_| {
            if let Some(pool) = pool.upgrade() {
                pool.queue().give_back_cancelled(&|status, index| pool.start(status, index));
            }
        });
    }
}

/// A call whose submitter sleeps until there is room.
pub(crate) struct BlockedSubmitter {
    ticket: u64,
    task: TaskRef,
    priority: i32,
    signal: Arc<Signal>,
}

impl BlockedSubmitter {
    /// LOCK: the signal's within the control lock.
    pub(crate) fn wake(&self) {
        self.signal.notify(0, false);
    }
}

/// The outcome of a push to a bounded queue.
pub(crate) enum Pushed {
    Queued,
    /// There is no room: the caller must run the task.
    RunHere(TaskRef),
}

impl Queue {
    /// Queues a task in this queue, which is that of `pool`; if it is full, does as `full` says.
    pub(crate) fn push_bounded(
        &self,
        pool: PoolId,
        task: TaskRef,
        priority: i32,
        full: FullQueue,
        start: StartWorker<'_>,
    ) -> Result<Pushed, (Error, TaskRef)> {
        let mut control = self.control.lock();
        if let Err(error) = control.make_ready(start) {
            return Err((error, task));
        }
        if !self.is_full(&control) {
            control.places += 1;
            let dead = self.sweep(&mut control);
            self.admit(control, task, priority, start);
            discard(dead);
            return Ok(Pushed::Queued);
        }
        match full {
            FullQueue::Block => self.block(pool, control, task, priority, None),
            FullQueue::BlockFor(limit) => self.block(pool, control, task, priority, Some(limit)),
            FullQueue::Refuse => Err((Error::QueueFull, task)),
            FullQueue::RunInCaller => Ok(Pushed::RunHere(task)),
        }
    }

    /// Queues the task that `make` makes, if there is room; otherwise does not call `make`.
    ///
    /// `make` runs under the lock, so it only moves values.
    pub(crate) fn try_push(
        &self,
        make: impl FnOnce() -> TaskRef,
        priority: i32,
        start: StartWorker<'_>,
    ) -> Result<(), Error> {
        let mut control = self.control.lock();
        control.make_ready(start)?;
        if self.is_full(&control) {
            return Err(Error::QueueFull);
        }
        let mut dead = Vec::new();
        if self.capacity.is_some() {
            control.places += 1;
            dead = self.sweep(&mut control);
        }
        let task = make();
        self.admit(control, task, priority, start);
        discard(dead);
        Ok(())
    }

    /// Waits until another thread has moved the task into the queue.
    fn block(
        &self,
        pool: PoolId,
        mut control: MutexGuard<'_, QueueState>,
        task: TaskRef,
        priority: i32,
        limit: Option<Duration>,
    ) -> Result<Pushed, (Error, TaskRef)> {
        let ticket = control.next_ticket;
        control.next_ticket += 1;
        let signal = Signal::new();
        let blocked = BlockedSubmitter { ticket, task, priority, signal: Arc::clone(&signal) };
        control.blocked.push_back(blocked);
        drop(control);
        let gave_up = match limit.and_then(deadline_after) {
            Some(deadline) => !signal.wait(WakeWhen::ONE, Some(deadline)),
            None => {
                let wait = Wait::new(Awaits::RoomIn(pool), WaitFor::All);
                // In a deadlock the task runs here.
                let _ = deadlock::wait(&signal, WakeWhen::ONE, &wait, &mut InPlaceRun::default());
                false
            }
        };
        let mut control = self.control.lock();
        let at = control.blocked.binary_search_by_key(&ticket, |blocked| blocked.ticket);
        let Some(blocked) = at.ok().and_then(|at| control.blocked.remove(at)) else {
            return Ok(Pushed::Queued);
        };
        match control.refusal().or_else(|| gave_up.then_some(Error::QueueFull)) {
            Some(error) => Err((error, blocked.task)),
            None => Ok(Pushed::RunHere(blocked.task)),
        }
    }

    /// A call in the queue was cancelled.
    fn give_back_cancelled(&self, start: StartWorker<'_>) {
        let let_in = self.give_back(&mut self.control.lock());
        if let_in {
            self.call_next(false, start);
        }
    }

    /// Gives a place back, and lets in the submitters that have waited longest. If it returns true,
    /// the caller must wake or start a worker.
    pub(super) fn give_back(&self, control: &mut QueueState) -> bool {
        // Saturating, because calls that a shutdown removed give their places back too.
        control.places = control.places.saturating_sub(1);
        let mut let_in = false;
        while !control.blocked.is_empty() && !self.is_full(control) && control.refusal().is_none() {
            let Some(blocked) = control.blocked.pop_front() else { break };
            blocked.wake();
            control.places += 1;
            control.accepted += 1;
            control.incoming.push(blocked.task, blocked.priority);
            let_in = true;
        }
        if let_in {
            self.has_incoming.store(true, Ordering::Relaxed); // ORDERING: a hint
        }
        let_in
    }

    fn is_full(&self, control: &QueueState) -> bool {
        let Some(capacity) = self.capacity else { return false };
        // In this order, so that workers are counted only if it matters.
        control.places >= capacity.get()
            && control.places - capacity.get() >= control.free_workers()
    }

    pub(crate) fn run_in_caller_begins(&self) {
        let mut control = self.control.lock();
        control.accepted += 1;
        control.in_callers += 1;
    }

    pub(crate) fn run_in_caller_ends(&self, counts: WorkerCounts) {
        let mut control = self.control.lock();
        control.in_callers -= 1;
        control.counts.add(counts);
    }

    /// Removes ended tasks, if there are many. Returns the cancelled ones, which have given their
    /// places back, for the caller to drop; leaves the others to a worker.
    fn sweep(&self, control: &mut QueueState) -> Vec<TaskRef> {
        let over = control.incoming.len().saturating_sub(control.places);
        if over < KEPT_DEAD.max(control.places) {
            return Vec::new();
        }
        let dead = control.incoming.take_dead();
        let (cancelled, run): (Vec<_>, Vec<_>) =
            dead.into_iter().partition(|task| task.phase() == Phase::Cancelled);
        control.counts.cancelled += cancelled.len();
        control.dead.extend(run);
        cancelled
    }
}

impl std::fmt::Debug for BlockedSubmitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "call number {}", self.ticket)
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::futures::ThreadPoolExecutor;
    use crate::futures::call::assist::Begin;
    use crate::futures::call::run::{QueuedTask, RunObserver};
    use crate::futures::thread::queue::WorkerStatus;

    /// It may drop what a pool captured, or log that no thread was to be had.
    #[test]
    fn a_place_is_not_given_back_in_a_thread_that_runs_no_code_of_users() {
        let captured = Arc::new(());
        let hook = Arc::clone(&captured);
        let builder = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(1);
        let pool = builder.on_worker_stop(move || _ = &hook).build().expect("it is valid");
        let permit = QueuePermit::for_pool(pool.shared());
        pool.shared().queue().control.lock().places = 1;
        let places = || pool.shared().queue().control.lock().places;
        let pieces = Continuations::putting_off(|continuations| permit.cancelled(continuations));
        assert_eq!((pieces.len(), places()), (1, 1));
        Continuations::with(|continuations| {
            pieces.into_iter().for_each(|piece| continuations.push(piece))
        });
        assert_eq!(places(), 0);
        drop(pool);
        assert_eq!(Arc::strong_count(&captured), 1);
    }

    /// A task in this phase, which can be started if it is pending; an owner of something.
    struct In(Phase, #[expect(dead_code, reason = "its drop counts")] Arc<()>);

    impl QueuedTask for In {
        fn run(self, _: &dyn RunObserver) {}
        fn start(&self) -> bool {
            self.0 == Phase::Pending
        }
        fn run_started(self, _: &dyn RunObserver) {}
        fn phase(&self) -> Phase {
            self.0
        }
        fn cancel(self) -> Phase {
            self.0
        }
        fn fail(self, _: Error) -> Phase {
            self.0
        }
    }

    /// What a worker finds in a queue with one place: a task that is over, then one that it can run. A
    /// submitter waits for room.
    #[test]
    fn a_worker_drops_what_is_over_starts_the_next_and_lets_a_submitter_in() {
        let pool = ThreadPoolExecutor::builder().max_workers(2).queue_capacity(1);
        let pool = pool.build().expect("these are sensible settings");
        let queue = pool.shared().queue();
        let owners = Arc::new(());
        let task = |phase| TaskRef::new(In(phase, Arc::clone(&owners)));
        let started = Cell::new(0);
        let start = |_: Arc<WorkerStatus>, _| {
            started.set(started.get() + 1);
            std::thread::Builder::new().spawn(|| ())
        };
        let signal = Signal::new();
        let status = {
            let mut control = queue.control.lock();
            control.start_worker(&start).expect("there are threads");
            let status = Arc::clone(&control.workers[0].status);
            control.incoming.push(task(Phase::Cancelled), 0);
            control.incoming.push(task(Phase::Pending), 0);
            control.places = 1;
            let (task, signal) = (task(Phase::Pending), Arc::clone(&signal));
            control.blocked.push_back(BlockedSubmitter { ticket: 0, task, priority: 0, signal });
            status
        };
        let taken = queue.take(&status, false, &start).expect("one is pending");
        assert_eq!(taken.phase(), Phase::Pending);
        assert_eq!(Arc::strong_count(&owners), 1 + 2, "what was over is dropped");
        let (counts, running) = status.counts();
        assert_eq!((counts.cancelled, running, status.is_raised()), (1, 1, true));
        assert!(signal.holds(WakeWhen::ONE), "the submitter is let in");
        {
            let mut control = queue.control.lock();
            assert_eq!((control.places, control.incoming.len(), control.blocked.len()), (1, 1, 0));
            assert!(control.dead.is_empty());
            assert_eq!(control.workers.len(), 2, "another worker comes for its call");
            // No worker has run: they are none of the pool's.
            control.alive = 0;
        }
        assert_eq!(started.get(), 2);
        drop(taken);
    }

    /// It was running when it was taken out, and has ended since: this is the last owner of its value.
    #[test]
    fn a_worker_that_begins_a_call_in_place_meets_no_panic_of_what_it_takes_out() {
        struct Unruly;

        impl Drop for Unruly {
            fn drop(&mut self) {
                panic!("this drop panics on purpose");
            }
        }

        impl QueuedTask for Unruly {
            fn run(self, _: &dyn RunObserver) {}
            fn start(&self) -> bool {
                false
            }
            fn run_started(self, _: &dyn RunObserver) {}
            fn phase(&self) -> Phase {
                Phase::Running
            }
            fn cancel(self) -> Phase {
                Phase::Running
            }
            fn fail(self, _: Error) -> Phase {
                Phase::Running
            }
        }

        let pool = ThreadPoolExecutor::new(1).expect("one worker will do");
        let queue = pool.shared().queue();
        queue.control.lock().incoming.push(TaskRef::new(Unruly), 0);
        let refuses = |_: Arc<WorkerStatus>, _| Err(std::io::ErrorKind::WouldBlock.into());
        let mut over = Vec::new();
        let status = WorkerStatus::new();
        let begun = queue.begin_nested(&status, false, &mut || true, &mut over, &refuses);
        assert_eq!((begun, over.len()), (Begin::Begun, 0));
    }

    #[test]
    fn calls_that_were_cancelled_do_not_fill_a_bounded_queue() {
        const CAPACITY: usize = 2;
        let pool = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(CAPACITY);
        let pool = pool.build().expect("these are sensible settings");
        let (begin, begun) = channel();
        let (open, opened) = channel::<()>();
        let busy = pool.spawn(move || (begin.send(()), opened.recv().is_err()).1);
        begun.recv().expect("the call runs");
        for _ in 0..1_000 {
            assert!(pool.spawn(|| ()).expect("there is room").cancel());
            let stand = pool.shared().queue().control.lock().incoming.len();
            assert!(stand <= KEPT_DEAD + CAPACITY, "{stand}");
        }
        drop(open);
        assert!(busy.expect("there was room").into_result().expect("it returns"));
    }
}
