//! [`Incoming`]: the replies of one worker, shared by its supervisor and threads that wait for a call.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;

use super::deferred::{Step, Steps};
use super::reply_reader::ReplyReader;
use crate::error::Error;
use crate::futures::process::channel::wake::{wake, wake_descriptor};
use crate::futures::process::handshake::StartFailure;
use crate::futures::sys::descriptors::above_standard;
use crate::sync::{Mutex, spawn};

/// The reader of one worker's replies, and the means to wake its supervisor.
pub(crate) struct Incoming {
    pub(crate) reader: Mutex<ReplyReader>,
    /// Readable when the worker has rung, unless the supervisor [does not listen](Self::set_supervisor_listens).
    watch: OwnedFd,
    /// Makes the supervisor check everything.
    wake: Arc<OwnedFd>,
}

impl Incoming {
    pub(crate) fn new(reader: ReplyReader) -> rustix::io::Result<Arc<Self>> {
        let wake = Arc::new(wake_descriptor()?);
        let watch = above_standard(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&watch, &reader.bell, data, epoll::EventFlags::IN)?;
        Ok(Arc::new(Self { reader: Mutex::new(reader), watch, wake }))
    }

    pub(crate) fn watch(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    pub(crate) fn wake(&self) -> &Arc<OwnedFd> {
        &self.wake
    }

    /// Sets whether the worker's bell wakes the supervisor. The end of the channel always does.
    pub(crate) fn set_supervisor_listens(&self, reader: &ReplyReader, listens: bool) {
        let events = if listens { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(0);
        let _ = epoll::modify(&self.watch, &reader.bell, data, events); // it was added
    }

    /// Leaves a step to the supervisor, or to a new thread if the supervisor has gone on to the next worker.
    pub(crate) fn leave(&self, step: Step) {
        {
            let mut reader = self.reader.lock();
            if !reader.closed {
                reader.steps.push_back(step);
                drop(reader);
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

    /// The worker has ended: collects the remaining steps, and returns why it could not get ready, if it said
    /// so.
    pub(crate) fn close(&self, steps: &mut Steps) -> (Option<Error>, Option<StartFailure>) {
        let mut reader = self.reader.lock();
        reader.closed = true;
        steps.append(&mut reader.steps);
        (reader.start_error.take(), reader.start_failure())
    }

    /// After a waiting thread: wakes the supervisor if that left work for it, or the bell is not armed.
    pub(crate) fn pass_on(&self, reader: &ReplyReader) {
        if !reader.arm_bell() || reader.has_left() {
            wake(self.wake.as_fd());
        }
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
