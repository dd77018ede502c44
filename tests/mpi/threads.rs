//! Watches which thread initialises MPI and which finalises it: these stand in front of the functions of
//! the library, in all tests of this binary.

use std::ffi::{c_char, c_int};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{ThreadId, current};

unsafe extern "C" {
    fn PMPI_Init_thread(
        count: *mut c_int,
        arguments: *mut *mut *mut c_char,
        wanted: c_int,
        provided: *mut c_int,
    ) -> c_int;
    fn PMPI_Finalize() -> c_int;
}

static INITIALISER: Mutex<Option<ThreadId>> = Mutex::new(None);
static FINALISED: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_finalised() -> bool {
    FINALISED.load(Ordering::SeqCst)
}

/// # Safety
///
/// As of the function of the library.
#[unsafe(no_mangle)]
unsafe extern "C" fn MPI_Init_thread(
    count: *mut c_int,
    arguments: *mut *mut *mut c_char,
    wanted: c_int,
    provided: *mut c_int,
) -> c_int {
    *INITIALISER.lock().unwrap() = Some(current().id());
    // SAFETY: passed on as it came.
    unsafe { PMPI_Init_thread(count, arguments, wanted, provided) }
}

#[unsafe(no_mangle)]
extern "C" fn MPI_Finalize() -> c_int {
    if *INITIALISER.lock().unwrap() != Some(current().id()) {
        eprintln!("MPI is finalised in another thread than it was initialised in");
        std::process::abort();
    }
    FINALISED.store(true, Ordering::SeqCst);
    // SAFETY: the caller may call it.
    unsafe { PMPI_Finalize() }
}
