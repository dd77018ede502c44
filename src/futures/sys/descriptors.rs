//! Descriptor numbers: those that the pool avoids, and those that a worker closes.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use rustix::io::{FdFlags, Result};
use rustix::process::Pid;

/// The first number that is not that of a standard stream.
const FIRST: RawFd = 3;

/// Moves a new descriptor away from the numbers of the standard streams, should one of them be free: output
/// of the program must not go into the pool's channel.
pub(crate) fn above_standard(file: OwnedFd) -> Result<OwnedFd> {
    if file.as_raw_fd() >= FIRST { Ok(file) } else { rustix::io::fcntl_dupfd_cloexec(&file, FIRST) }
}

/// In a worker: closes descriptors that it has inherited by accident, because some part of the parent did
/// not set close-on-exec. Those that the program has opened since its start stay open.
///
/// An inherited descriptor takes its number from the start, so no descriptor that the process opens has the
/// number of one that the parent has open for its children.
pub(crate) fn close_inherited() {
    let Some(parent) = rustix::process::getppid() else { return };
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let numbers: Vec<RawFd> = numbers.filter(|number| *number >= FIRST).collect();
    for number in numbers {
        // SAFETY: if it was closed meanwhile (that of the directory listing), the call fails.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(flags) = rustix::io::fcntl_getfd(file) else { continue };
        if flags.contains(FdFlags::CLOEXEC) {
            continue;
        }
        let Ok(own) = rustix::fs::fstat(file) else { continue };
        if is_inherited(parent, number, (own.st_dev, own.st_ino)) {
            // SAFETY: no code in this process uses it, since none has opened it.
            unsafe { libc::close(number) };
        }
    }
}

/// Whether the parent has the same file under this number, without close-on-exec.
fn is_inherited(parent: Pid, number: RawFd, file: (u64, u64)) -> bool {
    /// `O_CLOEXEC`, as the kernel prints it.
    const CLOSED: u32 = 0o2_000_000;
    let of_parent = |what| format!("/proc/{}/{what}/{number}", parent.as_raw_nonzero());
    let theirs = fs::metadata(of_parent("fd")).map(|theirs| (theirs.dev(), theirs.ino()));
    let text = fs::read_to_string(of_parent("fdinfo")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    theirs.is_ok_and(|theirs| theirs == file) && flags.is_some_and(|flags| flags & CLOSED == 0)
}

/// Opens `/dev/null` under each free number of the standard streams, as the runtime does before `main`:
/// otherwise the next file that a call opens could become its standard output.
pub(crate) fn open_standard() {
    for number in 0..FIRST {
        // SAFETY: it is only queried; if it is closed, the call fails.
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
            // There may be no such file. A pipe without a writer is empty as well.
            let (reader, _) = rustix::pipe::pipe()?;
            rustix::stdio::dup2_stdin(reader)
        }
    }
}
