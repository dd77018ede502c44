//! The end of a pool: what is cancelled, asked to stop, and waited for.

use std::thread::panicking;

use super::pool::ThreadPoolExecutor;
use super::queue::discard;
use super::worker::is_thread_of;
use crate::futures::call::state::Phase;
use crate::futures::executor::{ShutdownOptions, ShutdownReport};
use crate::sync::deadline_after;

impl ThreadPoolExecutor {
    /// Refuses further calls, runs the submitted ones, and waits for the workers to end.
    ///
    /// It may be called more than once, and from several threads.
    ///
    /// # Blocking
    ///
    /// Until all calls are done and all threads have been joined. In one of the pool's own workers
    /// (in a call, a callback, or the destructor of a thread-local) it does not wait.
    ///
    /// # Python
    ///
    /// `shutdown(wait=True)`; see [`shutdown_with`](Self::shutdown_with) for the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.spawn(|| 1)?;
    /// pool.shutdown();
    /// assert!(call.done());
    /// assert!(matches!(pool.spawn(|| 2), Err(Error::Shutdown)));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn shutdown(&self) {
        self.shutdown_with(ShutdownOptions::new());
    }

    /// Shuts the pool down as `options` say; reports which calls are left.
    ///
    /// # Blocking
    ///
    /// As `options` say; never in one of the pool's own workers.
    ///
    /// # Python
    ///
    /// `shutdown(wait=..., cancel_futures=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
    /// assert!(report.is_complete());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "cancel_futures")]
    pub fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
        self.shared().queue().close();
        self.finish(options)
    }

    /// What follows when no more calls come.
    pub(super) fn finish(&self, options: ShutdownOptions) -> ShutdownReport {
        let deadline = options.timeout.and_then(deadline_after);
        let queue = self.shared().queue();
        let mut report = ShutdownReport::default();
        if options.request_cancel {
            self.shared().stop_flag().raise();
        }
        if options.cancel_futures {
            let given_up = queue.drain();
            discard(given_up.cancelled);
            for job in given_up.pending {
                match job.cancel() {
                    Phase::Pending => report.cancelled += 1,
                    found => queue.was_not_pending(found, |counts| &mut counts.cancelled),
                }
            }
        }
        if options.wait && !is_thread_of(self.shared()) {
            queue.join(self.shared().id(), deadline);
        }
        let left = queue.left();
        report.pending = left.waiting;
        report.running = left.running;
        report
    }
}

impl Drop for ThreadPoolExecutor {
    fn drop(&mut self) {
        // Who shut it down before has said then whether to wait.
        if self.shared().queue().close() {
            self.finish(ShutdownOptions::new().cancel_futures(panicking()));
        }
    }
}
