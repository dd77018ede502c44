//! How many workers there are, and their end: they leave their loop, and somebody joins their
//! threads.

use std::sync::Arc;
use std::time::Instant;

use super::pool::ThreadPoolExecutor;
use super::queue::{Queue, StartWorker, WorkerStatus};
use crate::error::{Cause, Error, Result};
use crate::futures::call::current::PoolId;
use crate::futures::call::waiters::{Signal, WakeWhen};
use crate::futures::deadlock::{
    self, Awaits, InPlaceRun, OnDeadlock, Recheck, Wait, WaitFor, recheck_blocked,
};
use crate::sync::{JoinHandle, wait_until};
use crate::user_code::contain;

impl Queue {
    /// A worker says that it has left its loop.
    pub(crate) fn worker_ended(&self, flag: &WorkerStatus) {
        flag.lower();
        let left_early;
        let finished = {
            let mut control = self.control.lock();
            left_early = control.mark_ended(flag);
            control.take_finished()
        };
        if left_early {
            recheck_blocked(Recheck::All); // calls may have counted on this worker
        }
        self.ended.notify_all();
        finished.into_iter().for_each(join_thread);
    }

    /// Starts workers until there are `min_workers`, or all if that is 0; gives their number.
    fn prestart(&self, start: StartWorker<'_>) -> Result<usize> {
        let mut control = self.control.lock();
        if let Some(error) = control.refusal() {
            return Err(error);
        }
        let wanted = if self.min_workers == 0 { control.max_workers } else { self.min_workers };
        while control.workers.len() < wanted {
            control.start_worker(start).map_err(|error| Error::ThreadStart(Cause::new(error)))?;
        }
        Ok(control.workers.len())
    }

    fn resize(&self, max_workers: usize, start: StartWorker<'_>) {
        let mut control = self.control.lock();
        control.max_workers = max_workers;
        control.publish_capacity();
        let surplus = control.has_surplus();
        if surplus {
            // Whoever comes by first leaves; those who sleep come at once.
            control.workers.iter().for_each(|worker| worker.flag.summon(true));
            control.notified = control.sleeping;
        }
        drop(control);
        if surplus {
            self.wake.notify_all();
            recheck_blocked(Recheck::All); // the pool may no longer start workers
        } else {
            self.grow(start); // each worker that starts sees to the next
        }
    }

    /// Strikes a worker out that was told to look whether there are too many.
    pub(super) fn leave_if_surplus(&self, flag: &WorkerStatus, start: StartWorker<'_>) -> bool {
        flag.summon(false);
        {
            let mut control = self.control.lock();
            if !control.has_surplus() {
                return false;
            }
            control.retire(flag);
        }
        let more = !self.outgoing.lock().0.is_empty();
        self.call_next(more, start);
        true
    }

    /// Waits until all workers have ended and joins their threads; false if time ran out first.
    ///
    /// Must not be called by one of the workers.
    pub(crate) fn join(&self, pool: PoolId, deadline: Option<Instant>) -> bool {
        if deadline.is_none() && deadlock::concerns_this_thread() && !self.has_ended(pool) {
            return false;
        }
        let mut control = self.control.lock();
        while control.alive > 0 {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            wait_until(&self.ended, &mut control, deadline);
        }
        // Two threads may be here at once: both leave only when every thread has been joined.
        while let Some(thread) = control.take_thread() {
            control.joining += 1;
            drop(control);
            join_thread(thread);
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

impl Queue {
    /// Waits in a call until the last worker has left its loop; false if that call is a reason why one
    /// never would.
    fn has_ended(&self, pool: PoolId) -> bool {
        let signal = Signal::new();
        {
            let mut control = self.control.lock();
            if control.alive == 0 {
                return true;
            }
            control.end_awaited.push(Arc::clone(&signal));
        }
        // Whoever waits for a result can be told of the deadlock; this has no way to tell.
        let wait = Wait {
            on_deadlock: OnDeadlock::Insists,
            ..Wait::new(Awaits::EndOf(pool), WaitFor::All)
        };
        let waited = deadlock::wait(&signal, WakeWhen::ONE, &wait, &mut InPlaceRun::default());
        let Err(error) = waited else { return true };
        self.control.lock().end_awaited.retain(|other| !Arc::ptr_eq(other, &signal));
        contain("logging a shutdown that does not wait", || {
            log::warn!(target: crate::LOG_TARGET, "a shutdown in a call does not wait: {error}");
        });
        false
    }
}

fn join_thread(thread: JoinHandle<()>) {
    if let Err(payload) = thread.join() {
        contain("dropping the panic of a thread", || drop(payload));
        contain("logging the panic of a thread", || {
            log::error!(target: crate::LOG_TARGET, "a worker thread panicked as it ended");
        });
    }
}

impl ThreadPoolExecutor {
    /// Starts [`min_workers`](super::ThreadPoolBuilder::min_workers) threads now, or all if that
    /// was not set; returns how many threads there are.
    ///
    /// Without it each thread is started by the call that needs it.
    ///
    /// # Errors
    ///
    /// [`Error::ThreadStart`] if the system starts no more; the threads that were started stay.
    /// [`Error::Shutdown`] or [`Error::BrokenThreadPool`] as for `submit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(3)?;
    /// assert_eq!(pool.prestart()?, 3);
    /// assert_eq!(pool.stats().workers, 3);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn prestart(&self) -> Result<usize> {
        let shared = self.shared();
        shared.queue().prestart(&|flag, index| shared.start(flag, index))
    }

    /// Changes the largest number of threads that this pool may have.
    ///
    /// If there are more, idle workers end at once and busy ones after their call. If calls wait
    /// and there may be more threads, they are started. A worker that is ending does not count any
    /// more.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `max_workers` is 0 or less than
    /// [`min_workers`](super::ThreadPoolBuilder::min_workers).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// pool.resize(8)?;
    /// assert_eq!(pool.max_workers(), 8);
    /// assert!(pool.resize(0).is_err());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn resize(&self, max_workers: usize) -> Result<()> {
        let shared = self.shared();
        super::lifecycle_settings::check_workers(shared.queue().min_workers, max_workers)?;
        shared.queue().resize(max_workers, &|flag, index| shared.start(flag, index));
        Ok(())
    }
}
