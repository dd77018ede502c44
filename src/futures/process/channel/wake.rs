//! Waking a supervisor, and signalling a worker, by descriptor.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::futures::sys::descriptors::above_standard;

/// Something to wake a supervisor with.
pub(crate) fn wake_descriptor() -> rustix::io::Result<OwnedFd> {
    above_standard(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Makes a wake descriptor readable. That it may be full is no error: then it is readable.
pub(crate) fn wake(descriptor: BorrowedFd<'_>) {
    let _ = rustix::io::write(descriptor, &1u64.to_ne_bytes());
}

/// Makes a wake descriptor unreadable again.
pub(crate) fn clear_wake(descriptor: BorrowedFd<'_>) {
    let _ = rustix::io::read(descriptor, &mut [0; 8]);
}

/// Signals a process; false if the system refuses it. That it may have ended is no error.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> bool {
    matches!(rustix::process::pidfd_send_signal(pidfd, signal), Ok(()) | Err(Errno::SRCH))
}
