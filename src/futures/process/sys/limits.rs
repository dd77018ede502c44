//! Limits on what a process may use, and how to keep clear of one.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sync::Mutex;

/// Gives a memory file its length.
///
/// The limit on the size of files is for what calls write, but the kernel applies it here as well, and
/// kills who exceeds it (SIGXFSZ). So it is raised for a moment if that is allowed.
pub(crate) fn set_len(file: BorrowedFd<'_>, len: u64) -> Result<()> {
    static RAISED: Mutex<()> = Mutex::new(());
    if getrlimit(Resource::Fsize).current.is_none() {
        return rustix::fs::ftruncate(file, len);
    }
    // What is read of a limit without this lock may be what another thread has raised it to.
    let _raised = RAISED.lock();
    let before = getrlimit(Resource::Fsize);
    let fits = |limit: Option<u64>| limit.is_none_or(|limit| len <= limit);
    if !fits(before.maximum) {
        return Err(Errno::FBIG);
    }
    if !fits(before.current) {
        setrlimit(Resource::Fsize, Rlimit { current: Some(len), maximum: before.maximum })?;
    }
    let set = rustix::fs::ftruncate(file, len);
    setrlimit(Resource::Fsize, before)?;
    set
}
