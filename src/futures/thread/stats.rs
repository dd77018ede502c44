//! [`PoolStats`]: what a pool is doing and what it has done.

use super::pool::ThreadPoolExecutor;
use super::queue::{Counts, Job, Queue};
use crate::futures::call::state::Phase;
use crate::futures::deadlock::blocked_of;
use crate::sync::yield_now;

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
    /// Calls that wait for a worker. Those of blocked submitters are not accepted yet.
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
    fn stats(&self, blocked: usize) -> PoolStats {
        loop {
            if let Some(stats) = self.look(blocked) {
                return stats;
            }
            yield_now();
        }
    }

    /// `None` while a worker has a call in its hands of which it is not known yet whether it runs:
    /// it may need a lock until it is.
    fn look(&self, blocked: usize) -> Option<PoolStats> {
        let outgoing = self.outgoing.lock();
        let control = self.control.lock();
        if control.workers.iter().any(|worker| worker.flag.is_undecided()) {
            return None;
        }
        let mut stats = PoolStats {
            blocked,
            running: control.in_callers,
            peak_workers: control.peak,
            ..PoolStats::default()
        };
        let mut ended = control.counts;
        let mut look = |job: &Job| {
            let phase = job.phase(); // once: it may be cancelled just now
            stats.queued += usize::from(phase == Phase::Pending);
            ended.cancelled += usize::from(phase == Phase::Cancelled);
        };
        outgoing.0.iter().for_each(&mut look);
        control.incoming.for_each(&mut look);
        for worker in &control.workers {
            let (counts, running) = worker.flag.counts();
            ended.add(counts);
            stats.running += running;
            stats.workers += usize::from(!worker.ended);
            stats.idle += usize::from(!worker.ended && running == 0 && !worker.flag.is_raised());
        }
        let Counts { finished, failed, cancelled } = ended;
        Some(PoolStats { finished, failed, cancelled, ..stats })
    }

    pub(super) fn run_in_caller_begins(&self) {
        self.control.lock().in_callers += 1;
    }

    pub(super) fn run_in_caller_ends(&self, counts: Counts) {
        let mut control = self.control.lock();
        control.in_callers -= 1;
        control.counts.add(counts);
    }
}

impl ThreadPoolExecutor {
    /// What the pool is doing and has done, all numbers of the same moment.
    ///
    /// Whoever has seen the result of a call finds it counted. It takes the pool's locks and the one
    /// under which workers begin to block, for a time proportional to the number of workers and
    /// queued calls; counting costs calls nothing.
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
