//! The settings that are types of their own: what the death of a worker means, and what a worker may use.

/// The policy for the death of a worker process: the setting of
/// [`ProcessPoolBuilder::on_worker_death`](super::ProcessPoolBuilder::on_worker_death).
///
/// Only the call that the worker had begun is in doubt. The calls sent to it after that one were
/// not started; under all policies but the first they run elsewhere.
///
/// # Python
///
/// A worker's death always breaks the pool.
///
/// # Examples
///
/// ```
/// use concurrent::{Error, futures::process::{self, OnWorkerDeath, ProcessPoolExecutor}};
///
/// process::init();
/// let policy = OnWorkerDeath::FailCall;
/// let pool = ProcessPoolExecutor::builder().max_workers(1).on_worker_death(policy).build()?;
/// let crash = pool.submit(|code| -> u8 { std::process::exit(code) }, 3)?;
/// assert!(matches!(crash.into_result(), Err(Error::WorkerDied(_))));
/// assert_eq!(pool.submit(|n: u8| n + 1, 1)?.into_result()?, 2); // in a new worker
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnWorkerDeath {
    /// The pool is broken, as in Python: all pending and running calls fail with
    /// [`Error::BrokenProcessPool`](crate::Error::BrokenProcessPool).
    #[default]
    BreakPool,
    /// The call fails with [`Error::WorkerDied`](crate::Error::WorkerDied), and the worker is
    /// replaced.
    FailCall,
    /// The call runs again, up to this many times, and then fails as with `FailCall`: for calls
    /// that may be begun more than once.
    Retry(u32),
}

/// A limit on a resource of a worker process: the setting of
/// [`ProcessPoolBuilder::limit`](crate::futures::process::ProcessPoolBuilder::limit).
///
/// A worker sets it for itself before it takes its first call. If it is above the limit that the
/// program itself has, workers fail to start.
///
/// # Python
///
/// The constants `RLIMIT_*` of the module `resource`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::process::{self, ProcessPoolExecutor, ResourceLimit};
///
/// process::init();
/// fn open_files(up_to: usize) -> usize {
///     let files = (0..up_to).map_while(|_| std::fs::File::open("/dev/null").ok());
///     files.collect::<Vec<_>>().len()
/// }
///
/// let builder = ProcessPoolExecutor::builder().max_workers(1);
/// let pool = builder.limit(ResourceLimit::OpenFiles, 64).build()?;
/// assert!(pool.submit(open_files, 100)?.into_result()? < 64);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResourceLimit {
    /// Bytes of address space (`RLIMIT_AS`).
    AddressSpace,
    /// Bytes of heap and private mappings (`RLIMIT_DATA`).
    Data,
    /// Seconds of processor time in the whole life of one worker (`RLIMIT_CPU`).
    ///
    /// SIGXCPU then ends the worker or, if it handles that, SIGKILL one second later.
    CpuSeconds,
    /// One more than the highest file descriptor (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Bytes of a file that a call writes (`RLIMIT_FSIZE`).
    ///
    /// Writing more ends the worker (SIGXFSZ). Arguments and results may be larger.
    FileSize,
    /// Bytes of a core dump (`RLIMIT_CORE`).
    CoreDump,
}
