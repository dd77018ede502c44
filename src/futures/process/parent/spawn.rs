//! Starting, signalling and ending worker processes; the descriptors between them and the parent.
//!
//! A worker is the running program, executed afresh: `/proc/self/exe` is this program also when its
//! file was replaced or deleted. Nothing is done between fork and exec, so that the standard library
//! can use `posix_spawn`: a fork would copy the page tables of a large parent. The worker's end of
//! a socket is its standard input; everything else it needs is sent through that.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use rustix::event::EventfdFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

use crate::futures::process::builder::Settings;
use crate::futures::process::channel::page::Page;
use crate::futures::remote::attached::MOST_DESCRIPTORS;

/// The variable that makes a program a worker, if its standard input agrees.
pub(crate) const VARIABLE: &str = "CONCURRENT_PY_WORKER";

/// The first message to a worker; the descriptors of the bells and its page come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) magic: u64,
    /// What the environment variable must say.
    pub(crate) nonce: u128,
    /// Of the parent's program image.
    pub(crate) fingerprint: u64,
    /// How many pools the worker is inside of.
    pub(crate) depth: u32,
    /// The most bytes of a message.
    pub(crate) limit: u64,
}

pub(crate) const MAGIC: u64 = 0x636f_6e63_7572_7031;

/// What a worker answers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) nonce: u128,
    pub(crate) fingerprint: u64,
    pub(crate) pid: u32,
}

impl Greeting {
    pub(crate) fn to_bytes(self) -> io::Result<Vec<u8>> {
        let Self { magic, nonce, fingerprint, depth, limit } = self;
        postcard::to_stdvec(&(magic, nonce, fingerprint, depth, limit)).map_err(io::Error::other)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let fields = postcard::from_bytes(bytes).map_err(io::Error::other)?;
        let (magic, nonce, fingerprint, depth, limit) = fields;
        Ok(Self { magic, nonce, fingerprint, depth, limit })
    }
}

impl Hello {
    pub(crate) fn to_bytes(self) -> io::Result<Vec<u8>> {
        let Self { nonce, fingerprint, pid } = self;
        postcard::to_stdvec(&(nonce, fingerprint, pid)).map_err(io::Error::other)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let (nonce, fingerprint, pid) = postcard::from_bytes(bytes).map_err(io::Error::other)?;
        Ok(Self { nonce, fingerprint, pid })
    }
}

/// A process that was started and greeted.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) process: Process,
    pub(crate) socket: OwnedFd,
    /// Wakes the worker; it never blocks.
    pub(crate) bell: OwnedFd,
    /// Readable when the worker wakes us; it never blocks.
    pub(crate) own_bell: OwnedFd,
    pub(crate) page: Page,
    pub(crate) greeting: Greeting,
}

/// A child process that is killed and reaped when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pidfd: OwnedFd,
    reaped: bool,
}

/// How a process ended, as far as is known: another part of the program may have reaped it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Process {
    fn new(mut child: Child) -> io::Result<Self> {
        let open = || {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            rustix::process::pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())
        };
        match open() {
            Ok(pidfd) => Ok(Self { child, pidfd, reaped: false }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor that becomes readable when the process has ended, and that signals it.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for the end and reaps.
    pub(crate) fn wait(&mut self) -> Ended {
        self.reaped = true;
        match self.child.wait() {
            Ok(status) => Ended { exit_code: status.code(), signal: status.signal() },
            Err(_) => Ended::default(), // reaped by somebody else
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            send_signal(self.pidfd(), Signal::KILL);
            self.wait();
        }
    }
}

/// Signals a process. That it may have ended is no error.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) {
    let _ = rustix::process::pidfd_send_signal(pidfd, signal);
}

