//! The MPI functions that the pool calls, each with its return code.
//!
//! The safe layer of the crate `mpi` drops the codes. The functions take handles that this module made or
//! was given, and memory that lives as long as each of them requires.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use ::mpi::ffi::{self, MPI_Comm, MPI_Message, MPI_Request, MPI_Status};
use ::mpi::traits::Communicator;

use super::Fault;

/// The failure of an MPI function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MpiFailure {
    function: &'static str,
    code: c_int,
}

impl MpiFailure {
    pub(crate) fn into_fault(self) -> Fault {
        Fault::new(format!("{} failed: {}", self.function, error_text(self.code)))
    }
}

impl From<MpiFailure> for Fault {
    fn from(failed: MpiFailure) -> Self {
        failed.into_fault()
    }
}

fn check(function: &'static str, code: c_int) -> Result<(), MpiFailure> {
    if code == 0 { Ok(()) } else { Err(MpiFailure { function, code }) }
}

/// The text for an error code.
fn error_text(code: c_int) -> String {
    /// No MPI has longer texts: the constant in its header is between 256 and 1024.
    const LONGEST: usize = 8192;
    let mut text = [0_u8; LONGEST];
    let mut len = 0;
    // SAFETY: there is room for the longest text.
    let failed = unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &raw mut len) };
    let text = usize::try_from(len).ok().and_then(|len| text.get(..len));
    match text {
        Some(text) if failed == 0 => String::from_utf8_lossy(text).into_owned(),
        _ => format!("error {code}"),
    }
}

/// Whether MPI was initialised, and whether it was finalised.
pub(crate) fn life() -> (bool, bool) {
    let (mut initialised, mut finalised) = (0, 0);
    // SAFETY: may be called at any time.
    unsafe { ffi::MPI_Initialized(&raw mut initialised) };
    // SAFETY: as above.
    unsafe { ffi::MPI_Finalized(&raw mut finalised) };
    (initialised != 0, finalised != 0)
}

/// Set by the launcher of Open MPI 5 for programs that survive the death of ranks.
const OUTLIVES: &str = "OMPI_MCA_mpi_ft_enable";

/// Has Open MPI 5 finalise each rank without a barrier. The others would sometimes wait there for ranks that
/// have died.
const FINALISE_ALONE: &str = "OMPI_MCA_async_mpi_finalize";

/// Initialises MPI for one thread at a time.
pub(crate) fn initialise() -> Result<(), MpiFailure> {
    if std::env::var_os(OUTLIVES).is_some() && std::env::var_os(FINALISE_ALONE).is_none() {
        // SAFETY: the standard library locks the environment. The documentation of `build` warns of C code that
        // reads it at the same time, in a thread that the program has started before.
        unsafe { std::env::set_var(FINALISE_ALONE, "1") };
    }
    let mut provided = 0;
    // SAFETY: no arguments are passed on; the caller has checked that MPI was not initialised before.
    let code = unsafe {
        ffi::MPI_Init_thread(
            null_mut(),
            null_mut(),
            ffi::RSMPI_THREAD_SERIALIZED,
            &raw mut provided,
        )
    };
    check("MPI_Init_thread", code)
}

/// Whether different threads may call MPI, one at a time.
pub(crate) fn is_serialised() -> Result<bool, MpiFailure> {
    // SAFETY: a constant of the C library.
    Ok(thread_level()? >= unsafe { ffi::RSMPI_THREAD_SERIALIZED })
}

/// Whether different threads may call MPI at the same time.
pub(crate) fn is_parallel() -> Result<bool, MpiFailure> {
    // SAFETY: a constant of the C library.
    Ok(thread_level()? >= unsafe { ffi::RSMPI_THREAD_MULTIPLE })
}

fn thread_level() -> Result<c_int, MpiFailure> {
    let mut provided = 0;
    // SAFETY: MPI is initialised; it may be called by any thread at any time.
    check("MPI_Query_thread", unsafe { ffi::MPI_Query_thread(&raw mut provided) })?;
    Ok(provided)
}

