//! The thread that initialises MPI for the pool, and finalises it: MPI wants both from one thread, and a
//! pool may end in any.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::transport::Fault;
use super::transport::ffi;
use crate::sync::{JoinHandle, Mutex, spawn};

struct Keeper {
    /// Dropped when MPI is to be finalised.
    order: Sender<()>,
    done: Receiver<Result<(), ffi::MpiFailure>>,
    thread: JoinHandle<()>,
}

static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

/// Initialises MPI for one thread at a time. The caller has seen that nobody has done so before.
pub(crate) fn initialise() -> Result<(), Fault> {
    let ((order, orders), (tells, done)) = (channel::<()>(), channel());
    let body = move || {
        let initialised = ffi::initialise();
        let failed = initialised.is_err();
        let _ = tells.send(initialised);
        if !failed {
            let _ = orders.recv(); // an error: that is the order
            let _ = tells.send(ffi::finalise());
        }
    };
    let thread = spawn("MPI".into(), None, body);
    let thread = thread.map_err(|error| Fault::new(format!("no thread for MPI: {error}")))?;
    match done.recv() {
        Ok(initialised) => initialised?,
        Err(_) => return Err(Fault::new("the thread that initialises MPI has died")),
    }
    *KEEPER.lock() = Some(Keeper { order, done, thread });
    Ok(())
}

/// Finalises what [`initialise`] has initialised, in the same thread.
pub(crate) fn finalise() -> Result<(), Fault> {
    let keeper = KEEPER.lock().take();
    let Some(Keeper { order, done, thread }) = keeper else { return Ok(()) };
    drop(order);
    let finalised = done.recv();
    let _ = thread.join();
    finalised
        .map_err(|_| Fault::new("the thread that finalises MPI has died"))?
        .map_err(Fault::from)
}
