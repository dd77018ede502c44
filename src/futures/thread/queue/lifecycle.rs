//! Starting, resizing and joining the workers of a queue; closing the queue, and giving up waiting
//! calls.

use std::sync::Arc;
use std::time::Instant;

use super::bounded::BlockedSubmitter;
use super::state::{Left, QueueState, StartWorker, WorkerCounts, WorkerStatus};
use super::task_ref::TaskRef;
use super::{Queue, TaskList};
use crate::error::{Cause, Error, Result};
use crate::futures::call::current::PoolId;
use crate::futures::call::state::Phase;
use crate::futures::call::waiters::{Signal, WakeWhen};
use crate::futures::deadlock::{
    self, Awaits, InPlaceRun, OnDeadlock, Recheck, Wait, WaitFor, recheck_blocked,
};
use crate::sync::{JoinHandle, wait_until};
use crate::user_code::contain;

/// Tasks that were removed from the queue.
#[derive(Default)]
pub(crate) struct GivenUp {
    /// They were pending, and are counted already as the caller will end them.
    pub(crate) pending: Vec<TaskRef>,
    /// They were cancelled before, and only have to be dropped.
    pub(crate) cancelled: Vec<TaskRef>,
    /// They run in place, or have done so. They are not counted here, and only have to be dropped.
    pub(crate) in_place: Vec<TaskRef>,
}

impl Queue {
    /// Refuses further calls and wakes all workers and blocked submitters; returns false if it was
    /// closed before.
    pub(crate) fn close(&self) -> bool {
        let mut control = self.control.lock();
        let was_open = !std::mem::replace(&mut control.closed, true);
        control.publish_capacity();
        control.notified = control.sleeping;
        control.blocked.iter().for_each(BlockedSubmitter::wake);
        drop(control);
        self.wake.notify_all();
        recheck_blocked(Recheck::All); // a pool that was shut down starts no more workers
        was_open
    }

    /// Refuses further calls because of `error`, and gives up those that wait, to be failed.
    pub(crate) fn break_off(&self, error: Error) -> GivenUp {
        let mut outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        if control.broken.is_none() {
            control.broken = Some(error);
        }
        control.publish_capacity();
        control.notified = control.sleeping;
        control.blocked.iter().for_each(BlockedSubmitter::wake);
        let given_up = take_all(&mut outgoing, &mut control);
        control.counts.failed += given_up.pending.len();
        drop((control, outgoing));
        self.wake.notify_all();
        given_up
    }

    /// Gives up the calls that wait, to be cancelled. Tasks that ran in place stay, for a worker to
    /// drop.
    pub(crate) fn drain(&self) -> GivenUp {
        let mut outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        let mut given_up = take_all(&mut outgoing, &mut control);
        control.counts.cancelled += given_up.pending.len();
        for task in given_up.in_place.drain(..) {
            control.incoming.push(task, 0);
        }
        given_up
    }

    /// Corrects the count for a task that was given up as pending, and was found to be in the phase
    /// `found`.
    pub(crate) fn was_not_pending(
        &self,
        found: Phase,
        counted: fn(&mut WorkerCounts) -> &mut usize,
    ) {
        let mut control = self.control.lock();
        *counted(&mut control.counts) -= 1;
        control.counts.cancelled += usize::from(found == Phase::Cancelled);
    }

    pub(crate) fn left(&self) -> Left {
        let outgoing = self.outgoing.lock();
        let control = self.control.lock();
        let mut waiting = 0;
        // A cancelled call stays in the queue until a worker gets to it.
        let mut count = |task: &TaskRef| waiting += usize::from(task.is_pending());
        outgoing.0.iter().for_each(&mut count);
        control.incoming.for_each(&mut count);
        let running = control.workers.iter().filter(|worker| worker.status.is_raised()).count();
        Left { waiting, running, blocked: control.blocked.len() }
    }

