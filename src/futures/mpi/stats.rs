//! [`MpiPoolStats`]: what a pool of ranks has done and does.

/// The state and the totals of a pool of ranks, at one moment; see
/// [`MpiPoolExecutor::stats`](super::MpiPoolExecutor::stats).
///
/// # Examples
///
/// ```no_run
/// use concurrent::futures::mpi::{MpiPoolExecutor, MpiPoolStats};
///
/// let pool = MpiPoolExecutor::new()?;
/// let MpiPoolStats { workers, lost, pending, running, .. } = pool.stats();
/// println!("{workers} ranks, {lost} dead; {pending} calls wait, {running} run");
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MpiPoolStats {
    /// Ranks that take calls, or will when their initializer has returned.
    pub workers: usize,
    /// Ranks that died.
    pub lost: usize,
    /// Calls that were not sent to a rank yet.
    pub pending: usize,
    /// Calls that were sent to a rank and not answered.
    pub running: usize,
    /// Calls that were accepted since the pool was made; a chunk of a map counts as one.
    pub submitted: u64,
    /// Calls that a rank has answered.
    pub answered: u64,
}
