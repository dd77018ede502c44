//! [`QueuedTask`]: what a queue needs to know of the calls in it.

use super::run::RunObserver;
use super::state::Phase;
use crate::error::Error;

/// A task that can stand in the queue.
pub(crate) trait QueuedTask: Send + 'static {
    /// Starts it and runs it on this thread, unless it is over or runs elsewhere; tells `stage`.
    fn run(self, stage: &dyn RunObserver);

    /// Starts it, unless it is over or runs elsewhere. Runs nothing of the user's. Whoever started it
    /// goes on with [`run_started`](Self::run_started).
    fn start(&self) -> bool;

    /// Runs what was started, on this thread; whoever started it has seen to [`RunObserver::begins`].
    fn run_started(self, stage: &dyn RunObserver);

    /// A call that others can reach may leave PENDING at any moment: look once.
    fn phase(&self) -> Phase;

    /// Cancels it if it is pending; returns the phase that it was in.
    fn cancel(self) -> Phase;

    /// Fails it if it is pending; returns the phase that it was in.
    fn fail(self, error: Error) -> Phase;
}

impl<E: QueuedTask> QueuedTask for Box<E> {
    fn run(self, stage: &dyn RunObserver) {
        (*self).run(stage);
    }
    fn start(&self) -> bool {
        (**self).start()
    }
    fn run_started(self, stage: &dyn RunObserver) {
        (*self).run_started(stage);
    }
    fn phase(&self) -> Phase {
        (**self).phase()
    }
    fn cancel(self) -> Phase {
        (*self).cancel()
    }
    fn fail(self, error: Error) -> Phase {
        (*self).fail(error)
    }
}
