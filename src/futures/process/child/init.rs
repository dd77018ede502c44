//! [`init`]: where a process finds out that it is a worker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketType;
use rustix::process::Signal;

use super::worker::{LOST, Order, depth, run};
use crate::error::{Error, Result};
use crate::futures::process::channel::page::Page;
use crate::futures::process::parent::spawn::{Greeting, MAGIC, VARIABLE, receive_with_files};

/// Whether this process knows its way to a worker.
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Nested pools: a worker may have a pool of its own, and so on, this often.
const MOST_NESTED: u32 = 10;

/// Makes this program fit for worker processes. Call it first in `main`.
///
/// A worker is this program, started once more. In a worker this call does not return: it takes
/// calls until the pool ends, and then ends the process. In all other processes it does nothing but
/// remember that it was called; without it no
/// [`ProcessPoolExecutor`](crate::futures::ProcessPoolExecutor) can be made.
///
/// What `main` does before this call, each worker does as well; descriptors that are open then, but
/// for the three standard ones, are closed. Tests and benches without a `main`
/// of their own use [`process_worker_hook!`](crate::process_worker_hook).
///
/// # Python
///
/// The `if __name__ == "__main__":` of programs that use `multiprocessing`.
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
pub fn init() {
    enter(None);
}

/// What [`process_worker_hook!`](crate::process_worker_hook) calls before `main`; `own` is where
/// the pointer to it is.
#[doc(hidden)]
pub fn hook(own: usize) {
    enter(Some(own));
}

fn enter(hook: Option<usize>) {
    // ORDERING: Relaxed; a flag by itself.
    if INITIALIZED.swap(true, Ordering::Relaxed) {
        return;
    }
    let Some(order) = receive_order() else { return };
    if let Some(own) = hook {
        crate::futures::remote::identity::run_constructors_after(own);
    }
    crate::futures::process::sys::system::ignore_signals();
    run(order)
}

/// Defines what a test or bench binary needs to start worker processes. At most once in a program.
///
/// For binaries whose `main` is generated, such as those of `cargo test`: write it once, anywhere
/// in the crate. It makes the process look for [`init`](crate::futures::process::init)'s order to
/// be a worker before `main` begins.
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
            extern "C" fn hook() {
                let own: *const extern "C" fn() = &raw const HOOK;
                $crate::futures::process::hook(own as usize);
            }
            // SAFETY: the section holds pointers to functions that are called before `main`.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static HOOK: extern "C" fn() = hook;
        };
    };
}

/// Defines `main` for a test or bench target with `harness = false`: first
/// [`init`](crate::futures::process::init), then the given function, whose result it returns.
///
/// ```
/// fn run() -> concurrent::Result<()> {
///     let pool = concurrent::futures::ProcessPoolExecutor::new(1)?;
///     pool.shutdown();
///     Ok(())
/// }
///
/// concurrent::process_main!(run -> concurrent::Result<()>);
/// ```
#[macro_export]
macro_rules! process_main {
    ($run:ident) => {
        $crate::process_main!($run -> ());
    };
    ($run:ident -> $result:ty) => {
        fn main() -> $result {
            $crate::futures::process::init();
            $run()
        }
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
    if depth() >= MOST_NESTED {
        let text = "process pools inside of each other's workers, too deep: does each worker make a pool, and \
                    so on for ever?";
        return Err(Error::InvalidArgument(text.into()));
    }
    Ok(())
}

/// The order to be a worker, if this process was given one: the variable is set, and standard input
/// is a socket of the right kind made by our parent. Anything else is an ordinary start.
///
/// A worker never runs the rest of `main`: if the order is not complete, the process ends.
fn receive_order() -> Option<Order> {
    let secret = std::env::var(VARIABLE).ok()?;
    let secret = u128::from_str_radix(&secret, 16).ok()?;
    let stdin = std::io::stdin();
    if crate::futures::process::sys::system::is_privileged() || !is_socket(stdin.as_fd()) {
        return None;
    }
    if !is_of_parent(stdin.as_fd()) {
        if has_hung_up(stdin.as_fd()) {
            std::process::exit(LOST); // the parent ended while this process was started
        }
        return None;
    }
    match take_order(secret) {
        Ok(order) => Some(order),
        Err(_) => std::process::exit(LOST), // the parent sees the code, and reports it
    }
}

fn take_order(secret: u128) -> std::io::Result<Order> {
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != parent {
        std::process::exit(0); // it ended just now, and the signal will never come
    }
    crate::futures::process::sys::system::close_from(3); // what some part of the parent did not mark as its own
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    let mut text = [0; 256];
    let (len, files) = receive_with_files(socket.as_fd(), &mut text, true)?;
    let greeting = Greeting::from_bytes(&text[..len])?;
    if greeting.magic != MAGIC || greeting.nonce != secret {
        return Err(std::io::Error::other("not the greeting of a pool"));
    }
    let [own_bell, bell, page]: [OwnedFd; 3] =
        files.try_into().map_err(|_| std::io::Error::other("not three descriptors"))?;
    let page = Page::open(page.as_fd())?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    crate::futures::process::sys::system::forget_variable(VARIABLE);
    Ok(Order { greeting, socket, bell, own_bell, page })
}

fn is_socket(stdin: BorrowedFd<'_>) -> bool {
    rustix::net::sockopt::socket_type(stdin) == Ok(SocketType::SEQPACKET)
}

fn is_of_parent(stdin: BorrowedFd<'_>) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stdin).ok();
    peer.is_some_and(|peer| Some(peer.pid) == rustix::process::getppid())
}

/// Whether the other end is closed, or is about to be: a process that ends may lose its children a
/// moment before its descriptors.
fn has_hung_up(stdin: BorrowedFd<'_>) -> bool {
    let mut hang_up = [PollFd::from_borrowed_fd(stdin, PollFlags::empty())];
    let moment = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    matches!(poll(&mut hang_up, Some(&moment)), Ok(1))
}
