//! ULFM, the extension of MPI by which a program survives the death of ranks. Not every MPI has it, so its
//! functions are looked up at run time: the same executable runs with all of them.

use std::ffi::{CStr, c_int, c_void};

use ::mpi::ffi::{self, MPI_Comm, MPI_Group};

use super::ffi::Comm;

type Acknowledge = unsafe extern "C" fn(MPI_Comm) -> c_int;
type AcknowledgeSome = unsafe extern "C" fn(MPI_Comm, c_int, *mut c_int) -> c_int;
type GetFailed = unsafe extern "C" fn(MPI_Comm, *mut MPI_Group) -> c_int;

/// The functions of this MPI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ulfm {
    /// The names since the first version: all failures known by now, as a group.
    Old { acknowledge: Acknowledge, failed: GetFailed },
    /// The names of the draft for MPI 5.
    New { acknowledge: AcknowledgeSome, failed: GetFailed },
}

impl Ulfm {
    pub(crate) fn find() -> Option<Self> {
        let old = || {
            let acknowledge = symbol(c"MPIX_Comm_failure_ack")?;
            let failed = symbol(c"MPIX_Comm_failure_get_acked")?;
            // SAFETY: the signature that all MPIs give this function.
            let acknowledge =
                unsafe { std::mem::transmute::<*mut c_void, Acknowledge>(acknowledge) };
            // SAFETY: as above.
            let failed = unsafe { std::mem::transmute::<*mut c_void, GetFailed>(failed) };
            Some(Self::Old { acknowledge, failed })
        };
        let new = |acknowledge: &CStr, failed: &CStr| {
            let (acknowledge, failed) = (symbol(acknowledge)?, symbol(failed)?);
            // SAFETY: as above.
            let acknowledge =
                unsafe { std::mem::transmute::<*mut c_void, AcknowledgeSome>(acknowledge) };
            // SAFETY: as above.
            let failed = unsafe { std::mem::transmute::<*mut c_void, GetFailed>(failed) };
            Some(Self::New { acknowledge, failed })
        };
        old()
            .or_else(|| new(c"MPI_Comm_ack_failed", c"MPI_Comm_get_failed"))
            .or_else(|| new(c"MPIX_Comm_ack_failed", c"MPIX_Comm_get_failed"))
    }

    /// Acknowledges all known failures, so that messages of other ranks come again; returns the ranks that
    /// have died. `None` if this MPI cannot tell.
    pub(crate) fn dead(self, comm: Comm, size: usize) -> Option<Vec<usize>> {
        // SAFETY: a constant of the C library.
        let mut group = unsafe { ffi::RSMPI_GROUP_NULL };
        let told = match self {
            Self::Old { acknowledge, failed } => {
                // SAFETY: a live communicator.
                let acknowledged = unsafe { acknowledge(comm.0) };
                // SAFETY: a live communicator.
                acknowledged == 0 && unsafe { failed(comm.0, &raw mut group) } == 0
            }
            Self::New { acknowledge, failed } => {
                let (all, mut acknowledged) = (c_int::try_from(size).ok()?, 0);
                // SAFETY: a live communicator.
                let code = unsafe { acknowledge(comm.0, all, &raw mut acknowledged) };
                // SAFETY: a live communicator.
                code == 0 && unsafe { failed(comm.0, &raw mut group) } == 0
            }
        };
        if !told {
            return None;
        }
        let ranks = ranks_of(group, comm);
        // SAFETY: the function above has made the group for this one.
        unsafe { ffi::MPI_Group_free(&raw mut group) };
        ranks
    }
}

/// The ranks of a group in a communicator.
fn ranks_of(group: MPI_Group, comm: Comm) -> Option<Vec<usize>> {
    let mut size = 0;
    // SAFETY: a live group.
    if unsafe { ffi::MPI_Group_size(group, &raw mut size) } != 0 {
        return None;
    }
    // SAFETY: a constant of the C library.
    let mut all = unsafe { ffi::RSMPI_GROUP_NULL };
    // SAFETY: a live communicator.
    if unsafe { ffi::MPI_Comm_group(comm.0, &raw mut all) } != 0 {
        return None;
    }
    let inside: Vec<c_int> = (0..size).collect();
    let mut ranks = vec![-1; inside.len()];
    let (from, to) = (inside.as_ptr(), ranks.as_mut_ptr());
    // SAFETY: both arrays have `size` items.
    let code = unsafe { ffi::MPI_Group_translate_ranks(group, size, from, all, to) };
    // SAFETY: the function above has made the group for this one.
    unsafe { ffi::MPI_Group_free(&raw mut all) };
    (code == 0).then(|| ranks.into_iter().filter_map(|rank| usize::try_from(rank).ok()).collect())
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends in a zero.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}
