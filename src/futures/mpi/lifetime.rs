//! The thread that initialises and finalises MPI for the pool: MPI requires one thread for both, and a pool
//! may end in any thread.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::transport::Fault;
use super::transport::ffi;
use crate::sync::{JoinHandle, Mutex, spawn};

struct MpiThread {
    /// Dropped to have MPI finalised.
    finalise: Sender<()>,
    done: Receiver<Result<(), ffi::MpiFailure>>,
    thread: JoinHandle<()>,
}

static MPI_THREAD: Mutex<Option<MpiThread>> = Mutex::new(None);

/// Initialises MPI for one thread at a time. The caller has checked that it was not initialised before.
pub(crate) fn initialise() -> Result<(), Fault> {
    let ((finalise, orders), (results, done)) = (channel::<()>(), channel());
    let body = move || {
        let initialised = ffi::initialise();
        let failed = initialised.is_err();
        let _ = results.send(initialised);
        if !failed {
            let _ = orders.recv(); // an error, when the other end is dropped
            let _ = results.send(ffi::finalise());
        }
    };
    let thread = spawn("MPI".into(), None, body);
    let thread = thread.map_err(|error| Fault::new(format!("no thread for MPI: {error}")))?;
    match done.recv() {
        Ok(initialised) => initialised?,
        Err(_) => return Err(Fault::new("the thread that initialises MPI has died")),
    }
    *MPI_THREAD.lock() = Some(MpiThread { finalise, done, thread });
    Ok(())
}

/// Finalises what [`initialise`] has initialised, in the same thread.
pub(crate) fn finalise() -> Result<(), Fault> {
    let own = MPI_THREAD.lock().take();
    let Some(MpiThread { finalise, done, thread }) = own else { return Ok(()) };
    drop(finalise);
    let finalised = done.recv();
    let _ = thread.join();
    finalised
        .map_err(|_| Fault::new("the thread that finalises MPI has died"))?
        .map_err(Fault::from)
}
