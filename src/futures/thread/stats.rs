//! [`PoolStats`]: what a pool is doing and what it has done.

use super::queue::{QueueState, TaskRef, WorkerCounts};
use super::shared::PoolShared;
use crate::futures::deadlock::blocked_of;

/// The state and the totals of a pool, at one moment; see
/// [`ThreadPoolExecutor::stats`](super::ThreadPoolExecutor::stats).
///
/// Each accepted call is counted once: it is queued, running, finished, failed or cancelled.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{PoolStats, ThreadPoolExecutor};
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// pool.map(|n: u32| n + 1, 0..10).for_each(drop);
/// let PoolStats { queued, running, finished, .. } = pool.stats();
/// assert_eq!((queued, running, finished), (0, 0, 10));
/// # Ok::<(), concurrent::Error>(())
/// ```
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
    /// Calls that wait for a worker, or that a worker is just taking. Those of blocked submitters
    /// are not accepted yet.
    pub queued: usize,
    /// Calls whose function is running, in a worker or in their submitter. A worker that waits for
    /// a call and runs it in place runs two.
    pub running: usize,
    /// Calls whose function returned. A returned `Err` is a value like any other.
    pub finished: usize,
    /// Calls whose function panicked, or that failed with the pool's initializer.
    pub failed: usize,
    /// Calls that were cancelled.
    pub cancelled: usize,
    /// The largest number of workers that there were at one time.
    pub peak_workers: usize,
}

/// The statistics at the moment at which both locks of the queue are held.
///
/// A worker may have taken a task and not yet found out whether it can run it, or whether it was
/// cancelled or is run in place elsewhere. Such a call counts as queued, as do all accepted calls
/// that are in no other state. So this need not wait for the worker.
pub(super) fn stats_of(pool: &PoolShared) -> PoolStats {
    let blocked = blocked_of(pool.id());
    let outgoing = pool.queue().outgoing.lock();
    let control = pool.queue().control.lock();
    let mut stats = look_at_workers(&control, blocked);
    let mut look = |task: &TaskRef| stats.cancelled += usize::from(task.is_cancelled());
    outgoing.0.iter().for_each(&mut look);
    control.incoming.for_each(&mut look);
    let elsewhere = stats.running + stats.finished + stats.failed + stats.cancelled;
    stats.queued = control.accepted.saturating_sub(elsewhere);
    stats
}

/// The part that does not depend on the queued tasks.
fn look_at_workers(control: &QueueState, blocked: usize) -> PoolStats {
    let mut stats = PoolStats {
        blocked,
        running: control.in_callers,
        peak_workers: control.peak,
        ..PoolStats::default()
    };
    let mut ended = control.counts;
    for worker in &control.workers {
        let (counts, running) = worker.status.counts();
        ended.add(counts);
        stats.running += running;
        stats.workers += usize::from(!worker.ended);
        stats.idle += usize::from(!worker.ended && running == 0 && !worker.status.is_raised());
    }
    for worker in &control.retired {
        let (counts, running) = worker.status.counts();
        ended.add(counts);
        stats.running += running;
    }
    let WorkerCounts { finished, failed, cancelled } = ended;
    PoolStats { finished, failed, cancelled, ..stats }
}
