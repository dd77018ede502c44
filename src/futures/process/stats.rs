//! [`ProcessPoolStats`]: what a pool has done and does.

#[cfg(target_os = "linux")]
use super::parent::manager::PoolManager;
#[cfg(target_os = "linux")]
use super::parent::worker_state::WorkerPhase;

/// The state and the totals of a process pool, at one moment; see
/// [`ProcessPoolExecutor::stats`](crate::futures::ProcessPoolExecutor::stats).
///
/// # Examples
///
/// ```
/// use concurrent::futures::process::{self, ProcessPoolExecutor, ProcessPoolStats};
///
/// process::init();
/// let pool = ProcessPoolExecutor::new(2)?;
/// pool.map(|n: u32| n + 1, 0..10).for_each(drop);
/// let ProcessPoolStats { pending, running, submitted, .. } = pool.stats();
/// assert_eq!((pending, running, submitted), (0, 0, 10));
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessPoolStats {
    /// Processes, including those that are still starting or about to end.
    pub workers: usize,
    /// Processes that have nothing to do.
    pub idle: usize,
    /// Calls that have not started.
    pub pending: usize,
    /// Calls that run.
    pub running: usize,
    /// Calls that were accepted since the pool was made; a chunk of a map counts as one.
    pub submitted: u64,
    /// Calls that a worker has answered.
    pub answered: u64,
    /// Processes that were started.
    pub started: u64,
    /// Processes that died by themselves.
    pub died: u64,
    /// Processes that were killed on purpose: for a deadline, or on request.
    pub killed: u64,
}

#[cfg(target_os = "linux")]
impl PoolManager {
    pub(crate) fn stats(&self) -> ProcessPoolStats {
        let state = self.state.lock();
        let (pending, running) = state.unfinished();
        let idle = state
            .handles
            .iter()
            .filter(|handle| handle.worker.phase() == WorkerPhase::Idle)
            .count();
        let workers = state.handles.iter().filter(|handle| handle.worker.is_alive()).count();
        let counts = state.counts;
        ProcessPoolStats {
            workers,
            idle,
            pending,
            running,
            submitted: counts.submitted,
            answered: counts.answered,
            started: counts.started,
            died: counts.died,
            killed: counts.killed,
        }
    }
}
