//! [`MpiPoolBuilder`]: the settings of an [`MpiPoolExecutor`].

use std::fmt;

use ::mpi::traits::Communicator;

use super::pool::{MpiPoolExecutor, Role};
use super::root::adaptive_credit::Credit;
use super::root::pool_state::PoolState;
use super::runtime::{self, Ranks};
use super::transport::ffi::Comm;
use crate::error::{Error, Outcome, Result};
use crate::futures::executor::Portable;
use crate::futures::remote::codec::HeapOnly;
use crate::futures::remote::function_id::build_fingerprint;
use crate::futures::remote::initializer::{DEFAULT_MESSAGE_LIMIT, EncodedInitializer};
use crate::futures::remote::submit::RemotePool;

/// The settings of an [`MpiPoolExecutor`]; [`MpiPoolExecutor::builder`] makes one.
///
/// All ranks build; the settings of rank 0 count.
///
/// # Python
///
/// The arguments `initializer` and `initargs` of mpi4py's `MPIPoolExecutor(...)`. There is no
/// `max_workers`: all ranks that were started are workers.
///
/// # Examples
///
/// ```no_run
/// use concurrent::futures::MpiPoolExecutor;
///
/// let pool = MpiPoolExecutor::builder().retries(1).local_fallback(true).build()?;
/// assert_eq!(pool.submit(|n: u32| n * 2, 21)?.into_result()?, 42);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Default)]
#[must_use = "call build() to make the pool"]
pub struct MpiPoolBuilder {
    retries: u32,
    credit: Option<usize>,
    max_message_size: Option<u64>,
    local_fallback: bool,
    initializer: Option<EncodedInitializer<HeapOnly>>,
}

const ALONE: &str = "this program runs as a single rank, so that there is nobody to run calls: start it \
                     with `mpirun -n 4 program` (one rank submits, three run calls), or allow \
                     `local_fallback(true)`";

