//! [`PoolStats`]: what a pool is doing and what it has done.

use super::pool::ThreadPoolExecutor;
use super::queue::{Queue, QueueState, TaskRef, WorkerCounts};
use crate::futures::deadlock::blocked_of;

/// What a pool is doing and has done, at one moment; see [`ThreadPoolExecutor::stats`].
///
/// Each call that was accepted is counted once: it is queued, running, finished, failed or
/// cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Worker threads. One that is ending does not count.
    pub workers: usize,
    /// Workers that wait for a call, or are about to look for one.
    pub idle: usize,
    /// Workers that are blocked in waits without a time limit, for calls that they cannot run
    /// themselves. Their own calls count as running.
    pub blocked: usize,
    /// Calls that wait for a worker, or are just being taken by one. Those of blocked submitters are
    /// not accepted yet.
    pub queued: usize,
    /// Calls whose function is running, in a worker or in their submitter. A worker that waits for
    /// a call which it runs in place runs two.
    pub running: usize,
    /// Calls whose function returned. A returned `Err` is a value like any other.
    pub finished: usize,
    /// Calls whose function panicked, or that a failed initializer failed.
    pub failed: usize,
    /// Calls that were cancelled.
    pub cancelled: usize,
    /// The most workers there were at one time.
    pub peak_workers: usize,
}

impl Queue {
    /// The numbers of the moment at which both locks are held.
    ///
    /// Of a call that a worker has in its hands nobody can tell yet whether it runs there, or was
    /// cancelled, or is run in place elsewhere. It still counts as queued: those are the calls that
    /// were accepted and are nowhere else. So nobody has to wait until the worker knows.
    fn stats(&self, blocked: usize) -> PoolStats {
        let outgoing = self.outgoing.lock();
        let control = self.control.lock();
        let mut stats = look_at_workers(&control, blocked);
        let mut look = |job: &TaskRef| stats.cancelled += usize::from(job.is_cancelled());
        outgoing.0.iter().for_each(&mut look);
        control.incoming.for_each(&mut look);
        let elsewhere = stats.running + stats.finished + stats.failed + stats.cancelled;
        stats.queued = control.accepted.saturating_sub(elsewhere);
        stats
    }

    pub(super) fn run_in_caller_begins(&self) {
        let mut control = self.control.lock();
        control.accepted += 1;
        control.in_callers += 1;
    }

    pub(super) fn run_in_caller_ends(&self, counts: WorkerCounts) {
        let mut control = self.control.lock();
        control.in_callers -= 1;
        control.counts.add(counts);
    }
}

/// All that does not depend on what is in the queue.
fn look_at_workers(control: &QueueState, blocked: usize) -> PoolStats {
    let mut stats = PoolStats {
        blocked,
        running: control.in_callers,
        peak_workers: control.peak,
        ..PoolStats::default()
    };
    let mut ended = control.counts;
    for worker in &control.workers {
        let (counts, running) = worker.flag.counts();
        ended.add(counts);
        stats.running += running;
        stats.workers += usize::from(!worker.ended);
        stats.idle += usize::from(!worker.ended && running == 0 && !worker.flag.is_raised());
    }
    let WorkerCounts { finished, failed, cancelled } = ended;
    PoolStats { finished, failed, cancelled, ..stats }
}

impl ThreadPoolExecutor {
    /// What the pool is doing and has done, all numbers of the same moment.
    ///
    /// Whoever has seen the result of a call finds it counted. A call that is cancelled while a worker
    /// takes it out of the queue may count as queued until the worker has seen that.
    ///
    /// It takes the pool's locks for a time proportional to the number of workers and queued calls,
    /// and before that, for a moment, the one under which workers begin to block. It waits for nothing
    /// else, so that it can be called anywhere, in a logger too.
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// pool.spawn(|| 1)?.into_result()?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.finished, stats.running, stats.queued), (1, 0, 0));
    /// assert_eq!((stats.workers, stats.idle), (1, 1));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let shared = self.shared();
        shared.queue().stats(blocked_of(shared.id()))
    }
}
