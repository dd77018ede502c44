//! Numbers of descriptors: which the pool takes, and which a worker closes.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use rustix::io::{FdFlags, Result};
use rustix::process::Pid;

/// The first number that is not one of the standard streams.
const FIRST: RawFd = 3;

/// Moves a new descriptor away from the numbers of the standard streams, should one of them be free:
/// what the program writes to its output must not come into the pool's channel.
pub(crate) fn above_standard(file: OwnedFd) -> Result<OwnedFd> {
    if file.as_raw_fd() >= FIRST { Ok(file) } else { rustix::io::fcntl_dupfd_cloexec(&file, FIRST) }
}

/// In a worker: closes what it has inherited by accident, because some part of the parent did not
/// mark it as its own. What the program has opened since it started stays.
///
/// What a process inherits has its number taken from the first moment, so that nothing it opens has a
/// number that the parent has open for its children.
pub(crate) fn close_inherited() {
    let Some(parent) = rustix::process::getppid() else { return };
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let numbers: Vec<RawFd> = numbers.filter(|number| *number >= FIRST).collect();
    for number in numbers {
        // SAFETY: should it be closed meanwhile (it was the list's own), the answer is an error.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(flags) = rustix::io::fcntl_getfd(file) else { continue };
        if flags.contains(FdFlags::CLOEXEC) {
            continue;
        }
        let Ok(own) = rustix::fs::fstat(file) else { continue };
        if is_inherited(parent, number, (own.st_dev, own.st_ino)) {
            // SAFETY: nothing in this process knows of it, since nothing here has opened it.
            unsafe { libc::close(number) };
        }
    }
}

/// Whether the parent has the same file under this number, and open for its children.
fn is_inherited(parent: Pid, number: RawFd, file: (u64, u64)) -> bool {
    /// `O_CLOEXEC`, as the kernel writes it down.
    const CLOSED: u32 = 0o2_000_000;
    let of_parent = |what| format!("/proc/{}/{what}/{number}", parent.as_raw_nonzero());
    let theirs = fs::metadata(of_parent("fd")).map(|theirs| (theirs.dev(), theirs.ino()));
    let text = fs::read_to_string(of_parent("fdinfo")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    theirs.is_ok_and(|theirs| theirs == file) && flags.is_some_and(|flags| flags & CLOSED == 0)
}

/// Has something open under each number of the standard streams, as the runtime does ahead of `main`: else
/// the next file that a call opens would be its standard output.
pub(crate) fn open_standard() {
    for number in 0..FIRST {
        // SAFETY: it is asked for and nothing else; if it is closed, the answer is an error.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        if rustix::io::fcntl_getfd(file) == Err(rustix::io::Errno::BADF) {
            // The lowest free number is this one.
            // SAFETY: a path that ends in zero; the descriptor is meant to stay open.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// Makes standard input empty.
pub(crate) fn empty_stdin() -> Result<()> {
    match fs::File::open("/dev/null") {
        Ok(file) => rustix::stdio::dup2_stdin(file),
        Err(_) => {
            // There may be no such file. A pipe that nobody writes to is empty as well.
            let (reader, _) = rustix::pipe::pipe()?;
            rustix::stdio::dup2_stdin(reader)
        }
    }
}
