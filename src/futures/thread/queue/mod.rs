//! What waits to be run, who sleeps, and when another worker is due.
//!
//! ```text
//!  submitters ──push──► incoming ──(swapped over when outgoing is empty)──► outgoing ──► workers
//!                      Control lock                                        Outgoing lock
//! ```
//!
//! Calls leave in the order they came: `outgoing` is older than `incoming` throughout, and is
//! refilled only when empty. Submitters meet workers at a lock once per refill, not once per call.
//!
//! So it goes in a queue without bound whose discipline is first in, first out. In all others
//! `outgoing` stays empty, and workers take single calls from `incoming` under both locks.
//!
//! LOCK: `outgoing` before `control`. No user code runs and no user value is dropped under either.
//!
//! **No call is stranded.** A worker goes to sleep under the control lock after it saw both queues
//! empty under both locks. Whoever pushes while somebody sleeps wakes one, unless one is being
//! woken already; a worker that was woken, or started, and leaves calls behind in either queue wakes
//! the next, or starts one if nobody is left to wake. So while calls wait and workers sleep or may be
//! started, somebody is on the way: `notified` counts the sleepers among them.
//!
//! **Growth.** A call that finds nobody asleep gets a new worker if more calls wait than there are
//! workers outside of user code, because each of those looks at the queue next. A worker raises
//! its `busy` flag under the outgoing lock, with the call it takes, and lowers it before the
//! result can be seen: whoever has seen a result finds its worker free, and reuses it.
//!
//! **Leaving.** A worker leaves before the end of the pool if there are more than `max_workers`, or
//! if it has slept for `keep_alive` and there are more than `min_workers`. It strikes itself out
//! under the control lock: in the second case with the queue still seen to be empty, in the first it
//! then sees to the calls that it leaves behind, which may have counted on it.

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

/// What submitters need comes first, at the address of the whole: that saves them some instructions.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Queue {
    // In cache lines of their own: submitters write to one part of the queue while workers write to the
    // other, and calls cost a third less if neither has to fetch the other's line.
    pub(crate) control: CachePadded<Mutex<QueueState>>,
    pub(crate) outgoing: CachePadded<Mutex<TaskList>>,
    /// Whether `incoming` holds a call; for a worker that looks before it sleeps. Only a hint.
    has_incoming: AtomicBool,
    /// Sleeping workers.
    pub(crate) wake: Condvar,
    /// Those who wait for the last worker to end or to be joined.
    pub(crate) ended: Condvar,
    /// Whether workers take single calls from `incoming`.
    single: bool,
    pub(crate) capacity: Option<NonZeroUsize>,
    pub(crate) min_workers: usize,
    /// How long a worker sleeps before it leaves.
    keep_alive: Option<Duration>,
}

/// Calls, the oldest first.
#[derive(Default)]
pub(crate) struct TaskList(pub(super) VecDeque<TaskRef>);

/// What a queue is made of.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) max_workers: usize,
    pub(crate) min_workers: usize,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) capacity: Option<NonZeroUsize>,
    pub(crate) discipline: Discipline,
}

impl Queue {
    pub(crate) fn new(shape: Shape, known: Arc<PoolCapacity>) -> Self {
        let incoming = WaitList::new(shape.discipline);
        Self {
            outgoing: CachePadded::new(Mutex::new(TaskList::default())),
            control: CachePadded::new(Mutex::new(QueueState::new(
                incoming,
                shape.max_workers,
                known,
            ))),
            has_incoming: AtomicBool::new(false),
            wake: Condvar::new(),
            ended: Condvar::new(),
            single: shape.capacity.is_some() || shape.discipline != Discipline::Fifo,
            capacity: shape.capacity,
            min_workers: shape.min_workers,
            keep_alive: shape.keep_alive,
        }
    }

    /// Puts a call into the queue and sees to it that a worker comes for it.
    ///
    /// On an error the call is given back to be dropped by the caller, outside of all locks.
    pub(crate) fn push(
        &self,
        job: TaskRef,
        priority: i32,
        start: StartWorker<'_>,
    ) -> Result<(), (Error, TaskRef)> {
        let mut control = self.control.lock();
        if let Err(error) = control.make_ready(start) {
            return Err((error, job));
        }
        self.admit(control, job, priority, start);
        Ok(())
    }

