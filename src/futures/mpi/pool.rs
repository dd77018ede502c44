//! [`MpiPoolExecutor`]: the user's side of the pool.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use ::mpi::traits::Communicator;

use super::builder::MpiPoolBuilder;
use super::root::pool_state::PoolState;
use super::stats::MpiPoolStats;
use crate::error::Result;
use crate::futures::Future;
use crate::futures::executor::{Portable, ShutdownOptions, ShutdownReport, impl_executor};
use crate::futures::map::{Map, MapOptions};
use crate::futures::remote::executor::RemoteExecutor;
use crate::futures::remote::submit::RemotePool;

/// Runs calls on the ranks of an MPI program.
///
/// A call is a function, or a closure that captures nothing, and an argument that serde can
/// serialise; see [`Portable`]. Rank 0 has the executor; every other rank runs calls. The
/// [module](super) says how programs are started, and what happens when a rank dies.
///
/// - Calls start in the order in which they were submitted. The queue has no limit; submitting
///   never blocks on a rank.
/// - A panic is the failure of its call.
/// - A call counts as running, and cannot be cancelled any more, once it was sent to a rank.
/// - Dropping the pool ends it like Python's `with` block: all submitted calls run, and the drop
///   waits for the ranks to end. While a panic unwinds, calls that were not sent are cancelled
///   first. The drop does not wait in a callback of one of the pool's own calls, nor after a
///   [`shutdown_with`](Self::shutdown_with) that chose not to wait, or whose time ran out. A pool
///   made by [`enter`](Self::enter) waits even then, since MPI calls of the program follow.
///
/// # Threads
///
/// One thread of the pool on rank 0 makes all MPI calls. It decodes results and runs callbacks too,
/// so one that blocks holds up the whole pool.
///
/// # Python
///
/// `MPIPoolExecutor` of the package mpi4py.
///
/// # Examples
///
/// Started with `mpirun -n 4 program`, this has three workers.
///
/// ```no_run
/// use concurrent::futures::MpiPoolExecutor;
///
/// fn sum(to: u64) -> u64 {
///     (1..=to).sum()
/// }
///
/// fn main() -> concurrent::Result<()> {
///     let pool = MpiPoolExecutor::new()?; // returns on rank 0 only
///     let total: u64 = pool.map(sum, 0..1000).sum::<concurrent::Result<u64>>()?;
///     println!("{total}");
///     Ok(())
/// }
/// ```
pub struct MpiPoolExecutor {
    inner: RemoteExecutor<PoolState>,
}

/// The role of a rank in a pool that [`MpiPoolExecutor::enter`] made.
///
/// # Python
///
/// mpi4py's `MPICommExecutor` gives the executor or `None`.
///
/// # Examples
///
/// ```no_run
/// use concurrent::futures::mpi::{MpiPoolExecutor, Role, mpi};
///
/// let universe = mpi::initialize().unwrap();
/// match MpiPoolExecutor::enter(&universe.world())? {
///     Role::Root(pool) => println!("{} workers", pool.workers()),
///     Role::Worker => println!("the pool was shut down"),
/// }
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Debug)]
pub enum Role {
    /// Rank 0 of the communicator, with the executor.
    Root(MpiPoolExecutor),
    /// Another rank: it has served, and the pool was shut down.
    Worker,
}

impl MpiPoolExecutor {
    pub(super) fn of(pool: Arc<PoolState>) -> Self {
        Self { inner: RemoteExecutor { pool } }
    }

    /// Makes the pool on rank 0, with the default settings; never returns on another rank. See
    /// [`MpiPoolBuilder::build`].
    ///
    /// # Blocking
    ///
    /// As [`MpiPoolBuilder::build`].
    ///
    /// # Errors
    ///
    /// As [`MpiPoolBuilder::build`].
    ///
    /// # Python
    ///
    /// mpi4py's `MPIPoolExecutor()`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use concurrent::futures::MpiPoolExecutor;
    ///
    /// let pool = MpiPoolExecutor::new()?;
    /// println!("{} workers", pool.workers());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Starts a builder with the default settings.
    ///
    /// # Python
    ///
    /// The arguments of mpi4py's `MPIPoolExecutor(...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let builder = MpiPoolExecutor::builder().retries(2).credit(1);
    /// # let _ = builder;
    /// ```
    pub fn builder() -> MpiPoolBuilder {
        MpiPoolBuilder::default()
    }

