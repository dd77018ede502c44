//! [`init`]: a process finds out whether it is a worker, and sets itself up as one.

use std::ffi::{c_char, c_int};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketType, send};
use rustix::process::Signal;

use super::run::{LOST, WorkerSetup, depth, run};
use crate::error::{Cause, Error, Result};
use crate::futures::process::channel::fds::{ReceivedFds, receive_with_files};
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::{Mark, StartFailure, WELCOME_MOST, Welcome};
use crate::futures::process::resource_limit;
use crate::futures::remote::images::Constructor;
use crate::futures::remote::{complain, function_id};
use crate::futures::sys::descriptors::{
    above_standard, close_inherited, empty_stdin, open_standard,
};
use crate::futures::sys::program::{first_argument, has_loader, is_privileged};
use crate::futures::sys::signals::settle_worker;

/// Whether `init` was called, so that a worker started by this process calls it as well.
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// In a worker of another version of this library: the nesting depth of pools around it.
static OTHER_DEPTH: AtomicU32 = AtomicU32::new(0);

/// The most pools around a process: a worker may have a pool of its own, and so on.
const MOST_NESTED: u32 = 10;

const PRIVILEGED: &str = "this program runs with more rights than the user who started it (set-user-id, \
                          set-group-id or file capabilities), and its workers could trust neither their \
                          environment nor their descriptors";

const BY_LOADER: &str = "this program was started through its dynamic loader (`ld-linux.so program`), so that \
                         /proc/self/exe is the loader and not the program";

/// Prepares this program for worker processes: call it first in `main`.
///
/// A worker is this program, started once more, with one argument that says so. In a worker this
/// call does not return: it runs calls until the pool ends, and then ends the process. In all other
/// processes it only notes that it was called; without it no
/// [`ProcessPoolExecutor`](crate::futures::ProcessPoolExecutor) can be made.
///
/// Each worker also does what `main` does before this call. If that cuts the worker off from its
/// pool, because it redirects standard input, the worker says so on its standard error and ends.
/// Files opened before this call stay open; descriptors inherited from the parent by accident are
/// closed. Whatever the signal mask and the actions are, in a worker no signal is blocked, SIGINT
/// does nothing, and SIGTERM is not ignored. Tests and benches without a `main` of their own use
/// [`process_worker_hook!`](crate::process_worker_hook).
///
/// # Blocking
///
/// In a worker, for the rest of the process; otherwise never.
///
/// # Python
///
/// The `if __name__ == "__main__":` of programs that use `multiprocessing`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ProcessPoolExecutor, process};
///
/// fn main() -> concurrent::Result<()> {
///     process::init();
///     let pool = ProcessPoolExecutor::new(2)?;
///     assert_eq!(pool.submit(|n: u64| n + 1, 41)?.into_result()?, 42);
///     Ok(())
/// }
/// ```
#[doc(alias = "__main__")]
#[doc(alias = "freeze_support")]
pub fn init() {
    enter(None);
}

/// The arguments of a constructor, and the address of the pointer to it.
struct WorkerEntry {
    own: *const Constructor,
    arguments: (c_int, *const *const c_char, *const *const c_char),
}

/// Called by [`process_worker_hook!`](crate::process_worker_hook) before `main`.
///
/// # Safety
///
/// The caller is the constructor that `own` points to, the loader has called it, and it passes on the
/// arguments that it got.
#[doc(hidden)]
pub unsafe fn hook(
    own: *const Constructor,
    count: c_int,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) {
    enter(Some(WorkerEntry { own, arguments: (count, arguments, environment) }));
}

fn enter(hook: Option<WorkerEntry>) {
    // ORDERING: Relaxed; a flag by itself.
    if INITIALIZED.swap(true, Ordering::Relaxed) {
        return;
    }
    let Some(mark) = first_argument().as_deref().and_then(Mark::from_argument) else { return };
    if !mark.is_own() {
        // ORDERING: Relaxed; a number by itself.
        OTHER_DEPTH.store(mark.depth, Ordering::Relaxed);
        return; // that version sets the worker up
    }
    // From here on this process must never continue as an ordinary run of the program.
    let _no_return = NeverReturns;
    if hook.is_some() {
        // Before `main` the runtime has not done it yet.
        open_standard();
    }
    let setup = receive_setup().unwrap_or_else(|why| leave(&why));
    settle_worker(hook.is_some());
    if let Some(WorkerEntry { own, arguments: (count, arguments, environment) }) = hook {
        for constructor in function_id::constructors_after(own.addr()) {
            constructor(count, arguments, environment);
        }
    }
    run(setup)
}

/// Ends a worker that is about to return to `main`, for example because a logger has panicked.
struct NeverReturns;

impl Drop for NeverReturns {
    fn drop(&mut self) {
        std::process::exit(LOST);
    }
}

