//! The bounded queue: places, and those who are blocked because there is none.
//!
//! A call takes a place when it enters the queue. Whoever makes it leave PENDING gives the place
//! back: the worker that starts it, in the queue or in place, under the control lock; or the thread that
//! cancels it, by the call's [`QueuePermit`]. So each place is given back once. There are as many
//! places as the capacity says, and one for each worker that is about to take a call.
//!
//! Who finds no place leaves the call in `blocked` and sleeps. Whoever gives a place back moves the
//! call that waits longest into the queue, so that calls run in the order in which they came.
//!
//! A submitter that sleeps in a call is known to the registry of waits. If the workers that could
//! make room wait for that call, in whatever way, it takes its own call back and runs it.

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

/// This many calls that are over stay in the queue, or as many as wait there; then it is swept. A model
/// has no room for so many.
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

/// What a call in a bounded queue gives its place back with when it is cancelled.
pub(crate) struct QueuePermit(Weak<PoolShared>);

impl QueuePermit {
    /// None for a queue without bound.
    pub(crate) fn for_pool(pool: &Arc<PoolShared>) -> Option<Self> {
        pool.queue().capacity.map(|_| Self(Arc::downgrade(pool)))
    }
}

impl Permit for Option<QueuePermit> {
    fn cancelled(&self, chain: &mut Continuations) {
        let Some(QueuePermit(pool)) = self else { return };
        let pool = Weak::clone(pool);
        // It may log, and may be the last that has the pool, with all that was captured for it.
        chain.user_code(move |_| {
            if let Some(pool) = pool.upgrade() {
                pool.queue().give_back_cancelled(&|flag, index| pool.start(flag, index));
            }
        });
    }
}

/// A call whose submitter sleeps until there is room.
pub(crate) struct BlockedSubmitter {
    ticket: u64,
    job: TaskRef,
    priority: i32,
    signal: Arc<Signal>,
}

impl BlockedSubmitter {
    /// LOCK: the signal's within the control lock.
    pub(crate) fn wake(&self) {
        self.signal.notify(0, false);
    }
}

/// What became of a call that was pushed.
pub(crate) enum Pushed {
    Queued,
    /// There is no room: the caller is to run it.
    RunHere(TaskRef),
}

impl Queue {
    /// Puts a call into the queue, which is that of `pool`, or does with it what `full` says.
    pub(crate) fn push_bounded(
        &self,
        pool: PoolId,
        job: TaskRef,
        priority: i32,
        full: FullQueue,
        start: StartWorker<'_>,
    ) -> Result<Pushed, (Error, TaskRef)> {
        let mut control = self.control.lock();
        if let Err(error) = control.make_ready(start) {
            return Err((error, job));
        }
        if !self.is_full(&control) {
            control.places += 1;
            let dead = self.sweep(&mut control);
            self.admit(control, job, priority, start);
            discard(dead);
            return Ok(Pushed::Queued);
        }
        match full {
            FullQueue::Block => self.block(pool, control, job, priority, None),
            FullQueue::BlockFor(limit) => self.block(pool, control, job, priority, Some(limit)),
            FullQueue::Refuse => Err((Error::QueueFull, job)),
            FullQueue::RunInCaller => Ok(Pushed::RunHere(job)),
        }
    }

    /// Puts the call that `make` makes into the queue if there is room; otherwise it is not made.
    ///
    /// `make` only moves things; it runs under the lock.
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
        let job = make();
        self.admit(control, job, priority, start);
        discard(dead);
        Ok(())
    }

    /// Waits with the call until somebody has moved it into the queue.
    fn block(
        &self,
        pool: PoolId,
        mut control: MutexGuard<'_, QueueState>,
        job: TaskRef,
        priority: i32,
        limit: Option<Duration>,
    ) -> Result<Pushed, (Error, TaskRef)> {
        let ticket = control.next_ticket;
        control.next_ticket += 1;
        let signal = Signal::new();
        let blocked = BlockedSubmitter { ticket, job, priority, signal: Arc::clone(&signal) };
        control.blocked.push_back(blocked);
        drop(control);
        let gave_up = match limit.and_then(deadline_after) {
            Some(deadline) => !signal.wait(WakeWhen::ONE, Some(deadline)),
            None => {
                let wait = Wait::new(Awaits::RoomIn(pool), WaitFor::All);
                // In a deadlock the call runs here, however that was found.
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
            Some(error) => Err((error, blocked.job)),
            None => Ok(Pushed::RunHere(blocked.job)),
        }
    }

    /// A call in the queue was cancelled.
    fn give_back_cancelled(&self, start: StartWorker<'_>) {
        let let_in = self.give_back(&mut self.control.lock());
        if let_in {
            self.call_next(false, start);
        }
    }

    /// Gives a place back, and lets in whoever waits longest. If that was somebody, the caller sees
    /// to it that a worker comes.
    pub(super) fn give_back(&self, control: &mut QueueState) -> bool {
        // Calls that were taken out by a shutdown give back places of which nobody takes account.
        control.places = control.places.saturating_sub(1);
        let mut let_in = false;
        while !control.blocked.is_empty() && !self.is_full(control) && control.refusal().is_none() {
            let Some(blocked) = control.blocked.pop_front() else { break };
            blocked.wake();
            control.places += 1;
            control.accepted += 1;
            control.incoming.push(blocked.job, blocked.priority);
            let_in = true;
        }
        if let_in {
            self.has_incoming.store(true, Ordering::Relaxed); // ORDERING: a hint
        }
        let_in
    }

    fn is_full(&self, control: &QueueState) -> bool {
        let Some(capacity) = self.capacity else { return false };
        // In this order: workers are counted only if it matters.
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

    /// Takes out calls that are over, if there are many: those that were cancelled gave their place
    /// back. Those are for the caller to drop; the others are left to a worker.
    fn sweep(&self, control: &mut QueueState) -> Vec<TaskRef> {
        let over = control.incoming.len().saturating_sub(control.places);
        if over < KEPT_DEAD.max(control.places) {
            return Vec::new();
        }
        let dead = control.incoming.take_dead();
        let (cancelled, run): (Vec<_>, Vec<_>) =
            dead.into_iter().partition(|job| job.phase() == Phase::Cancelled);
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
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::{KEPT_DEAD, QueuePermit};
    use crate::futures::ThreadPoolExecutor;
    use crate::futures::call::continuation::Continuations;
    use crate::futures::call::run::Permit;

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
        let pieces = Continuations::putting_off(|chain| permit.cancelled(chain));
        assert_eq!((pieces.len(), places()), (1, 1));
        Continuations::with(|chain| pieces.into_iter().for_each(|piece| chain.push(piece)));
        assert_eq!(places(), 0);
        drop(pool);
        assert_eq!(Arc::strong_count(&captured), 1);
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
