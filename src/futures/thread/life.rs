//! The end of workers: they leave their loop, and somebody joins their threads.

use std::time::Instant;

use super::control::Flag;
use super::queue::Queue;
use crate::sync::wait_until;

impl Queue {
    /// A worker says that it has left its loop.
    pub(crate) fn worker_ended(&self, flag: &Flag) {
        flag.lower();
        self.control.lock().alive -= 1;
        self.ended.notify_all();
    }

    /// Waits until all workers have ended and joins their threads; false if time ran out first.
    ///
    /// Must not be called by one of the workers.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        let mut control = self.control.lock();
        while control.alive > 0 {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            wait_until(&self.ended, &mut control, deadline);
        }
        // Two threads may be here at once: both leave only when every thread has been joined.
        while let Some(worker) = control.workers.pop() {
            control.joining += 1;
            drop(control);
            if worker.thread.join().is_err() {
                log::error!(target: crate::LOG_TARGET, "a worker thread panicked as it ended");
            }
            control = self.control.lock();
            control.joining -= 1;
        }
        self.ended.notify_all();
        while control.joining > 0 {
            wait_until(&self.ended, &mut control, None);
        }
        true
    }
}
