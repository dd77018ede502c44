//! Starting and ending worker processes, with the descriptors between them and the parent.
//!
//! A worker is a fresh execution of the running program, with an argument that marks it. Nothing happens
//! between fork and exec, so that the standard library can use `posix_spawn`: a fork would copy the page
//! tables of a large parent. The worker's standard input is its end of a socket, through which everything
//! else that it needs is sent.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, waitid};

use crate::futures::process::channel::fds::send_with_files;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::channel::wake::send_signal;
use crate::futures::process::handshake::{Mark, Welcome};
use crate::futures::process::resource_limit;
use crate::futures::process::settings::ProcessSettings;
use crate::futures::sys::descriptors::above_standard;
use crate::futures::sys::signals::BlockedSignals;

/// A process that was started, and whose welcome was sent.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) process: Process,
    pub(crate) socket: OwnedFd,
    /// The socket for inquiries.
    pub(crate) questions: OwnedFd,
    /// Wakes the worker; writing never blocks.
    pub(crate) bell: OwnedFd,
    /// Readable when the worker has rung; reading never blocks.
    pub(crate) own_bell: OwnedFd,
    pub(crate) page: SharedPage,
    pub(crate) welcome: Welcome,
}

/// A child process that is killed and reaped when this is dropped.
///
/// All operations use its pidfd: its pid may belong to another process if a part of the program reaps
/// children that are not its own, or ignores SIGCHLD.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    pidfd: OwnedFd,
    reaped: bool,
}

/// How a process ended, as far as it is known: another part of the program may have reaped it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Process {
    fn new(mut child: Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let open = || {
            let pidfd = rustix::process::pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
            above_standard(pidfd)
        };
        match open() {
            Ok(pidfd) => {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
                let peek = waitid(WaitId::PidFd(pidfd.as_fd()), options);
                if peek.err() == Some(Errno::CHILD) {
                    // It has ended and was reaped, and the descriptor may be that of another process.
                    return Err(io::Error::other(
                        "it ended at once, and was reaped by another part of the program",
                    ));
                }
                Ok(Self { pid: child.id(), pidfd, reaped: false })
            }
            Err(Errno::SRCH) => Err(Errno::SRCH.into()), // it has ended and was reaped
            Err(error) => {
                // Its pid may belong to another process if it was reaped.
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
                let lives = |pid| matches!(waitid(WaitId::Pid(pid), options), Ok(None));
                if pid.is_some_and(lives) {
                    let _ = child.kill();
                }
                let _ = child.wait();
                Err(explain_pidfd(error))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor that is readable when the process has ended, and by which it is signalled.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether the process has ended, for callers that cannot use `poll`.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let peek = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        matches!(peek, Ok(Some(_)) | Err(Errno::CHILD)) // reaped by another part
    }

    /// Waits for the end of the process and reaps it.
    pub(crate) fn wait(&mut self) -> Ended {
        self.reaped = true;
        let wait = || waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        match rustix::io::retry_on_intr(wait) {
            Ok(Some(status)) => {
                Ended { exit_code: status.exit_status(), signal: status.terminating_signal() }
            }
            Ok(None) | Err(_) => Ended::default(), // reaped by another part
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

/// Starts a worker and sends its welcome. Blocks for the time of a process start, not for the worker's hello.
pub(crate) fn launch(settings: &ProcessSettings, welcome: Welcome) -> io::Result<Launched> {
    let (socket, theirs) = sockets()?;
    let (questions, their_questions) = sockets()?;
    let (their_bell, bell) = pipe()?;
    let (own_bell, from_them) = pipe()?;
    rustix::fs::fcntl_setfl(&bell, OFlags::NONBLOCK)?;
    rustix::fs::fcntl_setfl(&own_bell, OFlags::NONBLOCK)?;
    let (page, page_file) = SharedPage::new()?;
    let limits = resource_limit::to_wire(&settings.limits);
    let text = welcome.to_bytes(std::process::id(), &limits)?;
    let files = [their_bell.as_fd(), from_them.as_fd(), page_file.as_fd(), their_questions.as_fd()];
    // Before there is a worker to read it: if this process died now while a fork of it keeps the socket
    // open, a worker that waits for its welcome would wait as long as that fork lives.
    send_with_files(socket.as_fd(), &text, &files, true)?;
    // Before there is a process that could not be watched.
    let own = rustix::process::getpid();
    drop(rustix::process::pidfd_open(own, PidfdFlags::empty()).map_err(explain_pidfd)?);
    let mut command = command(settings, welcome.depth);
    command.stdin(Stdio::from(theirs));
    let child = {
        // Ctrl-C goes to the whole process group. The worker blocks it until it handles it.
        let _blocked = BlockedSignals::new(libc::SIGINT);
        command.spawn().map_err(|error| explain_start(error, settings))?
    };
    let process = Process::new(child)?;
    drop(command); // and with it this process's copy of the worker's end of the socket
    Ok(Launched { process, socket, questions, bell, own_bell, page, welcome })
}

fn sockets() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (flags, kind) = (SocketFlags::CLOEXEC, SocketType::SEQPACKET);
    let (one, other) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?;
    Ok((above_standard(one)?, above_standard(other)?))
}

fn pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((above_standard(reader)?, above_standard(writer)?))
}

fn command(settings: &ProcessSettings, depth: u32) -> Command {
    let mut command = Command::new(PROGRAM);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.arg(Mark::own(depth).to_argument());
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

/// This program, even if its file was replaced or deleted.
const PROGRAM: &str = "/proc/self/exe";

/// Explains why the system refused to start a worker.
fn explain_start(error: io::Error, settings: &ProcessSettings) -> io::Error {
    let kind = error.kind();
    if let Some(directory) = &settings.working_directory {
        if !directory.is_dir() {
            let directory = directory.display();
            return io::Error::new(kind, format!("the working directory {directory}: {error}"));
        }
    }
    if kind != io::ErrorKind::NotFound {
        return error;
    }
    let text = if std::fs::symlink_metadata(PROGRAM).is_err() {
        "workers are started from /proc/self/exe: is /proc mounted here?"
    } else {
        "its dynamic loader is not where the program says: is this a chroot without one?"
    };
    io::Error::new(kind, format!("{text} ({error})"))
}

/// Explains why the system refused a pidfd.
fn explain_pidfd(error: Errno) -> io::Error {
    if error != Errno::NOSYS && error != Errno::PERM {
        return error.into();
    }
    let text =
        "there is no pidfd_open: Linux has it since 5.3, but valgrind and some sandboxes do not";
    io::Error::new(io::Error::from(error).kind(), format!("{text} ({error})"))
}
