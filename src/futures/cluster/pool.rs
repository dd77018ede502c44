//! [`MpiPoolExecutor`]: the user's side of the pool.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::thread::panicking;
use std::time::Instant;

use ::mpi::traits::Communicator;

use super::builder::MpiPoolBuilder;
use super::root::Root;
use super::stats::MpiPoolStats;
use crate::error::Result;
use crate::futures::Future;
use crate::futures::executor::{Portable, ShutdownOptions, ShutdownReport, impl_executor};
use crate::futures::map::{Map, MapOptions};
use crate::futures::remote::submit::{self, RemotePool};
use crate::sync::deadline_after;

/// Runs calls on the ranks of an MPI program.
///
/// A call is a function, or a closure that captures nothing, and an argument that serde can write;
/// see [`Portable`]. Rank 0 has the executor; every other rank runs calls.
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
///
/// Started with `mpirun -n 4 program`, that has three workers. See the [module](super) for how
/// programs are started, and what becomes of a rank that dies.
///
/// - Calls start in the order they were submitted. The queue has no limit; submitting never blocks
///   on a rank.
/// - A panic is the failure of its call.
/// - A call counts as running, and cannot be cancelled any more, once it was sent to a rank.
/// - Dropping the pool is Python's `with` block: it runs what was submitted, and waits for the ranks
///   to end. While a panic unwinds, calls that were not sent are cancelled first. The drop waits for
///   nothing in a callback of one of the pool's own calls, nor after a
///   [`shutdown_with`](Self::shutdown_with) that chose not to wait, or whose time ran out; only that
///   of a pool made by [`enter`](Self::enter) does even then, since MPI calls of the program follow.
///
/// # Python
///
/// `MPIPoolExecutor` of the package mpi4py.
///
/// # Threads
///
/// One thread of the pool on rank 0 makes all MPI calls; results are decoded and callbacks run there,
/// and one that blocks holds up the whole pool.
pub struct MpiPoolExecutor {
    root: Arc<Root>,
}

/// What [`MpiPoolExecutor::enter`] makes of a rank.
#[derive(Debug)]
pub enum Role {
    /// Rank 0 of the communicator: the executor.
    Root(MpiPoolExecutor),
    /// Another rank: it has served, and the pool was shut down.
    Worker,
}

impl MpiPoolExecutor {
    pub(super) fn of(root: Arc<Root>) -> Self {
        Self { root }
    }

    /// Makes the pool on rank 0, with the default settings; never returns on another rank. See
    /// [`MpiPoolBuilder::build`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```no_run
    /// use concurrent::futures::MpiPoolExecutor;
    ///
    /// let pool = MpiPoolExecutor::new()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Starts with the default settings.
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
    /// [`Role::Worker`] when it was shut down. It may be called again after that.
    ///
    /// # Python
    ///
    /// `MPICommExecutor` of the package mpi4py.
    ///
    /// # Threads
    ///
    /// MPI must have been initialised with at least `Threading::Serialized`. Until the executor was
    /// shut down its thread makes MPI calls: with less than `Threading::Multiple` the program on rank
    /// 0 must make none, nor make another pool: that is an error.
    ///
    /// # Blocking
    ///
    /// On rank 0 until every rank has said that it is there; on the others until the pool is shut
    /// down.
    ///
    /// # Errors
    ///
    /// As [`MpiPoolBuilder::build`]; [`Error::InvalidArgument`](crate::Error::InvalidArgument) also
    /// while another pool of this rank lives, with less than `Threading::Multiple`.
    ///
    /// ```no_run
    /// use concurrent::futures::cluster::mpi::{self, Threading};
    /// use concurrent::futures::cluster::{MpiPoolExecutor, Role};
    ///
    /// let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    /// if let Role::Root(pool) = MpiPoolExecutor::enter(&universe.world())? {
    ///     assert_eq!(pool.submit(|n: u64| n + 1, 41)?.into_result()?, 42);
    /// }
    /// // Here all ranks go on.
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn enter<C: Communicator>(comm: &C) -> Result<Role> {
        Self::builder().enter(comm)
    }

