//! Resource limits, and how to make shared memory in spite of the limit on file sizes.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::sync::Mutex;

/// A limit of this process. Some sandboxes refuse to tell it.
pub(crate) fn get(resource: Resource) -> Result<Rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is what the call fills.
    if unsafe { libc::getrlimit(resource as _, &raw mut limit) } != 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::PERM));
    }
    let bounded = |value| (value != libc::RLIM_INFINITY).then_some(value);
    Ok(Rlimit { current: bounded(limit.rlim_cur), maximum: bounded(limit.rlim_max) })
}

/// Gives a memory file its length.
///
/// The limit on file sizes is meant for files that calls write, but the kernel applies it here as well, and
/// kills a process that exceeds it (SIGXFSZ). So the limit is raised for a moment, if that is allowed.
pub(crate) fn set_len(file: BorrowedFd<'_>, len: u64) -> Result<()> {
    static RAISED: Mutex<()> = Mutex::new(());
    let truncate = || rustix::io::retry_on_intr(|| rustix::fs::ftruncate(file, len));
    if get(Resource::Fsize).is_ok_and(|limit| limit.current.is_none()) {
        return truncate();
    }
    // Without this lock the limit could be the one that another thread has raised.
    let _raised = RAISED.lock();
    let Ok(before) = get(Resource::Fsize) else { return truncate() };
    let fits = |limit: Option<u64>| limit.is_none_or(|limit| len <= limit);
    if !fits(before.maximum) {
        return Err(Errno::FBIG);
    }
    if !fits(before.current) {
        setrlimit(Resource::Fsize, Rlimit { current: Some(len), maximum: before.maximum })?;
    }
    let set = truncate();
    setrlimit(Resource::Fsize, before)?;
    set
}