impl MpiPoolBuilder {
    /// Sets how often a call is run again when the rank that ran it died: for calls that may be
    /// begun more than once. Default: 0, and the call fails with [`Error::WorkerDied`].
    ///
    /// It needs an MPI that survives the death of a rank; with any other that death ends the
    /// program.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let pool = MpiPoolExecutor::builder().retries(2).build()?;
    /// let squares = pool.map(|n: u64| n * n, 0..1000).collect::<concurrent::Result<Vec<_>>>()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sets how many calls one rank may have at a time. Default: between one and some hundred, so
    /// that the rank is busy for a moment.
    ///
    /// With 1, no call ever waits behind another one in a rank, and calls that have not started can
    /// be cancelled; but the rank has nothing to do while its result travels. With any number, each
    /// reply goes back at once, instead of together with those of later calls. For very short calls
    /// that costs about half of the throughput.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let pool = MpiPoolExecutor::builder().credit(1).build()?;
    /// let calls = (0..100).map(|n| pool.submit(|n: u64| n * n, n)).collect::<Result<Vec<_>, _>>()?;
    /// println!("{} had not started", calls.iter().filter(|call| call.cancel()).count());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn credit(mut self, calls: usize) -> Self {
        self.credit = Some(calls);
        self
    }

    /// Limits an encoded argument or result, in bytes. Default: 2 GiB.
    ///
    /// A larger argument is refused by `submit`; a larger result fails its call. Either way the
    /// error is [`Error::MessageTooLarge`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::{Error, futures::MpiPoolExecutor};
    /// let pool = MpiPoolExecutor::builder().max_message_size(1 << 20).build()?;
    /// let refused = pool.submit(|text: String| text.len(), "much ".repeat(1 << 20));
    /// assert!(matches!(refused, Err(Error::MessageTooLarge { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// Sets whether a program of one rank runs its calls in a thread of its own, instead of failing
    /// with [`Error::NoWorkers`]. Default: no.
    ///
    /// # Python
    ///
    /// None: mpi4py spawns further ranks there.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use concurrent::futures::MpiPoolExecutor;
    /// let pool = MpiPoolExecutor::builder().local_fallback(true).build()?; // runs without `mpirun` too
    /// assert_eq!(pool.submit(|n: u64| n + 1, 41)?.into_result()?, 42);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn local_fallback(mut self, allowed: bool) -> Self {
        self.local_fallback = allowed;
        self
    }

    /// Sets a function that each worker calls with `argument` before its first call.
    ///
    /// If it panics or returns an `Err`, the pool is broken: pending calls, and all later ones,
    /// fail with [`Error::BrokenMpiPool`], which keeps the cause.
    ///
    /// # Python
    ///
    /// `initializer` and `initargs`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use concurrent::futures::MpiPoolExecutor;
    ///
    /// let pool = MpiPoolExecutor::builder()
    ///     .initializer(|directory: String| std::env::set_current_dir(directory), "/tmp".into())
    ///     .build()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "initargs")]
    pub fn initializer<A: Portable, O: Outcome + 'static>(
        mut self,
        function: fn(A) -> O,
        argument: A,
    ) -> Self {
        self.initializer = Some(EncodedInitializer::new(function, argument));
        self
    }

    /// Makes the pool on rank 0. On every other rank this never returns: the process serves the
    /// pool, finalises MPI when that is shut down, and exits with code 0.
    ///
    /// It initialises MPI unless the program has done so. Every rank also does what `main` does
    /// before this call. It may set an environment variable (so that ranks may die), so call it
    /// before you start threads.
    ///
    /// # Blocking
    ///
    /// Until every rank has connected.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a credit of 0, in a call that runs on a rank of a pool, or
    /// for the second pool of a program; [`Error::NoWorkers`] in a program of one rank;
    /// [`Error::Mpi`] if MPI lacks a function that the pool needs, or a rank runs another build
    /// of the program; [`Error::Encode`] if the argument of the initializer cannot be encoded.
    ///
    /// # Python
    ///
    /// mpi4py's `MPIPoolExecutor(...)` under `python -m mpi4py.futures`, followed by `bootup()`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use concurrent::{Error, futures::MpiPoolExecutor};
    ///
    /// match MpiPoolExecutor::builder().build() {
    ///     Ok(pool) => println!("{} workers", pool.workers()),
    ///     Err(Error::NoWorkers(advice)) => eprintln!("{advice}"),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// ```
    #[doc(alias = "bootup")]
    pub fn build(self) -> Result<MpiPoolExecutor> {
        let plan = self.check()?;
        let ranks = Ranks::of_program()?;
        if ranks.rank > 0 {
            ranks.serve_and_exit()
        }
        plan.root(ranks)
    }

    /// Makes a pool of the ranks of `comm`, for programs with MPI code of their own; see
    /// [`MpiPoolExecutor::enter`].
    ///
    /// # Blocking
    ///
    /// On rank 0 as [`build`](Self::build); on the others until the pool is shut down.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    ///
    /// # Python
    ///
    /// mpi4py's `MPICommExecutor(comm, ...)`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use concurrent::futures::mpi::mpi::{self, Threading};
    /// use concurrent::futures::mpi::{MpiPoolExecutor, Role};
    ///
    /// let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    /// if let Role::Root(pool) = MpiPoolExecutor::builder().credit(1).enter(&universe.world())? {
    ///     assert_eq!(pool.submit(|n: u64| n + 1, 41)?.into_result()?, 42);
    /// }
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn enter<C: Communicator>(self, comm: &C) -> Result<Role> {
        let plan = self.check()?;
        // SAFETY: a communicator that is borrowed is alive.
        let ranks = unsafe { Ranks::of(Comm::borrowed(comm)) }?;
        if ranks.rank > 0 {
            let served = ranks.serve();
            ranks.close();
            return served.map(|()| Role::Worker);
        }
        plan.root(ranks).map(Role::Root)
    }

    /// Checks that fail on all ranks alike, before any message.
    fn check(self) -> Result<Plan> {
        if self.credit == Some(0) {
            return Err(Error::InvalidArgument("credit must be greater than 0".into()));
        }
        runtime::check()?;
        build_fingerprint()?;
        let limit = self.max_message_size.unwrap_or(DEFAULT_MESSAGE_LIMIT).min(isize::MAX as u64);
        let credit = self.credit.map_or(Credit::Adaptive, Credit::Fixed);
        // By a pool without ranks: their number is not known yet.
        let encoder = PoolState::new(0, credit, self.retries, limit);
        let encode = |token, encode| encoder.encode(token, encode);
        let initializer = self.initializer.map(|own| own.into_message(encode)).transpose()?;
        let initializer = initializer.and_then(|call| call.payload());
        let initializer = initializer.map(|payload| payload.bytes().to_vec());
        let Self { retries, local_fallback, .. } = self;
        Ok(Plan { credit, retries, limit, local_fallback, initializer })
    }
}

/// Checked settings.
struct Plan {
    credit: Credit,
    retries: u32,
    limit: u64,
    local_fallback: bool,
    initializer: Option<Vec<u8>>,
}

impl Plan {
    /// Makes the pool on root.
    fn root(self, ranks: Ranks) -> Result<MpiPoolExecutor> {
        let workers = (ranks.size - 1).max(1);
        let pool = PoolState::new(workers, self.credit, self.retries, self.limit);
        if ranks.size > 1 {
            pool.start(ranks, self.initializer)?;
        } else {
            ranks.close();
            if !self.local_fallback {
                return Err(Error::NoWorkers(ALONE));
            }
            pool.start_local(self.initializer)?;
        }
        Ok(MpiPoolExecutor::of(pool))
    }
}

impl fmt::Debug for MpiPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiPoolBuilder")
            .field("retries", &self.retries)
            .field("credit", &self.credit)
            .field("max_message_size", &self.max_message_size)
            .field("local_fallback", &self.local_fallback)
            .finish_non_exhaustive()
    }
}