    /// How many ranks run calls; less than at the beginning if some have died.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.stats().workers
    }

    /// What the pool has done and does; taken at one moment.
    #[must_use]
    pub fn stats(&self) -> MpiPoolStats {
        self.root.shared.stats()
    }

    /// Schedules `function(argument)`; several arguments go as a tuple.
    ///
    /// # Python
    ///
    /// `submit(fn, *args)`.
    ///
    /// # Threads
    ///
    /// The argument is encoded and dropped here. The result is decoded in the pool's thread.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`](crate::Error::Encode) or [`Error::MessageTooLarge`](crate::Error::MessageTooLarge) for the argument, [`Error::Shutdown`](crate::Error::Shutdown) after
    /// [`shutdown`](Self::shutdown), [`Error::BrokenClusterPool`](crate::Error::BrokenClusterPool) if the pool is broken.
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
        let site = Location::caller();
        let shared = &self.root.shared;
        shared.admits()?;
        submit::send(shared, site, function, argument)
    }

    /// Calls `function` with each item, at once and in parallel; yields the results in the order of
    /// the items.
    ///
    /// All items are submitted before this returns. A call that fails, also one whose item cannot
    /// be encoded, gives an `Err` in its place, and the others go on. Dropping the iterator cancels
    /// what was not sent.
    ///
    /// # Python
    ///
    /// `Executor.map`; for `timeout`, `chunksize` and `buffersize` see [`map_with`](Self::map_with).
    ///
    /// # Blocking
    ///
    /// `next` blocks until the next call in order is done.
    #[track_caller]
    pub fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        submit::map(&self.root.shared, Location::caller(), function, items)
    }

    /// Like [`map`](Self::map), with a time limit, chunks, a bounded look-ahead, or results in the
    /// order in which they are done; see [`MapOptions`]. A chunk is one call in one message, which
    /// makes cheap calls much cheaper.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the chunk or buffer size is 0.
    /// Otherwise what refuses the first call, such as [`Error::Shutdown`](crate::Error::Shutdown);
    /// what refuses a later one comes after the results of those before.
    ///
    /// ```no_run
    /// # use concurrent::futures::{MapOptions, MpiPoolExecutor};
    /// let pool = MpiPoolExecutor::new()?;
    /// let options = MapOptions::new().chunk_size(100);
    /// let sum: u64 = pool.map_with(options, |n: u64| n * n, 0..1000)?.sum::<Result<_, _>>()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
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
        submit::map_with(&self.root.shared, Location::caller(), &options, function, items)
    }

    /// Refuses further calls, runs those that were submitted, and waits for the ranks to end.
    ///
    /// # Python
    ///
    /// `shutdown(wait=True)`; see [`shutdown_with`](Self::shutdown_with) for the rest.
    ///
    /// # Blocking
    ///
    /// Until all calls are done and all ranks have ended; in a callback of one of the pool's own
    /// calls it does not wait.
    pub fn shutdown(&self) {
        self.shutdown_with(ShutdownOptions::new());
    }

    /// Shuts down as `options` say, and tells what was left unfinished.
    ///
    /// # Blocking
    ///
    /// As the options say; never in a callback of one of the pool's own calls.
    pub fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
        self.root.shared.close();
        self.finish(options)
    }

    fn finish(&self, options: ShutdownOptions) -> ShutdownReport {
        let deadline = options.timeout.and_then(deadline_after);
        let mut report = ShutdownReport::default();
        if options.cancel_futures {
            report.cancelled = self.root.shared.cancel_pending();
        }
        if options.wait && !self.root.shared.is_own_thread() {
            self.root.join(deadline);
        }
        (report.pending, report.running) = self.root.shared.left();
        report
    }
}

impl_executor!(MpiPoolExecutor);

// User code runs with no lock held, so that its panics leave nothing half done.
impl UnwindSafe for MpiPoolExecutor {}
impl RefUnwindSafe for MpiPoolExecutor {}

impl Drop for MpiPoolExecutor {
    fn drop(&mut self) {
        // Who shut it down before has said then whether to wait.
        if self.root.shared.close() {
            self.finish(ShutdownOptions::new().cancel_futures(panicking()));
        } else if !self.root.shared.is_own_thread() {
            // What the program does next may be MPI of its own; else only if it has ended meanwhile.
            self.root.join((!self.root.is_guest()).then(Instant::now));
        }
    }
}

impl fmt::Debug for MpiPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiPoolExecutor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
