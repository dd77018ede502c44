//! A process that is a worker, from its order to its end: beside the calls, somebody watches the parent.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::main_loop::{Lost, MainLoop};
use super::reply_sender::REFUSED;
use crate::futures::process::channel::inquiry::{RunningId, answer};
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::Welcome;
use crate::futures::sys::signals::BlockedSignals;
use crate::user_code::{contain, install_hook};

/// How many pools this process is inside of.
static DEPTH: AtomicU32 = AtomicU32::new(0);

pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed) // ORDERING: Relaxed; set before user code runs
}

/// The parent's first message, and the descriptors that came with it.
pub(crate) struct Order {
    pub(crate) welcome: Welcome,
    pub(crate) socket: OwnedFd,
    pub(crate) questions: OwnedFd,
    pub(crate) bell: OwnedFd,
    pub(crate) own_bell: OwnedFd,
    pub(crate) page: SharedPage,
}

/// Exit code of a worker that lost its channel, or never had one.
pub(crate) const LOST: i32 = 113;

/// Takes calls until the parent closes the channel; then the process ends.
pub(crate) fn run(order: Order) -> ! {
    let Order { welcome, socket, questions, bell, own_bell, page } = order;
    // ORDERING: Relaxed; no other thread is there.
    DEPTH.store(welcome.depth, Ordering::Relaxed);
    let mut worker = MainLoop::new(socket, bell, own_bell, Arc::new(page), welcome.limit);
    install_hook();
    let page = Arc::clone(&worker.replies.page);
    keep_last_words(&page);
    watch_parent(&worker.replies.socket, questions, &page, &worker.running);
    let code = match worker.serve(welcome) {
        Ok(()) => 0,
        Err(Lost(why)) => {
            page.say(why); // the parent reports it
            contain("logging the end of a worker", || {
                log::error!(target: crate::LOG_TARGET, "worker process ends: {why}");
            });
            LOST
        }
    };
    std::process::exit(code)
}

/// Writes the message of each panic to where the parent finds it if the process dies of that.
fn keep_last_words(page: &Arc<SharedPage>) {
    let page = Arc::clone(page);
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        page.say(&info.to_string());
        next(info);
    }));
}

/// Ends the process when the parent's end of the socket is closed, whatever runs meanwhile, and says how
/// far the worker is when the parent asks.
fn watch_parent(
    socket: &Arc<OwnedFd>,
    questions: OwnedFd,
    page: &Arc<SharedPage>,
    running: &Arc<RunningId>,
) {
    let (socket, page, running) = (Arc::clone(socket), Arc::clone(page), Arc::clone(running));
    let watch = move || {
        let mut watched = 2;
        loop {
            let mut both =
                [PollFd::new(&socket, PollFlags::empty()), PollFd::new(&questions, PollFlags::IN)];
            if let Err(error) = poll(&mut both[..watched], None) {
                if error != Errno::INTR {
                    std::thread::park_timeout(REFUSED); // and does not spin
                }
                continue;
            }
            let [hang_up, asked] = both.map(|descriptor| descriptor.revents());
            if hang_up.contains(PollFlags::NVAL) {
                return; // user code has closed it; the kernel's signal remains
            }
            if !hang_up.is_empty() {
                break;
            }
            if !asked.is_empty() && answer(questions.as_fd(), &page, &running).is_err() {
                watched = 1; // that is closed
            }
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        std::process::abort() // the system refuses even that
    };
    // If there is no thread for it, the kernel's signal at the parent's death remains.
    let builder = std::thread::Builder::new().name("parent-watch".into()).stack_size(64 * 1024);
    // Signals are for the calls, which may wait for one that they have blocked.
    let _blocked = BlockedSignals::all();
    drop(builder.spawn(watch));
}