pub(crate) fn finalise() -> Result<(), MpiFailure> {
    // SAFETY: MPI is initialised, and the pool has no unfinished request.
    check("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
}

/// A communicator of the pool's own.
#[derive(Clone, Copy)]
pub(crate) struct Comm(pub(super) MPI_Comm);

// SAFETY: a handle; the rest of the pool makes sure that one thread uses it at a time.
unsafe impl Send for Comm {}

/// A message that was matched and not received.
pub(crate) struct Probed {
    pub(crate) from: c_int,
    pub(crate) tag: c_int,
    pub(crate) len: usize,
    message: MPI_Message,
}

/// A send or receive under way.
pub(crate) struct Transfer(MPI_Request);

// SAFETY: as for `Comm`.
unsafe impl Send for Transfer {}

impl Comm {
    /// All ranks of the program.
    pub(crate) fn world() -> Self {
        // SAFETY: a constant of the C library.
        Self(unsafe { ffi::RSMPI_COMM_WORLD })
    }

    /// A communicator of the program.
    pub(crate) fn borrowed<C: Communicator>(comm: &C) -> Self {
        Self(comm.as_raw())
    }

    /// Duplicates a communicator, with an error handler that returns errors. All its ranks must do this.
    ///
    /// # Safety
    ///
    /// The handle is a live communicator.
    pub(crate) unsafe fn duplicate(self) -> Result<Self, MpiFailure> {
        // SAFETY: a constant of the C library.
        let mut own = unsafe { ffi::RSMPI_COMM_NULL };
        // SAFETY: the caller's promise.
        check("MPI_Comm_dup", unsafe { ffi::MPI_Comm_dup(self.0, &raw mut own) })?;
        // SAFETY: a constant of the C library.
        let returns = unsafe { ffi::RSMPI_ERRORS_RETURN };
        // SAFETY: just made.
        check("MPI_Comm_set_errhandler", unsafe { ffi::MPI_Comm_set_errhandler(own, returns) })?;
        Ok(Self(own))
    }

    /// The rank of this process, and the number of ranks.
    ///
    /// # Safety
    ///
    /// The handle is a live communicator.
    pub(crate) unsafe fn place(self) -> Result<(usize, usize), MpiFailure> {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: the caller's promise.
        check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(self.0, &raw mut rank) })?;
        // SAFETY: the caller's promise.
        check("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(self.0, &raw mut size) })?;
        Ok((usize::try_from(rank).unwrap_or(0), usize::try_from(size).unwrap_or(0)))
    }

    /// Frees a duplicate.
    pub(crate) fn free(mut self) -> Result<(), MpiFailure> {
        // SAFETY: the pool's own communicator, without unfinished requests.
        check("MPI_Comm_free", unsafe { ffi::MPI_Comm_free(&raw mut self.0) })
    }

    /// Ends the whole program.
    pub(crate) fn abort(self, code: c_int) -> ! {
        // SAFETY: a live communicator.
        unsafe { ffi::MPI_Abort(self.0, code) };
        std::process::abort() // it does not return
    }

    /// Begins to send. If `awaited`, the request is done when the other side has begun to receive; otherwise it
    /// may be done as soon as MPI has a copy.
    ///
    /// # Safety
    ///
    /// The bytes stay where they are and as they are until the request is done.
    pub(crate) unsafe fn send(
        self,
        bytes: &[u8],
        to: c_int,
        tag: c_int,
        awaited: bool,
    ) -> Result<Transfer, MpiFailure> {
        let mut request = no_request();
        let (bytes, len) = (bytes.as_ptr().cast::<c_void>(), count(bytes.len()));
        let (send, name) = if awaited {
            (ffi::MPI_Issend as SendFunction, "MPI_Issend")
        } else {
            (ffi::MPI_Isend as SendFunction, "MPI_Isend")
        };
        // SAFETY: the caller's promise; `len` bytes are there.
        let code = unsafe { send(bytes, len, byte(), to, tag, self.0, &raw mut request) };
        check(name, code)?;
        Ok(Transfer(request))
    }

    /// Checks for a message, from one rank or from any.
    pub(crate) fn probe(self, from: Option<c_int>) -> Result<Option<Probed>, MpiFailure> {
        // SAFETY: constants of the C library.
        let (any_source, any_tag) = unsafe { (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_ANY_TAG) };
        // SAFETY: a constant of the C library.
        let mut message = unsafe { ffi::RSMPI_MESSAGE_NULL };
        let mut status = empty_status();
        let (from, mut found) = (from.unwrap_or(any_source), 0);
        // SAFETY: a live communicator.
        let code = unsafe {
            ffi::MPI_Improbe(
                from,
                any_tag,
                self.0,
                &raw mut found,
                &raw mut message,
                &raw mut status,
            )
        };
        check("MPI_Improbe", code)?;
        if found == 0 {
            return Ok(None);
        }
        let mut len = 0;
        // SAFETY: the status of a message of bytes.
        let code = unsafe { ffi::MPI_Get_count(&raw const status, byte(), &raw mut len) };
        check("MPI_Get_count", code)?;
        let len = usize::try_from(len).unwrap_or(0);
        Ok(Some(Probed { from: status.MPI_SOURCE, tag: status.MPI_TAG, len, message }))
    }
}

impl Probed {
    /// Begins to receive.
    ///
    /// # Safety
    ///
    /// There is room for `len` bytes, which no other code touches until the request is done.
    pub(crate) unsafe fn receive(mut self, into: *mut u8) -> Result<Transfer, MpiFailure> {
        let mut request = no_request();
        let (into, len) = (into.cast::<c_void>(), count(self.len));
        // SAFETY: the caller's promise; the message is received once.
        let code =
            unsafe { ffi::MPI_Imrecv(into, len, byte(), &raw mut self.message, &raw mut request) };
        check("MPI_Imrecv", code)?;
        Ok(Transfer(request))
    }
}

impl Transfer {
    /// Whether it is done; after an error it is as well.
    pub(crate) fn is_done(&mut self) -> Result<bool, MpiFailure> {
        let mut done = 0;
        let mut status = empty_status();
        // SAFETY: a request that this module made; when it is done it becomes the null request,
        // which is always done.
        let code = unsafe { ffi::MPI_Test(&raw mut self.0, &raw mut done, &raw mut status) };
        check("MPI_Test", code)?;
        Ok(done != 0)
    }
}

/// The functions that begin to send.
type SendFunction = unsafe extern "C" fn(
    *const c_void,
    c_int,
    ffi::MPI_Datatype,
    c_int,
    c_int,
    MPI_Comm,
    *mut MPI_Request,
) -> c_int;

fn no_request() -> MPI_Request {
    // SAFETY: a constant of the C library.
    unsafe { ffi::RSMPI_REQUEST_NULL }
}

fn byte() -> ffi::MPI_Datatype {
    // SAFETY: a constant of the C library.
    unsafe { ffi::RSMPI_UINT8_T }
}

fn count(len: usize) -> c_int {
    c_int::try_from(len).expect("longer messages go in pieces")
}

fn empty_status() -> MPI_Status {
    // SAFETY: a structure of integers, for which zeros are as good as anything.
    unsafe { std::mem::zeroed() }
}
