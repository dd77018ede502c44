//! [`MpiPoolBuilder`]: the settings of an [`MpiPoolExecutor`].

use std::fmt;

use ::mpi::traits::Communicator;

use super::pool::{MpiPoolExecutor, Role};
use super::root::Root;
use super::root::adaptive_credit::Credit;
use super::root::pool_state::PoolState;
use super::runtime::{self, Ranks};
use super::transport::ffi::Comm;
use crate::error::{Error, Outcome, Result};
use crate::futures::executor::Portable;
use crate::futures::remote::function_id::{self, build_fingerprint};
use crate::futures::remote::invoke::call_initializer;
use crate::futures::remote::submit::RemotePool;

/// Settings of an [`MpiPoolExecutor`]; see [`MpiPoolExecutor::builder`].
///
/// All ranks build; the settings of rank 0 are what counts.
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
    initializer: Option<RankInitializer>,
}

/// Encodes the call of the initializer.
type RankInitializer = Box<dyn FnOnce(&PoolState) -> Result<Vec<u8>> + Send>;

/// The most bytes of a message unless the builder says otherwise.
const MESSAGE_LIMIT: u64 = 2 << 30;

const ALONE: &str = "this program runs as a single rank, so that there is nobody to run calls: start it \
                     with `mpirun -n 4 program` (one rank submits, three run calls), or allow \
                     `local_fallback(true)`";

impl MpiPoolBuilder {
    /// How often a call is run again when the rank that ran it died. Default: 0, and the call fails
    /// with [`Error::WorkerDied`].
    ///
    /// For calls that may be begun more than once. Needs an MPI that survives the death of a rank;
    /// with any other the death of a rank ends the program.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// At most this many calls are with one rank at a time. Default: one to some hundred, so many
    /// that the rank is busy for a moment.
    ///
    /// With 1 no call ever waits behind another one in a rank, and what has not started can be
    /// cancelled; but the rank has nothing to do while its result travels.
    ///
    /// With any number each answer goes back at once, instead of together with those of the calls
    /// after it. For very short calls that costs about half of the throughput.
    pub fn credit(mut self, calls: usize) -> Self {
        self.credit = Some(calls);
        self
    }

    /// The most bytes of an encoded argument or result. Default: 2 GiB.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// In a program of one rank: whether to run the calls in a thread of it, instead of failing with
    /// [`Error::NoWorkers`]. Default: no.
    pub fn local_fallback(mut self, allowed: bool) -> Self {
        self.local_fallback = allowed;
        self
    }

    /// Called with `argument` by each worker before its first call.
    ///
    /// If it panics or returns an `Err`, the pool is broken: calls that wait, and all later ones,
    /// fail with [`Error::BrokenClusterPool`], which keeps the cause.
    ///
    /// ```no_run
    /// use concurrent::futures::MpiPoolExecutor;
    ///
    /// let pool = MpiPoolExecutor::builder()
    ///     .initializer(|directory: String| std::env::set_current_dir(directory), "/tmp".into())
    ///     .build()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn initializer<A: Portable, O: Outcome + 'static>(
        mut self,
        function: fn(A) -> O,
        argument: A,
    ) -> Self {
        self.initializer = Some(Box::new(move |shared| {
            let token = function_id::token(call_initializer::<A, O>, function)?;
            let (_, frame) = shared.encode(token, |sink| sink.encode(&argument))?;
            Ok(frame.bytes().to_vec())
        }));
        self
    }

    /// Makes the pool on rank 0. On every other rank this never returns: the process serves the pool,
    /// finalises MPI when that is shut down, and exits with code 0.
    ///
    /// MPI is initialised here unless the program has done so. What `main` does before, every rank
    /// does. It may set an environment variable (so that ranks may die), so call it before
    /// you start threads.
    ///
    /// # Blocking
    ///
    /// Until every rank has said that it is there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a credit of 0, in a call that runs on a rank of a pool, or for
    /// the second pool of a program; [`Error::NoWorkers`] in a program of one rank;
    /// [`Error::Cluster`] if MPI lacks what is needed, or a rank runs another build of the program;
    /// [`Error::Encode`] for the argument of the initializer.
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

    /// What fails on all ranks alike, before any says something to another.
    fn check(self) -> Result<Plan> {
        if self.credit == Some(0) {
            return Err(Error::InvalidArgument("credit must be greater than 0".into()));
        }
        runtime::check()?;
        build_fingerprint()?;
        let limit = self.max_message_size.unwrap_or(MESSAGE_LIMIT).min(isize::MAX as u64);
        let credit = self.credit.map_or(Credit::Adaptive, Credit::Fixed);
        // Encoded by a pool without ranks: how many there are is not known yet.
        let nobody = PoolState::new(0, credit, self.retries, limit);
        let initializer = self.initializer.map(|encode| encode(&nobody)).transpose()?;
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
    /// The pool, on root.
    fn root(self, ranks: Ranks) -> Result<MpiPoolExecutor> {
        let workers = (ranks.size - 1).max(1);
        let shared = PoolState::new(workers, self.credit, self.retries, self.limit);
        if ranks.size > 1 {
            return Root::of_ranks(shared, ranks, self.initializer).map(MpiPoolExecutor::of);
        }
        ranks.close();
        if self.local_fallback {
            return Root::local(shared, self.initializer).map(MpiPoolExecutor::of);
        }
        Err(Error::NoWorkers(ALONE))
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
