//! Descriptors that wake a supervisor, and signals by pidfd.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::futures::sys::descriptors::above_standard;

/// A descriptor to wake a supervisor.
pub(crate) fn wake_descriptor() -> rustix::io::Result<OwnedFd> {
    above_standard(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Makes a wake descriptor readable. If it is full it is readable already.
pub(crate) fn wake(descriptor: BorrowedFd<'_>) {
    let _ = rustix::io::write(descriptor, &1u64.to_ne_bytes());
}

/// Makes a wake descriptor unreadable again.
pub(crate) fn clear_wake(descriptor: BorrowedFd<'_>) {
    let _ = rustix::io::read(descriptor, &mut [0; 8]);
}

/// Signals a process; false if the system refuses it. It is no error if the process has ended.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> bool {
    matches!(rustix::process::pidfd_send_signal(pidfd, signal), Ok(()) | Err(Errno::SRCH))
}
