//! The queue of a pool: queued calls, sleeping workers, and when another worker is started.
//!
//! ```text
//!  submitters ──push──► incoming ──(swapped over when outgoing is empty)──► outgoing ──► workers
//!                      Control lock                                        Outgoing lock
//! ```
//!
//! Calls leave in the order they came: all of `outgoing` is older than `incoming`, and is refilled
//! only when empty. So submitters and workers compete for a lock once per refill, not once per
//! call.
//!
//! That is for an unbounded queue with the discipline first in, first out. In all others `outgoing`
//! stays empty, and workers take single calls from `incoming` under both locks.
//!
//! LOCK: `outgoing` before `control`. No user code runs and no user value is dropped under either.
//!
//! **No call is stranded.** A worker goes to sleep under the control lock, after it saw both queues empty
//! under both locks. A push wakes a sleeping worker, if there is one, unless another is being woken
//! already. A worker that was woken, or started, and leaves calls behind in either queue wakes the
//! next one, or starts one if none sleeps. So while calls wait and workers sleep or may be started,
//! a worker is on the way: `notified` counts the sleepers among these.
//!
//! **Growth.** If no worker sleeps, a push starts one if more calls wait than there are workers outside of
//! user code, because each of those takes the next call. A worker marks itself as busy under the
//! outgoing lock, with the call that it takes, and as free before the result can be seen: a thread
//! that has seen a result finds its worker free, and reuses it.
//!
//! **Leaving.** A worker leaves before the end of the pool if there are more than `max_workers`, or if it
//! has slept for `keep_alive` and there are more than `min_workers`. It removes itself under the
//! control lock. In the second case the queue is empty under that lock; in the first the worker
//! then wakes or starts another one for the calls that it leaves behind.

mod bounded;
mod lifecycle;
mod order;
mod state;
mod task_ref;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use order::WaitList;

pub use bounded::FullQueue;
pub(crate) use bounded::{Pushed, QueuePermit};
pub use order::Discipline;
pub(crate) use state::{QueueState, StartWorker, WorkerCounts, WorkerStatus};
pub(crate) use task_ref::{TaskRef, discard};

use crate::error::Error;
use crate::futures::call::assist::Begin;
use crate::futures::call::state::Phase;
use crate::futures::deadlock::{PoolCapacity, Recheck, recheck_blocked};
use crate::sync::backoff::spin_until;
use crate::sync::{AtomicBool, Condvar, Mutex, MutexGuard, Ordering};
use crate::sync::{deadline_after, wait_until};
use crate::user_code::contain;

/// The fields that submitters use come first, at the address of the queue: that saves some
/// instructions.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Queue {
    // In cache lines of their own: submitters write to one while workers write to the other. Calls
    // cost a third less if neither has to fetch the other's line.
    pub(crate) control: CachePadded<Mutex<QueueState>>,
    pub(crate) outgoing: CachePadded<Mutex<TaskList>>,
    /// Whether `incoming` holds a call, for a worker that spins before it sleeps. Only a hint.
    has_incoming: AtomicBool,
    /// Sleeping workers.
    pub(crate) wake: Condvar,
    /// Threads that wait for the last worker to end or to be joined.
    pub(crate) ended: Condvar,
    /// Whether workers take single calls from `incoming`.
    single: bool,
    pub(crate) capacity: Option<NonZeroUsize>,
    pub(crate) min_workers: usize,
    /// How long an idle worker sleeps before it leaves.
    keep_alive: Option<Duration>,
}

/// Calls, the oldest first.
#[derive(Default)]
pub(crate) struct TaskList(pub(super) VecDeque<TaskRef>);

/// The settings of a queue.
#[derive(Clone, Copy)]
pub(crate) struct QueueSettings {
    pub(crate) max_workers: usize,
    pub(crate) min_workers: usize,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) capacity: Option<NonZeroUsize>,
    pub(crate) discipline: Discipline,
}

impl Queue {
    pub(crate) fn new(settings: QueueSettings, known: Arc<PoolCapacity>) -> Self {
        let incoming = WaitList::new(settings.discipline);
        Self {
            outgoing: CachePadded::new(Mutex::new(TaskList::default())),
            control: CachePadded::new(Mutex::new(QueueState::new(
                incoming,
                settings.max_workers,
                known,
            ))),
            has_incoming: AtomicBool::new(false),
            wake: Condvar::new(),
            ended: Condvar::new(),
            single: settings.capacity.is_some() || settings.discipline != Discipline::Fifo,
            capacity: settings.capacity,
            min_workers: settings.min_workers,
            keep_alive: settings.keep_alive,
        }
    }