    /// Called by a worker that has left its loop.
    pub(crate) fn worker_ended(&self, status: &WorkerStatus) {
        status.lower();
        let left_early;
        let finished = {
            let mut control = self.control.lock();
            left_early = control.mark_ended(status);
            control.take_finished()
        };
        if left_early {
            recheck_blocked(Recheck::All); // blocked threads may have relied on this worker
        }
        self.ended.notify_all();
        finished.into_iter().for_each(join_thread);
    }

    /// Starts workers until there are `min_workers`, or `max_workers` if that is 0; returns their
    /// number.
    pub(crate) fn prestart(&self, start: StartWorker<'_>) -> Result<usize> {
        let mut control = self.control.lock();
        if let Some(error) = control.refusal() {
            return Err(error);
        }
        let wanted = if self.min_workers == 0 { control.max_workers } else { self.min_workers };
        while control.workers.len() < wanted {
            if let Err(error) = control.start_worker(start) {
                drop(control);
                recheck_blocked(Recheck::All); // blocked threads may have relied on that worker
                return Err(Error::ThreadStart(Cause::new(error)));
            }
        }
        Ok(control.workers.len())
    }

    pub(crate) fn resize(&self, max_workers: usize, start: StartWorker<'_>) {
        let mut control = self.control.lock();
        control.max_workers = max_workers;
        control.publish_capacity();
        let surplus = control.has_surplus();
        if surplus {
            // The first workers that check leave. Sleeping ones are woken to check.
            control.workers.iter().for_each(|worker| worker.status.summon(true));
            control.notified = control.sleeping;
        }
        drop(control);
        if surplus {
            self.wake.notify_all();
            recheck_blocked(Recheck::All); // the pool may no longer start workers
        } else {
            self.grow(start); // each worker that starts wakes or starts the next
        }
    }

