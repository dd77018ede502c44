//! [`Incoming`]: the answers of one worker, shared by its supervisor and the threads that wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;

use super::deferred::{Step, Steps};
use super::reply_reader::ReplyReader;
use crate::error::Error;
use crate::futures::process::channel::wake::{wake, wake_descriptor};
use crate::futures::process::handshake::Excuse;
use crate::futures::sys::descriptors::above_standard;
use crate::sync::{Mutex, spawn};

/// The answers of one worker, and who is told of them.
pub(crate) struct Incoming {
    pub(crate) receiver: Mutex<ReplyReader>,
    /// Readable when the worker has rung, for the supervisor to hear.
    watch: OwnedFd,
    /// Makes the supervisor look at everything again.
    wake: Arc<OwnedFd>,
}

impl Incoming {
    pub(crate) fn new(receiver: ReplyReader) -> rustix::io::Result<Arc<Self>> {
        let wake = Arc::new(wake_descriptor()?);
        let watch = above_standard(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&watch, &receiver.bell, data, epoll::EventFlags::IN)?;
        Ok(Arc::new(Self { receiver: Mutex::new(receiver), watch, wake }))
    }

    pub(crate) fn watch(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    pub(crate) fn wake(&self) -> &Arc<OwnedFd> {
        &self.wake
    }

    /// Whether the supervisor hears the worker ring. Of the end of the channel it always hears.
    pub(crate) fn wake_supervisor(&self, receiver: &ReplyReader, tells: bool) {
        let events = if tells { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(0);
        let _ = epoll::modify(&self.watch, &receiver.bell, data, events); // it was added
    }

    /// Leaves something to the supervisor; to a thread of its own if that has gone on to the next
    /// worker.
    pub(crate) fn leave(&self, step: Step) {
        {
            let mut receiver = self.receiver.lock();
            if !receiver.closed {
                receiver.steps.push_back(step);
                drop(receiver);
                return wake(self.wake.as_fd());
            }
        }
        let step = Arc::new(Mutex::new(Some(step)));
        let own = Arc::clone(&step);
        let run = move || {
            let step = own.lock().take();
            if let Some(step) = step {
                step.run();
            }
        };
        if spawn("concurrent-late".into(), None, run).is_err() {
            let step = step.lock().take();
            if let Some(step) = step {
                step.run();
            }
        }
    }

    /// The worker has ended, and nobody comes back for what is left: gives that, and why it could not
    /// get ready, if it said so.
    pub(crate) fn close(&self, steps: &mut Steps) -> (Option<Error>, Option<Excuse>) {
        let mut receiver = self.receiver.lock();
        receiver.closed = true;
        steps.append(&mut receiver.steps);
        (receiver.start_error.take(), receiver.excuse())
    }

    /// Has the supervisor do what a thread that waited left to it, and hear the worker again.
    pub(crate) fn pass_on(&self, receiver: &ReplyReader) {
        if !receiver.sleeps() || receiver.has_left() {
            wake(self.wake.as_fd());
        }
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