    /// Queues a task, and wakes or starts a worker for it.
    ///
    /// On an error the task is returned, to be dropped by the caller outside of all locks.
    pub(crate) fn push(
        &self,
        task: TaskRef,
        priority: i32,
        start: StartWorker<'_>,
    ) -> Result<(), (Error, TaskRef)> {
        let mut control = self.control.lock();
        if let Err(error) = control.make_ready(start) {
            return Err((error, task));
        }
        self.admit(control, task, priority, start);
        Ok(())
    }

    /// The second half of a push: the task is accepted.
    #[inline]
    pub(crate) fn admit(
        &self,
        mut control: MutexGuard<'_, QueueState>,
        task: TaskRef,
        priority: i32,
        start: StartWorker<'_>,
    ) {
        control.accepted += 1;
        control.incoming.push(task, priority);
        self.has_incoming.store(true, Ordering::Relaxed); // ORDERING: a hint
        if control.sleeping > 0 {
            let wake = control.wake_one();
            drop(control);
            if wake {
                self.wake.notify_one();
            }
        } else if control.workers.len() < control.max_workers {
            drop(control);
            self.grow(start);
        }
    }

    /// Starts a worker if more calls wait than there are workers that will take one next.
    pub(crate) fn grow(&self, start: StartWorker<'_>) {
        let outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        let waiting = outgoing.0.len() + control.incoming.len();
        let free = control.workers.iter().filter(|worker| !worker.status.is_raised()).count();
        if waiting <= free
            || control.workers.len() >= control.max_workers
            || control.refusal().is_some()
        {
            return;
        }
        let started = control.start_worker(start);
        let present = control.workers.len();
        drop((control, outgoing)); // a logger is user code
        if let Err(error) = started {
            recheck_blocked(Recheck::All); // blocked threads may have relied on that worker
            contain("logging a failed thread start", || {
                log::warn!(
                    target: crate::LOG_TARGET,
                    "can't start new thread, going on with {present}: {error}"
                );
            });
        }
    }

    /// Takes the next task; sleeps while there is none. `None` when the worker must end.
    ///
    /// `fresh` says that the worker takes its first task. A task of a bounded queue has been
    /// started, any other has not.
    pub(crate) fn take(
        &self,
        status: &WorkerStatus,
        fresh: bool,
        start: StartWorker<'_>,
    ) -> Option<TaskRef> {
        let mut called = fresh;
        let mut looked = false;
        let mut leave_at: Option<Instant> = None;
        loop {
            if status.is_summoned() && self.leave_if_surplus(status, start) {
                return None;
            }
            let mut outgoing = self.outgoing.lock();
            if outgoing.0.is_empty() {
                let mut control = self.control.lock();
                if control.incoming.is_empty() && control.dead.is_empty() {
                    drop(outgoing);
                    if !looked {
                        drop(control);
                        looked = true;
                        spin_until(|| self.has_incoming.load(Ordering::Relaxed));
                        continue;
                    }
                    if control.closed || control.broken.is_some() {
                        return None;
                    }
                    let expired = leave_at.is_some_and(|time| Instant::now() >= time);
                    let spare = control.workers.len() > self.min_workers;
                    if control.has_surplus() || (expired && spare) {
                        control.retire(status);
                        return None;
                    }
                    if expired || leave_at.is_none() {
                        leave_at = self.keep_alive.and_then(deadline_after);
                    }
                    self.sleep(control, leave_at);
                    called = true;
                    continue;
                }
                if self.single {
                    match self.take_single((outgoing, control), status, called, start) {
                        Some(task) => return Some(task),
                        None => continue,
                    }
                }
                self.has_incoming.store(false, Ordering::Relaxed); // ORDERING: a hint
                control.incoming.move_to(&mut outgoing.0);
            }
            let task = outgoing.0.pop_front();
            status.raise();
            let more = !outgoing.0.is_empty();
            drop(outgoing);
            if called {
                self.call_next(more, start);
            }
            return task;
        }
    }

