//! The life of MPI in this process: who initialises it, who finalises it, and what becomes of the
//! other ranks if this one ends early.

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

/// Exit code of a rank that the pool does not want, or that lost it.
pub(crate) const LOST: i32 = 113;

/// Whether this rank is serving a pool, so that no other can be made.
static SERVES: AtomicBool = AtomicBool::new(false);

/// Whether this program has made its one pool of all ranks.
static BUILT: AtomicBool = AtomicBool::new(false);

/// The pools that live, to be ended when the program ends.
static LEFT: Mutex<Vec<Arc<PoolState>>> = Mutex::new(Vec::new());

/// How long the pool's thread may take to end when the program does, beyond what calls may.
const END: Duration = Duration::from_secs(5);

/// The ranks of a pool, as one of them sees it.
pub(crate) struct Ranks {
    pub(crate) comm: Comm,
    pub(crate) rank: usize,
    pub(crate) size: usize,
    /// Whether MPI is to be finalised with the pool.
    pub(crate) finalises: bool,
}

/// An error inside of a call that runs on a rank of a pool.
pub(crate) fn check() -> Result<()> {
    // ORDERING: Relaxed; a flag by itself.
    if SERVES.load(Ordering::Relaxed) {
        let text = "a call that runs on a rank of a pool cannot make a pool of ranks";
        return Err(Error::InvalidArgument(text.into()));
    }
    Ok(())
}

/// An error if another pool of this rank lives, so that its thread may be in MPI at this moment, and
/// MPI does not allow that.
fn check_alone() -> Result<()> {
    if LEFT.lock().is_empty() || ffi::is_parallel().map_err(fault)? {
        return Ok(());
    }
    let text = "another pool of this rank lives: with less than `Threading::Multiple` it is to be shut \
                down first";
    Err(Error::InvalidArgument(text.into()))
}

impl Ranks {
    /// All ranks of the program; MPI is initialised if it is not. Once.
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
            let _ = lifetime::finalise(); // there is an error to be told already
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

    /// Ends what this rank has of MPI.
    pub(crate) fn close(&self) {
        if ffi::life().1 {
            return; // by the program, before it let go of the pool
        }
        if !self.finalises {
            let _ = self.comm.free(); // not if ranks have died
        } else if let Err(Fault(why)) = lifetime::finalise() {
            log::error!(target: crate::LOG_TARGET, "{why}");
        }
    }

    /// Ends the program on all ranks, in words.
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
        let mut link = MpiTransport::new(self.comm, self.rank, self.size, Arc::clone(&buffers));
        let served = RankLoop::new(&mut link, buffers).serve(&hello());
        // ORDERING: as above.
        SERVES.store(false, Ordering::Relaxed);
        match served {
            Ok(Served::Stopped) => Ok(()),
            Ok(Served::Refused(why)) => Err(Error::Mpi(why.into())),
            Err(_) if link.has_lost() => {
                // There is nobody left to work for, and to finalise without root may take for ever.
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
        // Also if it was refused: root has an error, and is about to do something about it. A code
        // that is not 0 would have the launcher kill it.
        std::process::exit(0)
    }
}

/// Who this process is.
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

/// From now on this pool lives, and the end of the program ends it.
pub(crate) fn end_with_program(pool: &Arc<PoolState>) {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    LEFT.lock().push(Arc::clone(pool));
    // ORDERING: Relaxed; a flag by itself.
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: a function that may be called at any time.
        unsafe { libc::atexit(at_exit) };
    }
}

/// The pool has ended.
pub(crate) fn forget(pool: &Arc<PoolState>) {
    LEFT.lock().retain(|left| !Arc::ptr_eq(left, pool));
}

/// Tells the other ranks to end: they would wait for ever. Calls that run get a moment.
extern "C" fn at_exit() {
    let left = std::mem::take(&mut *LEFT.lock());
    left.iter().for_each(|pool| pool.end_with_program(deadline_after(END)));
}