/// Lets a test or bench binary start worker processes. At most once in a program.
///
/// It is for binaries whose `main` is generated, such as those of `cargo test`. Write it once,
/// anywhere in the crate. The process then finds out before `main` whether it was started as a
/// worker, as [`init`](crate::futures::process::init) does in `main`.
///
/// # Python
///
/// None: `multiprocessing` imports the test module again.
///
/// # Examples
///
/// ```no_run,standalone_crate
/// concurrent::process_worker_hook!();
///
/// #[test]
/// fn doubles() -> concurrent::Result<()> {
///     let pool = concurrent::futures::ProcessPoolExecutor::new(1)?;
///     assert_eq!(pool.submit(|n: u64| n * 2, 21)?.into_result()?, 42);
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! process_worker_hook {
    () => {
        const _: () = {
            extern "C" fn hook(
                count: ::core::ffi::c_int,
                arguments: *const *const ::core::ffi::c_char,
                environment: *const *const ::core::ffi::c_char,
            ) {
                let own = &raw const HOOK;
                // SAFETY: the loader calls this through `HOOK`, with these.
                unsafe { $crate::futures::process::hook(own, count, arguments, environment) };
            }
            // SAFETY: the section holds pointers to functions that are called before `main`.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static HOOK: $crate::futures::process::Constructor = hook;
        };
    };
}

/// An error unless this process can have a pool.
pub(crate) fn check() -> Result<()> {
    // ORDERING: Relaxed; a flag by itself.
    if !INITIALIZED.load(Ordering::Relaxed) {
        return Err(Error::NotInitialized(
            "process pools need `concurrent::futures::process::init();` as the first line of \
             `main`, or `concurrent::process_worker_hook!();` in a test or bench crate",
        ));
    }
    if is_privileged() {
        let error = io::Error::new(io::ErrorKind::PermissionDenied, PRIVILEGED);
        return Err(Error::ProcessStart(Cause::new(error)));
    }
    if !has_loader() && function_id::wants_loader() {
        let error = io::Error::new(io::ErrorKind::Unsupported, BY_LOADER);
        return Err(Error::ProcessStart(Cause::new(error)));
    }
    if pools_around() >= MOST_NESTED {
        let text = "process pools inside of each other's workers, too deep: does each worker make a pool, and \
                    so on for ever?";
        return Err(Error::InvalidArgument(text.into()));
    }
    Ok(())
}

/// The nesting depth of pools around this process, of any version.
pub(crate) fn pools_around() -> u32 {
    depth().max(OTHER_DEPTH.load(Ordering::Relaxed)) // ORDERING: Relaxed; a number by itself
}

/// Receives the parent's first message, from the socket that is standard input.
fn receive_setup() -> io::Result<WorkerSetup> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if is_privileged() {
        return Err(io::Error::other(PRIVILEGED));
    }
    if !is_socket(std::io::stdin().as_fd())? {
        let text = "its standard input is not the channel to the pool: does `main` redirect that before it \
                    calls `process::init()`?";
        return Err(io::Error::other(text));
    }
    close_inherited();
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    let mut text = [0; WELCOME_MOST];
    let ReceivedFds { len, files, cut_off } = receive_with_files(socket.as_fd(), &mut text, true)?;
    if cut_off {
        return Err(Errno::MFILE.into());
    }
    let (welcome, parent, limits) = Welcome::from_bytes(&text[..len])?;
    // In a PID namespace of its own it does not know its parent.
    let own_parent = rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero);
    if own_parent.is_some_and(|own| u32::try_from(own.get()) != Ok(parent)) {
        std::process::exit(LOST); // it ended before the signal at its death was set
    }
    let files = files.into_iter().map(above_standard).collect::<rustix::io::Result<Vec<_>>>()?;
    let [own_bell, bell, page, questions]: [OwnedFd; 4] = files
        .try_into()
        .map_err(|_| io::Error::other("the pool sent another number of descriptors"))?;
    let page = SharedPage::open(page.as_fd())?;
    empty_stdin()?;
    if let Err(error) = resource_limit::set_all(&limits) {
        page.say(&error.to_string());
        return Err(error);
    }
    Ok(WorkerSetup { welcome, socket, questions, bell, own_bell, page })
}

/// Ends a worker that cannot set itself up. It must not continue as an ordinary run of the program, which
/// would make a pool, and so on without end.
fn leave(why: &io::Error) -> ! {
    let stdin = std::io::stdin();
    if !has_hung_up(stdin.as_fd()) {
        if matches!(is_socket(stdin.as_fd()), Ok(true)) {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = send(stdin.as_fd(), &StartFailure::of(why).to_bytes(), flags);
        }
        complain(format_args!("worker process {} ends: {why}", std::process::id()));
    }
    std::process::exit(LOST) // the parent reports it
}

fn is_socket(stdin: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    match rustix::net::sockopt::socket_type(stdin) {
        Ok(kind) => Ok(kind == SocketType::SEQPACKET),
        Err(Errno::NOTSOCK | Errno::BADF) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the parent has ended, so that a message would have no reader.
fn has_hung_up(stdin: BorrowedFd<'_>) -> bool {
    let mut hang_up = [PollFd::from_borrowed_fd(stdin, PollFlags::empty())];
    matches!(is_socket(stdin), Ok(true))
        && matches!(poll(&mut hang_up, Some(&Timespec::default())), Ok(1))
}
