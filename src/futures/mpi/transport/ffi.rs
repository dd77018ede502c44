//! The raw calls of MPI that the pool makes, each with its return code.
//!
//! The safe layer of the crate `mpi` drops the codes. All that is called here takes handles that
//! this module made or was given, and memory that lives as long as the call says.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use ::mpi::ffi::{self, MPI_Comm, MPI_Message, MPI_Request, MPI_Status};
use ::mpi::traits::Communicator;

use super::Fault;

/// What an MPI function did not do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MpiFailure {
    what: &'static str,
    code: c_int,
}

impl MpiFailure {
    pub(crate) fn into_fault(self) -> Fault {
        Fault::new(format!("{} failed: {}", self.what, error_text(self.code)))
    }
}

impl From<MpiFailure> for Fault {
    fn from(failed: MpiFailure) -> Self {
        failed.into_fault()
    }
}

fn check(what: &'static str, code: c_int) -> Result<(), MpiFailure> {
    if code == 0 { Ok(()) } else { Err(MpiFailure { what, code }) }
}

/// The text for an error code.
fn error_text(code: c_int) -> String {
    /// No MPI has longer ones: the constant of its header is between 256 and 1024.
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

/// Set by the launcher of Open MPI 5 for programs that outlive their ranks.
const OUTLIVES: &str = "OMPI_MCA_mpi_ft_enable";

/// Has Open MPI 5 finalise each rank by itself. With a barrier, which ranks that have died do not
/// always leave, the others would now and then wait for ever.
const FINALISE_ALONE: &str = "OMPI_MCA_async_mpi_finalize";

/// Initialises MPI for one thread at a time.
pub(crate) fn initialise() -> Result<(), MpiFailure> {
    if std::env::var_os(OUTLIVES).is_some() && std::env::var_os(FINALISE_ALONE).is_none() {
        // SAFETY: Rust code takes turns with this. Of C code that reads the environment at the same
        // time, in a thread that the program has started before, `build` warns.
        unsafe { std::env::set_var(FINALISE_ALONE, "1") };
    }
    let mut provided = 0;
    // SAFETY: no arguments are passed on; the caller has seen that nobody has done it before.
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
    // SAFETY: MPI is initialised, and nothing of the pool is under way any more.
    check("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
}

/// A communicator of the pool's own.
#[derive(Clone, Copy)]
pub(crate) struct Comm(pub(super) MPI_Comm);

// SAFETY: a handle; which thread uses it at a time is for the rest of the pool to see to.
unsafe impl Send for Comm {}

/// A message that was matched and not received.
pub(crate) struct Probed {
    pub(crate) from: c_int,
    pub(crate) tag: c_int,
    pub(crate) len: usize,
    message: MPI_Message,
}

/// What is under way.
pub(crate) struct Transfer(MPI_Request);

// SAFETY: as for `Comm`.
unsafe impl Send for Transfer {}

impl Comm {
    /// All ranks of the program.
    pub(crate) fn world() -> Self {
        // SAFETY: a constant of the C library.
        Self(unsafe { ffi::RSMPI_COMM_WORLD })
    }

    /// The communicator of somebody else.
    pub(crate) fn borrowed<C: Communicator>(comm: &C) -> Self {
        Self(comm.as_raw())
    }

    /// The duplicate of a communicator, which returns errors. All its ranks do this.
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

    /// Rank and number of ranks.
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

    /// Gives a duplicate back.
    pub(crate) fn free(mut self) -> Result<(), MpiFailure> {
        // SAFETY: the pool's own, with nothing under way.
        check("MPI_Comm_free", unsafe { ffi::MPI_Comm_free(&raw mut self.0) })
    }

    /// Ends the whole program.
    pub(crate) fn abort(self, code: c_int) -> ! {
        // SAFETY: a live communicator.
        unsafe { ffi::MPI_Abort(self.0, code) };
        std::process::abort() // it does not return
    }

    /// Begins to send. If it is `awaited`, the request is done only when the other side has begun to
    /// receive, and otherwise perhaps as soon as MPI has a copy.
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

    /// Looks for a message, from one rank or from any.
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
    /// `len` bytes are there, and nobody else touches them until the request is done.
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
    /// Whether it is done; also after an error it is.
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