    /// The rest of a push, when nothing is in its way.
    #[inline]
    pub(crate) fn admit(
        &self,
        mut control: MutexGuard<'_, QueueState>,
        job: TaskRef,
        priority: i32,
        start: StartWorker<'_>,
    ) {
        control.accepted += 1;
        control.incoming.push(job, priority);
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

    /// Starts a worker if calls wait that no present one will look at next.
    pub(crate) fn grow(&self, start: StartWorker<'_>) {
        let outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        let waiting = outgoing.0.len() + control.incoming.len();
        let free = control.workers.iter().filter(|worker| !worker.flag.is_raised()).count();
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
            recheck_blocked(Recheck::All); // calls may have counted on that worker
            contain("logging a failed thread start", || {
                log::warn!(
                    target: crate::LOG_TARGET,
                    "can't start new thread, going on with {present}: {error}"
                );
            });
        }
    }

    /// Takes the next call, sleeping while there is none; `None` when the worker is to end.
    ///
    /// `fresh` is whether the worker has not been here before. A call of a bounded queue was started,
    /// any other was not.
    pub(crate) fn take(
        &self,
        flag: &WorkerStatus,
        fresh: bool,
        start: StartWorker<'_>,
    ) -> Option<TaskRef> {
        let mut called = fresh;
        let mut looked = false;
        let mut leave_at: Option<Instant> = None;
        loop {
            if flag.is_summoned() && self.leave_if_surplus(flag, start) {
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
                        control.retire(flag);
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
                    match self.take_single((outgoing, control), flag, called, start) {
                        Some(job) => return Some(job),
                        None => continue,
                    }
                }
                self.has_incoming.store(false, Ordering::Relaxed); // ORDERING: a hint
                control.incoming.move_to(&mut outgoing.0);
            }
            let job = outgoing.0.pop_front();
            flag.raise();
            let more = !outgoing.0.is_empty();
            drop(outgoing);
            if called {
                self.call_next(more, start);
            }
            return job;
        }
    }

    /// Takes a call from `incoming`, or drops what is over. `None` if the worker is to look again.
    #[inline(never)] // so that it costs the usual queue nothing
    fn take_single(
        &self,
        (outgoing, mut control): (MutexGuard<'_, TaskList>, MutexGuard<'_, QueueState>),
        flag: &WorkerStatus,
        called: bool,
        start: StartWorker<'_>,
    ) -> Option<TaskRef> {
        flag.raise();
        if !control.dead.is_empty() {
            let dead = std::mem::take(&mut control.dead);
            drop((control, outgoing));
            self.call_next(true, start); // whoever counted on this worker
            discard(dead);
            flag.lower();
            return None;
        }
        let job = control.incoming.pop()?;
        let mut let_in = false;
        if self.capacity.is_some() {
            if !job.start() {
                if job.is_cancelled() {
                    flag.found_cancelled();
                }
                control.dead.push(job);
                return None;
            }
            flag.begins();
            let_in = self.give_back(&mut control);
        }
        let more = !control.incoming.is_empty();
        self.has_incoming.store(more, Ordering::Relaxed); // ORDERING: a hint
        drop((control, outgoing));
        if called || let_in {
            self.call_next(more, start);
        }
        Some(job)
    }

    fn sleep(&self, mut control: MutexGuard<'_, QueueState>, deadline: Option<Instant>) {
        control.sleeping += 1;
        wait_until(&self.wake, &mut control, deadline);
        control.sleeping -= 1;
        // A worker that wakes for another reason takes the place of the one that was notified;
        // that one will find the queue as this one leaves it.
        control.notified = control.notified.saturating_sub(1);
    }

    /// Sees to the calls that a worker which was called leaves behind: those who pushed them while
    /// it was on its way counted on it.
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

    /// The worker `flag` is about to run user code again after it said that it was done.
    pub(crate) fn enter_user_code(&self, flag: &WorkerStatus, start: StartWorker<'_>) {
        {
            let _outgoing = self.outgoing.lock();
            flag.raise_after_call();
        }
        // Whoever pushed a call in between counted on this worker.
        self.grow(start);
    }

    /// The worker `flag` starts a queued call by `begin` within another one.
    ///
    /// It takes what is over off the end of the queue, where a call that waits for what it has just
    /// submitted left it: a deep tree of calls would fill the memory otherwise. What may hold a value
    /// goes to `over`, to be dropped when no call is begun and does not run yet.
    pub(crate) fn begin_nested(
        &self,
        flag: &WorkerStatus,
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
            flag.begins();
        }
        // One comes for each that begins, so two keep it short.
        let first = control.pop_over();
        let second = if first.is_some() { control.pop_over() } else { None };
        let mut let_in = false;
        if self.capacity.is_some() {
            over.append(&mut control.dead);
            let_in = begun && self.give_back(&mut control);
        }
        drop(control);
        let mut leave = |(job, phase)| match phase {
            Phase::Running => drop(job), // whoever runs it owns it as well
            _ => over.push(job),
        };
        if let Some(job) = first {
            leave(job);
        }
        if let Some(job) = second {
            leave(job);
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
