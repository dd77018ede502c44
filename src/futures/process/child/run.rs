//! The life of a worker process after its setup: the main loop, and a thread that watches the parent.

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

/// The nesting depth of pools around this process.
static DEPTH: AtomicU32 = AtomicU32::new(0);

pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed) // ORDERING: Relaxed; set before user code runs
}

/// The parent's first message, with the descriptors that came with it.
pub(crate) struct WorkerSetup {
    pub(crate) welcome: Welcome,
    pub(crate) socket: OwnedFd,
    pub(crate) questions: OwnedFd,
    pub(crate) bell: OwnedFd,
    pub(crate) own_bell: OwnedFd,
    pub(crate) page: SharedPage,
}

/// The exit code of a worker that lost its channel, or never had one.
pub(crate) const LOST: i32 = 113;

/// Runs calls until the parent closes the channel; then the process ends.
pub(crate) fn run(setup: WorkerSetup) -> ! {
    let WorkerSetup { welcome, socket, questions, bell, own_bell, page } = setup;
    // ORDERING: Relaxed; there is no other thread.
    DEPTH.store(welcome.depth, Ordering::Relaxed);
    let mut worker = MainLoop::new(socket, bell, own_bell, Arc::new(page), welcome.limit);
    install_hook();
    let page = Arc::clone(&worker.replies.page);
    keep_panic_messages(&page);
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

/// Leaves the message of each panic in the shared page, in case the process dies of it.
fn keep_panic_messages(page: &Arc<SharedPage>) {
    let page = Arc::clone(page);
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        page.say(&info.to_string());
        next(info);
    }));
}

/// Starts a thread that ends the process when the parent's end of the socket is closed, whatever runs
/// meanwhile, and that answers the parent's inquiries.
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
                    std::thread::park_timeout(REFUSED); // instead of spinning
                }
                continue;
            }
            let [hang_up, asked] = both.map(|descriptor| descriptor.revents());
            if hang_up.contains(PollFlags::NVAL) {
                return; // user code has closed it; the signal at the parent's death remains
            }
            if !hang_up.is_empty() {
                break;
            }
            if !asked.is_empty() && answer(questions.as_fd(), &page, &running).is_err() {
                watched = 1; // no more inquiries can come
            }
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        std::process::abort() // the system has refused it
    };
    // If the system refuses the thread, the signal at the parent's death remains.
    let builder = std::thread::Builder::new().name("parent-watch".into()).stack_size(64 * 1024);
    // All signals go to the threads of calls, which may block some and wait for them.
    let _blocked = BlockedSignals::all();
    drop(builder.spawn(watch));
}