    /// Makes a pool of the ranks of `comm`, for programs with MPI code of their own.
    ///
    /// All ranks of `comm` call it. It works on a duplicate of the communicator, and neither
    /// initialises nor finalises MPI. Rank 0 gets the executor; the others serve it, and get
    /// [`Role::Worker`] when it was shut down. After that it may be called again.
    ///
    /// # Blocking
    ///
    /// On rank 0 until every rank has connected; on the others until the pool is shut down.
    ///
    /// # Threads
    ///
    /// MPI must have been initialised with at least `Threading::Serialized`. Until the executor was
    /// shut down its thread makes MPI calls: with less than `Threading::Multiple` the program on
    /// rank 0 must make none; making another pool then is an error.
    ///
    /// # Errors
    ///
    /// As [`MpiPoolBuilder::build`]. With less than `Threading::Multiple` also
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) while another pool of this rank
    /// lives.
    ///
    /// # Python
    ///
    /// mpi4py's `MPICommExecutor(comm, root=0)`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use concurrent::futures::mpi::mpi::{self, Threading};
    /// use concurrent::futures::mpi::{MpiPoolExecutor, Role};
    ///
    /// let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    /// if let Role::Root(pool) = MpiPoolExecutor::enter(&universe.world())? {
    ///     assert_eq!(pool.submit(|n: u64| n + 1, 41)?.into_result()?, 42);
    /// }
    /// // Here all ranks go on.
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "MPICommExecutor")]
    pub fn enter<C: Communicator>(comm: &C) -> Result<Role> {
        Self::builder().enter(comm)
    }

    /// Returns how many ranks run calls; fewer than at the beginning if some have died.
    ///
    /// # Python
    ///
    /// mpi4py's `num_workers`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let pool = MpiPoolExecutor::new()?;
    /// assert_eq!(pool.workers(), 3); // with `mpirun -n 4`
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "num_workers")]
    #[must_use]
    pub fn workers(&self) -> usize {
        self.stats().workers
    }

    /// Returns the state and the totals of the pool, all of the same moment.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let pool = MpiPoolExecutor::new()?;
    /// pool.submit(|n: u32| n + 1, 1)?.into_result()?;
    /// assert_eq!(pool.stats().answered, 1);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> MpiPoolStats {
        self.inner.pool.stats()
    }

    /// Schedules `function(argument)`; several arguments go as a tuple.
    ///
    /// # Blocking
    ///
    /// Never: it does not wait for a rank.
    ///
    /// # Threads
    ///
    /// This thread encodes the argument and drops it. The pool's thread decodes the result.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`](crate::Error::Encode) or
    /// [`Error::MessageTooLarge`](crate::Error::MessageTooLarge) for the argument,
    /// [`Error::Shutdown`](crate::Error::Shutdown) after [`shutdown`](Self::shutdown),
    /// [`Error::BrokenMpiPool`](crate::Error::BrokenMpiPool) if the pool is broken.
    ///
    /// # Python
    ///
    /// `submit(fn, *args)`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let pool = MpiPoolExecutor::new()?;
    /// let power = pool.submit(|(base, exponent)| u32::pow(base, exponent), (2, 10))?;
    /// assert_eq!(*power.result()?, 1024);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[track_caller]
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Future<R>>
    where
        A: Portable,
        R: Portable,
    {
        self.inner.submit(function, argument)
    }

    /// Calls `function` with each item, in parallel; yields the results in the order of the items.
    ///
    /// It submits all items before it returns. A call that fails, or whose item cannot be encoded,
    /// yields an `Err` in its place, and the others go on. Dropping the iterator cancels the calls
    /// that were not sent.
    ///
    /// # Blocking
    ///
    /// `next` blocks until the next call in order is done.
    ///
    /// # Python
    ///
    /// `Executor.map(fn, iterable)`; for `timeout`, `chunksize` and `buffersize` see
    /// [`map_with`](Self::map_with). mpi4py's `starmap` is a map of tuples.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let pool = MpiPoolExecutor::new()?;
    /// let squares: Result<Vec<u64>, _> = pool.map(|n: u64| n * n, 1..=4).collect();
    /// assert_eq!(squares?, [1, 4, 9, 16]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "starmap")]
    #[track_caller]
    pub fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        self.inner.map(function, items)
    }

    /// Like [`map`](Self::map), with a time limit, chunks, a bounded look-ahead, or results in the
    /// order in which the calls end; see [`MapOptions`].
    ///
    /// A chunk is one call in one message, which makes short calls much cheaper.
    ///
    /// # Blocking
    ///
    /// With a [buffer size](MapOptions::buffer_size), each `next` waits for a call and submits one;
    /// otherwise as [`map`](Self::map).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the chunk size or the buffer
    /// size is 0. [`Error::Shutdown`](crate::Error::Shutdown), or another error of `submit`, if the
    /// pool refuses the first call. If it refuses a later one, the iterator yields that error after
    /// the results before it.
    ///
    /// # Python
    ///
    /// `Executor.map(fn, iterable, timeout=..., chunksize=..., buffersize=...)`; mpi4py has
    /// `unordered=True`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::{MapOptions, MpiPoolExecutor};
    /// let pool = MpiPoolExecutor::new()?;
    /// let options = MapOptions::new().chunk_size(100);
    /// let sum: u64 = pool.map_with(options, |n: u64| n, 0..1000)?.sum::<Result<_, _>>()?;
    /// assert_eq!(sum, 499_500);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "chunksize")]
    #[doc(alias = "buffersize")]
    #[track_caller]
    pub fn map_with<'a, A, R, I>(
        &self,
        options: MapOptions,
        function: fn(A) -> R,
        items: I,
    ) -> Result<Map<'a, R>>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        self.inner.map_with(&options, function, items)
    }

    /// Refuses further calls, runs the submitted ones, and waits for the ranks to end.
    ///
    /// # Blocking
    ///
    /// Until all calls are done and all ranks have ended. In a callback of one of the pool's own
    /// calls it does not wait.
    ///
    /// # Python
    ///
    /// `shutdown(wait=True)`; see [`shutdown_with`](Self::shutdown_with) for the rest.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::{Error, futures::MpiPoolExecutor};
    /// let pool = MpiPoolExecutor::new()?;
    /// let call = pool.submit(|n: u32| n + 1, 1)?;
    /// pool.shutdown();
    /// assert!(call.done());
    /// assert!(matches!(pool.submit(|n: u32| n + 1, 2), Err(Error::Shutdown)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn shutdown(&self) {
        self.shutdown_with(ShutdownOptions::new());
    }

    /// Shuts the pool down as `options` say; reports which calls are left.
    ///
    /// # Blocking
    ///
    /// As `options` say; never in a callback of one of the pool's own calls.
    ///
    /// # Python
    ///
    /// `shutdown(wait=..., cancel_futures=...)`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::{MpiPoolExecutor, ShutdownOptions};
    /// let pool = MpiPoolExecutor::new()?;
    /// let squares = pool.map(|n: u64| n * n, 0..1000);
    /// let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
    /// println!("{} of {} calls were cancelled", report.cancelled, squares.count());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "cancel_futures")]
    pub fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
        self.inner.shutdown_with(options)
    }
}

impl_executor!(MpiPoolExecutor);

// User code runs with no lock held, so that its panics leave nothing half done.
impl UnwindSafe for MpiPoolExecutor {}
impl RefUnwindSafe for MpiPoolExecutor {}

impl Drop for MpiPoolExecutor {
    fn drop(&mut self) {
        let pool = &self.inner.pool;
        if !self.inner.close_on_drop() && !pool.is_own_thread() {
            // The program may go on with MPI calls of its own. If not, it waits for nothing here.
            pool.join((!pool.is_guest()).then(Instant::now));
        }
    }
}

impl fmt::Debug for MpiPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiPoolExecutor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