    /// Removes a worker that was told to check whether there are too many, if there are.
    pub(super) fn leave_if_surplus(&self, status: &WorkerStatus, start: StartWorker<'_>) -> bool {
        status.summon(false);
        {
            let mut control = self.control.lock();
            if !control.has_surplus() {
                return false;
            }
            control.retire(status);
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
        // Two threads may be here at once: both return only when every worker's thread has been
        // joined.
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

    /// Waits inside of a call until the last worker has left its loop; returns false if a worker
    /// never will, because it depends on that call.
    fn has_ended(&self, pool: PoolId) -> bool {
        let signal = Signal::new();
        {
            let mut control = self.control.lock();
            if control.alive == 0 {
                return true;
            }
            control.end_awaited.push(Arc::clone(&signal));
        }
        // A wait for a result can return the error; a shutdown cannot.
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

/// Removes all tasks, and counts the cancelled ones.
fn take_all(outgoing: &mut TaskList, control: &mut QueueState) -> GivenUp {
    let mut given_up = GivenUp::default();
    let older = std::mem::take(&mut outgoing.0);
    for task in older.into_iter().chain(control.incoming.take_all()) {
        match task.phase() {
            Phase::Pending => given_up.pending.push(task),
            Phase::Cancelled => given_up.cancelled.push(task),
            Phase::Running | Phase::Finished => given_up.in_place.push(task),
        }
    }
    control.counts.cancelled += given_up.cancelled.len();
    given_up
}

fn join_thread(thread: JoinHandle<()>) {
    if let Err(payload) = thread.join() {
        contain("dropping the panic of a thread", || drop(payload));
        contain("logging the panic of a thread", || {
            log::error!(target: crate::LOG_TARGET, "a worker thread panicked as it ended");
        });
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use std::io::ErrorKind;
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Barrier};
    use std::time::{Duration, Instant};

    use crate::error::Error;
    use crate::futures::call::Call;
    use crate::futures::call::run::QueuedFn;
    use crate::futures::call::waiters::{Signal, WakeWhen};
    use crate::futures::deadlock::blocked_of;
    use crate::futures::thread::queue::TaskRef;
    use crate::futures::{Future, ThreadPoolExecutor};

    const LONG: Duration = Duration::from_secs(60);

    fn pool_of(workers: usize) -> Arc<ThreadPoolExecutor> {
        let builder = ThreadPoolExecutor::builder().max_workers(workers);
        Arc::new(builder.build().expect("these are sensible settings"))
    }

    fn pool() -> Arc<ThreadPoolExecutor> {
        pool_of(1)
    }

    fn wait_until(holds: impl Fn() -> bool) {
        let until = Instant::now() + LONG;
        while !holds() {
            assert!(Instant::now() < until, "it does not come to that");
            std::thread::yield_now();
        }
    }

    /// A call waits for one of another pool, which waits for one that is queued in the first pool. That
    /// may start a worker for it, until the system refuses.
    #[test]
    fn who_counts_on_a_worker_that_prestart_does_not_get_checks_again() {
        let [grows, other] = [pool_of(2), pool()];
        let task = QueuedFn::new(|| (), "the queued call", ());
        let (task, queued) = Call::<(), _>::queued(grows.shared().id(), task);
        let waits = {
            let other = Arc::clone(&other);
            grows.spawn(move || {
                let queued = Future::from_call(queued);
                other.spawn(move || queued.into_result()).and_then(Future::into_result)
            })
        };
        let is_blocked = |pool: &ThreadPoolExecutor| blocked_of(pool.shared().id()) == 1;
        wait_until(|| is_blocked(&grows) && is_blocked(&other));
        // Directly, since a push would try to start the worker.
        grows.shared().queue().control.lock().incoming.push(TaskRef::new(task), 0);
        let refused = grows.shared().queue().prestart(&|_, _| Err(ErrorKind::WouldBlock.into()));
        assert!(matches!(refused, Err(Error::ThreadStart(_))));
        let ended = waits.expect("it is open").result_timeout(LONG).expect("it returns").clone();
        let deadlock = ended.map_or_else(Some, |inner| inner.err());
        assert!(matches!(deadlock, Some(Error::Deadlock(_))), "{deadlock:?}");
    }

    #[test]
    fn a_shutdown_in_a_call_returns_after_the_last_worker_has_left() {
        let [pool, other] = [pool(), pool()];
        let (open, gate) = channel::<()>();
        let running = other.spawn(move || gate.recv()).expect("it is open");
        let shut = Arc::clone(&other);
        let call = pool.spawn(move || {
            shut.shutdown();
            shut.shared().queue().control.lock().alive
        });
        wait_until(|| !other.shared().queue().control.lock().end_awaited.is_empty());
        drop(open);
        assert_eq!(call.expect("it is open").into_result().expect("it returns"), 0);
        assert!(running.into_result().expect("it returns").is_err());
    }

    /// Of two calls that wait for each other's pools one goes on; who else waits is still notified.
    #[test]
    fn a_shutdown_that_does_not_wait_leaves_the_other_waits_for_the_end_alone() {
        let pools = [pool(), pool()];
        let both = Arc::new(Barrier::new(2));
        let ends: Vec<_> = pools
            .iter()
            .map(|pool| {
                let signal = Signal::new();
                pool.shared().queue().control.lock().end_awaited.push(Arc::clone(&signal));
                signal
            })
            .collect();
        let shuts_down = |pool: &ThreadPoolExecutor, other: &Arc<ThreadPoolExecutor>| {
            let (both, other) = (Arc::clone(&both), Arc::clone(other));
            pool.spawn(move || {
                both.wait();
                other.shutdown();
            })
        };
        let calls = [shuts_down(&pools[0], &pools[1]), shuts_down(&pools[1], &pools[0])];
        for call in calls {
            call.expect("it is open").result_timeout(LONG).expect("it returns");
        }
        for end in ends {
            assert!(end.wait(WakeWhen::ONE, Some(Instant::now() + LONG)));
        }
    }
}