    /// Takes a task from `incoming`, or drops ended ones. `None` if the worker must try again.
    #[inline(never)] // so that it costs the usual queue nothing
    fn take_single(
        &self,
        (outgoing, mut control): (MutexGuard<'_, TaskList>, MutexGuard<'_, QueueState>),
        status: &WorkerStatus,
        called: bool,
        start: StartWorker<'_>,
    ) -> Option<TaskRef> {
        status.raise();
        if !control.dead.is_empty() {
            let dead = std::mem::take(&mut control.dead);
            drop((control, outgoing));
            self.call_next(true, start); // a push may have relied on this worker
            discard(dead);
            status.lower();
            return None;
        }
        let task = control.incoming.pop()?;
        let mut let_in = false;
        if self.capacity.is_some() {
            if !task.start() {
                if task.is_cancelled() {
                    status.found_cancelled();
                }
                control.dead.push(task);
                return None;
            }
            status.begins();
            let_in = self.give_back(&mut control);
        }
        let more = !control.incoming.is_empty();
        self.has_incoming.store(more, Ordering::Relaxed); // ORDERING: a hint
        drop((control, outgoing));
        if called || let_in {
            self.call_next(more, start);
        }
        Some(task)
    }

    fn sleep(&self, mut control: MutexGuard<'_, QueueState>, deadline: Option<Instant>) {
        control.sleeping += 1;
        wait_until(&self.wake, &mut control, deadline);
        control.sleeping -= 1;
        // A worker that wakes for another reason replaces the one that was notified; that one will
        // find the queue as this one leaves it.
        control.notified = control.notified.saturating_sub(1);
    }

    /// Wakes or starts a worker for the calls that a woken worker leaves behind: a push while it
    /// was on its way relied on it.
    pub(crate) fn call_next(&self, more_outgoing: bool, start: StartWorker<'_>) {
        let mut control = self.control.lock();
        if !more_outgoing && control.incoming.is_empty() {
            return;
        }
        let wake = control.wake_one();
        let grow = control.sleeping == 0 && control.workers.len() < control.max_workers;
        drop(control);
        if wake {
            self.wake.notify_one();
        } else if grow {
            self.grow(start);
        }
    }

    /// The worker `status` is about to run user code again, after it marked itself as free.
    pub(crate) fn enter_user_code(&self, status: &WorkerStatus, start: StartWorker<'_>) {
        {
            let _outgoing = self.outgoing.lock();
            status.raise_after_call();
        }
        // A push in between relied on this worker.
        self.grow(start);
    }

    /// The worker `status` starts a queued call, by `begin`, inside of another one.
    ///
    /// It removes ended tasks, from the end of the queue unless that is by priority. Calls that wait
    /// for what they have just submitted leave them there, and a deep tree of calls would fill the
    /// memory. Tasks that may hold a value go to `over`, to be dropped while no call is between its
    /// start and its run.
    pub(crate) fn begin_nested(
        &self,
        status: &WorkerStatus,
        unless_free: bool,
        begin: &mut dyn FnMut() -> bool,
        over: &mut Vec<TaskRef>,
        start: StartWorker<'_>,
    ) -> Begin {
        let mut control = self.control.lock();
        if unless_free && control.has_worker_to_spare() {
            return Begin::LeftToAnother;
        }
        let begun = begin();
        if begun {
            status.begins();
            control.note_begun(over);
        }
        // Each call that begins leaves one, so removing two keeps the queue short.
        let first = control.pop_over();
        let second = if first.is_some() { control.pop_over() } else { None };
        let mut let_in = false;
        if self.capacity.is_some() {
            over.append(&mut control.dead);
            let_in = begun && self.give_back(&mut control);
        }
        drop(control);
        let mut leave = |(task, phase)| match phase {
            // The worker that runs it is an owner too, unless it has ended meanwhile.
            Phase::Running => discard([task]),
            _ => over.push(task),
        };
        if let Some(task) = first {
            leave(task);
        }
        if let Some(task) = second {
            leave(task);
        }
        if let_in {
            self.call_next(false, start);
        }
        if begun { Begin::Begun } else { Begin::Gone }
    }

    pub(crate) fn max_workers(&self) -> usize {
        self.control.lock().max_workers
    }
}

impl std::fmt::Debug for TaskList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} calls", self.0.len())
    }
}