/// Starts a worker and greets it. Blocks for the time of a process start, not for its answer.
pub(crate) fn launch(settings: &Settings, greeting: Greeting) -> io::Result<Launched> {
    let (socket, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let (their_bell, bell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (own_bell, from_them) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&bell, OFlags::NONBLOCK)?;
    rustix::fs::fcntl_setfl(&own_bell, OFlags::NONBLOCK)?;
    let (page, page_file) = Page::new()?;
    let mut command = command(settings);
    command.env(VARIABLE, format!("{:032x}", greeting.nonce)).stdin(Stdio::from(theirs));
    let process = Process::new(command.spawn()?)?;
    drop(command); // and with it our copy of the worker's end of the socket
    set_limits(&process, &settings.limits)?;
    let text = greeting.to_bytes()?;
    let files = [their_bell.as_fd(), from_them.as_fd(), page_file.as_fd()];
    match send_with_files(socket.as_fd(), &text, &files) {
        // It has ended already: its supervisor will see that, and how.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Launched { process, socket, bell, own_bell, page, greeting })
}

fn command(settings: &Settings) -> Command {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    if settings.clear_environment {
        command.env_clear();
    }
    for (name, value) in &settings.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(directory) = &settings.working_directory {
        command.current_dir(directory);
    }
    command
}

/// A limit on what a worker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResourceLimit {
    /// Bytes of address space (`RLIMIT_AS`).
    AddressSpace,
    /// Bytes of heap and private mappings (`RLIMIT_DATA`).
    Data,
    /// Seconds of processor time of one worker's whole life (`RLIMIT_CPU`).
    CpuSeconds,
    /// One more than the highest file descriptor (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Bytes of a file that it writes (`RLIMIT_FSIZE`).
    FileSize,
    /// Bytes of a core dump (`RLIMIT_CORE`).
    CoreDump,
}

/// Set from outside, before the greeting: the worker does nothing before that.
fn set_limits(process: &Process, limits: &[(ResourceLimit, u64)]) -> io::Result<()> {
    let pid = i32::try_from(process.pid()).ok().and_then(Pid::from_raw);
    for (limit, value) in limits {
        let resource = match limit {
            ResourceLimit::AddressSpace => Resource::As,
            ResourceLimit::Data => Resource::Data,
            ResourceLimit::CpuSeconds => Resource::Cpu,
            ResourceLimit::OpenFiles => Resource::Nofile,
            ResourceLimit::FileSize => Resource::Fsize,
            ResourceLimit::CoreDump => Resource::Core,
        };
        let value = Rlimit { current: Some(*value), maximum: Some(*value) };
        rustix::process::prlimit(pid, resource, value)?;
    }
    Ok(())
}

/// Sends one message with descriptors.
pub(crate) fn send_with_files(
    socket: BorrowedFd<'_>,
    text: &[u8],
    files: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL;
    let send = || rustix::net::sendmsg(socket, &[IoSlice::new(text)], &mut control, flags);
    rustix::io::retry_on_intr(send).map(drop)
}

/// The most descriptors of a message: attachments and a segment.
const FILES: usize = MOST_DESCRIPTORS + 1;

/// Receives one message with descriptors; gives its length. Zero is the end.
pub(crate) fn receive_with_files(
    socket: BorrowedFd<'_>,
    text: &mut [u8],
    block: bool,
) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if !block {
        flags |= RecvFlags::DONTWAIT;
    }
    let mut receive = || {
        let mut parts = [IoSliceMut::new(&mut *text)];
        rustix::net::recvmsg(socket, &mut parts, &mut control, flags)
    };
    let received = match rustix::io::retry_on_intr(&mut receive) {
        // The other side has ended with something unread. What it sent before is behind this error.
        Err(Errno::CONNRESET) => rustix::io::retry_on_intr(receive)?,
        received => received?,
    };
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    Ok((received.bytes, files))
}

/// Something to wake a supervisor with.
pub(crate) fn wake_descriptor() -> rustix::io::Result<OwnedFd> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// Makes a wake descriptor readable. That it may be full is no error: then it is readable.
pub(crate) fn wake(descriptor: BorrowedFd<'_>) {
    let _ = rustix::io::write(descriptor, &1u64.to_ne_bytes());
}

/// Makes a wake descriptor unreadable again.
pub(crate) fn clear_wake(descriptor: BorrowedFd<'_>) {
    let _ = rustix::io::read(descriptor, &mut [0; 8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_cross_a_socket_with_their_message() {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        send_with_files(a.as_fd(), b"two", &[writer.as_fd(), writer.as_fd()]).unwrap();
        let mut text = [0; 16];
        let (len, files) = receive_with_files(b.as_fd(), &mut text, true).unwrap();
        assert_eq!((&text[..len], files.len()), (&b"two"[..], 2));
        rustix::io::write(&files[1], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut text).unwrap(), 1);
        assert!(receive_with_files(b.as_fd(), &mut text, false).is_err(), "nothing there");
        drop(a);
        assert_eq!(receive_with_files(b.as_fd(), &mut text, true).unwrap().0, 0);
    }

    #[test]
    fn what_was_sent_before_an_end_with_something_unread_is_received() {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (a, b) = rustix::net::socketpair(kind.0, kind.1, kind.2, None).unwrap();
        send_with_files(a.as_fd(), b"unread", &[a.as_fd()]).unwrap();
        send_with_files(b.as_fd(), b"last", &[b.as_fd()]).unwrap();
        drop(b);
        let mut text = [0; 16];
        let (len, files) = receive_with_files(a.as_fd(), &mut text, false).unwrap();
        assert_eq!((&text[..len], files.len()), (&b"last"[..], 1));
    }

    #[test]
    fn greetings_come_back() {
        let greeting =
            Greeting { magic: MAGIC, nonce: 1 << 99, fingerprint: 3, depth: 1, limit: 9 };
        assert_eq!(Greeting::from_bytes(&greeting.to_bytes().unwrap()).unwrap(), greeting);
        let hello = Hello { nonce: 5, fingerprint: 6, pid: 7 };
        assert_eq!(Hello::from_bytes(&hello.to_bytes().unwrap()).unwrap(), hello);
        assert!(Hello::from_bytes(b"").is_err());
    }
}
