//! The fuzzer's targets (`fuzz/`, and CONTRIBUTING.md): all code that reads bytes of another process. Each
//! function takes any bytes and returns; any panic in it is a bug.
//!
//! The inputs for the two sides of the channel are streams as a worker and its parent write them, with
//! orders in between for all other events (`script.rs`). So recorded traffic is an input as it is.
//! `cargo test` runs the inputs in `fuzz/seeds`.

mod codec;
mod page;
pub(super) mod parent;
mod script;
mod segments;
#[cfg(test)]
mod tests;
mod values;
mod worker;

pub use codec::codec;
pub use page::page;
pub use parent::parent;
pub use segments::segments;
pub use worker::worker;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// The most bytes of a message.
const LIMIT: u64 = 1 << 20;

/// A socket pair like that of a worker and its parent.
fn sockets() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// A descriptor of the given kind: mostly memory, sealed or not.
fn file(kind: u8, content: &[u8]) -> rustix::io::Result<OwnedFd> {
    let memory = |seals: SealFlags| {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("fuzzed", flags)?;
        let mut at = 0;
        while at < content.len() {
            at += rustix::io::pwrite(&file, &content[at..], at as u64)?;
        }
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(file)
    };
    let constant = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    match kind % 8 {
        0 => memory(constant | SealFlags::SEAL),
        1 => memory(constant),
        2 => memory(SealFlags::SHRINK | SealFlags::FUTURE_WRITE),
        3 => memory(SealFlags::SHRINK),
        4 => memory(SealFlags::empty()),
        5 => Ok(rustix::pipe::pipe()?.0),
        6 => Ok(sockets()?.0),
        _ => {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open("/dev/zero", flags, rustix::fs::Mode::empty())
        }
    }
}

/// Makes a file shorter or longer, if its seals allow it.
fn resize(file: &OwnedFd, len: u64) {
    let _ = rustix::fs::ftruncate(file.as_fd(), len);
}
