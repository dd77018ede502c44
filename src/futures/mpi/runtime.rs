//! MPI in this process: initialising and finalising it, serving on a rank that is not root, and ending the
//! other ranks if this process ends early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::lifetime;
use super::protocol::RankHello;
use super::rank::{RankLoop, Served};
use super::root::pool_state::PoolState;
use super::transport::Fault;
use super::transport::buffer_pool::BufferPool;
use super::transport::ffi::{self, Comm};
use super::transport::mpi_transport::MpiTransport;
use crate::error::{Error, Result};
use crate::futures::remote::complain;
use crate::futures::remote::function_id::build_fingerprint;
use crate::sync::{Mutex, deadline_after};
use crate::user_code::install_hook;

/// The exit code of a rank that has lost its pool.
pub(crate) const LOST: i32 = 113;

/// Whether this rank is serving a pool, so that no other can be made.
static SERVES: AtomicBool = AtomicBool::new(false);

/// Whether this program has made its one pool of all ranks.
static BUILT: AtomicBool = AtomicBool::new(false);

/// The living pools, which end when the program ends.
static LIVING: Mutex<Vec<Arc<PoolState>>> = Mutex::new(Vec::new());

/// How long the pool's thread may take when the program ends, including calls that run.
const END: Duration = Duration::from_secs(5);

/// The ranks of a pool, as one of them sees it.
pub(crate) struct Ranks {
    pub(crate) comm: Comm,
    pub(crate) rank: usize,
    pub(crate) size: usize,
    /// Whether the pool finalises MPI.
    pub(crate) finalises: bool,
}

/// An error in a call that runs on a rank of a pool.
pub(crate) fn check() -> Result<()> {
    // ORDERING: Relaxed; a flag by itself.
    if SERVES.load(Ordering::Relaxed) {
        let text = "a call that runs on a rank of a pool cannot make a pool of ranks";
        return Err(Error::InvalidArgument(text.into()));
    }
    Ok(())
}

/// An error if another pool of this rank lives, whose thread may be in an MPI call at this moment, and MPI
/// does not allow calls of several threads at a time.
fn check_alone() -> Result<()> {
    if LIVING.lock().is_empty() || ffi::is_parallel().map_err(fault)? {
        return Ok(());
    }
    let text = "another pool of this rank lives: with less than `Threading::Multiple` it must be shut \
                down first";
    Err(Error::InvalidArgument(text.into()))
}

impl Ranks {
    /// All ranks of the program; initialises MPI if need be. Works once.
    pub(crate) fn of_program() -> Result<Self> {
        // ORDERING: Relaxed; a flag by itself.
        if BUILT.swap(true, Ordering::Relaxed) {
            let text = "a program makes one pool of all its ranks: after that its workers have ended; \
                        for several one after the other there is `enter`";
            return Err(Error::InvalidArgument(text.into()));
        }
        let finalises = match ffi::life() {
            (_, true) => return Err(Error::Mpi("MPI has been finalised".into())),
            (true, false) => {
                check_alone()?;
                false
            }
            (false, false) => {
                lifetime::initialise().map_err(Fault::into_error)?;
                true
            }
        };
        // SAFETY: MPI is initialised, so that there is a world.
        let ranks = unsafe { Self::duplicate(Comm::world(), finalises) };
        if ranks.is_err() && finalises {
            let _ = lifetime::finalise(); // the first error is returned
        }
        ranks
    }

    /// The ranks of a communicator, on a duplicate of it.
    ///
    /// # Safety
    ///
    /// The handle is a live communicator.
    pub(crate) unsafe fn of(comm: Comm) -> Result<Self> {
        check_alone()?;
        // SAFETY: the caller's promise.
        unsafe { Self::duplicate(comm, false) }
    }

    /// # Safety
    ///
    /// As for `of`.
    unsafe fn duplicate(comm: Comm, finalises: bool) -> Result<Self> {
        if !ffi::is_serialised().map_err(fault)? {
            let text = "this MPI, or the way it was initialised, does not let different threads call \
                        it one at a time: `Threading::Serialized` is needed";
            return Err(Error::Mpi(text.into()));
        }
        // SAFETY: the caller's promise.
        let comm = unsafe { comm.duplicate() }.map_err(fault)?;
        // SAFETY: just made.
        let (rank, size) = unsafe { comm.place() }.map_err(fault)?;
        Ok(Self { comm, rank, size, finalises })
    }

    /// Ends this rank's use of MPI.
    pub(crate) fn close(&self) {
        if ffi::life().1 {
            return; // the program has finalised it before it dropped the pool
        }
        if !self.finalises {
            let _ = self.comm.free(); // not if ranks have died
        } else if let Err(Fault(why)) = lifetime::finalise() {
            log::error!(target: crate::LOG_TARGET, "{why}");
        }
    }

    /// Ends the program on all ranks, with a message.
    pub(crate) fn abort(&self, why: &Fault) -> ! {
        complain(format_args!("rank {} on {} ends the program: {}", self.rank, host(), why.0));
        self.comm.abort(LOST)
    }

    /// Serves the pool on this rank, which is not root, until it is shut down.
    pub(crate) fn serve(&self) -> Result<()> {
        install_hook();
        // ORDERING: Relaxed; a flag by itself.
        SERVES.store(true, Ordering::Relaxed);
        let buffers = Arc::<BufferPool>::default();
        let mut transport =
            MpiTransport::new(self.comm, self.rank, self.size, Arc::clone(&buffers));
        let served = RankLoop::new(&mut transport, buffers).serve(&hello());
        // ORDERING: as above.
        SERVES.store(false, Ordering::Relaxed);
        match served {
            Ok(Served::Stopped) => Ok(()),
            Ok(Served::Refused(why)) => Err(Error::Mpi(why.into())),
            Err(_) if transport.has_lost() => {
                // There is no root to work for, and to finalise without it may take for ever.
                complain(format_args!("rank {} on {} ends: rank 0 has died", self.rank, host()));
                std::process::exit(LOST)
            }
            Err(why) => self.abort(&why),
        }
    }

    /// As [`serve`](Self::serve); then the process ends.
    pub(crate) fn serve_and_exit(&self) -> ! {
        if let Err(refused) = self.serve() {
            complain(format_args!("rank {} on {} ends: {refused}", self.rank, host()));
        }
        self.close();
        // Even if it was refused: root has an error and handles it. With a code that is not 0 the launcher
        // would kill root.
        std::process::exit(0)
    }
}

/// The hello of this process.
pub(crate) fn hello() -> RankHello {
    RankHello::new(build_fingerprint().unwrap_or(0), host())
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn fault(failed: ffi::MpiFailure) -> Error {
    failed.into_fault().into_error()
}

/// Registers a living pool, which the end of the program ends.
pub(crate) fn end_with_program(pool: &Arc<PoolState>) {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    LIVING.lock().push(Arc::clone(pool));
    // ORDERING: Relaxed; a flag by itself.
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: a function that may be called at any time.
        unsafe { libc::atexit(at_exit) };
    }
}

/// Removes a pool that has ended.
pub(crate) fn forget(pool: &Arc<PoolState>) {
    LIVING.lock().retain(|living| !Arc::ptr_eq(living, pool));
}

/// Tells the other ranks to end: they would wait for ever otherwise. Calls that run get a moment.
extern "C" fn at_exit() {
    let pools = std::mem::take(&mut *LIVING.lock());
    pools.iter().for_each(|pool| pool.end_with_program(deadline_after(END)));
}
