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

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Cause, Error};
use crate::futures::deadlock::{Staff, look_again};
use crate::futures::job::Run;
use crate::guard::contain;
use crate::sync::{AtomicBool, Condvar, JoinHandle, Mutex, MutexGuard, Ordering};
use crate::sync::{spin_until, wait_until};

pub(crate) type Job = Arc<dyn Run>;

/// A queue whose empty buffer is larger than this is given back to the allocator.
const KEPT_CAPACITY: usize = 1024;

#[derive(Debug)]
pub(crate) struct Queue {
    outgoing: Mutex<Jobs>,
    control: Mutex<Control>,
    /// Whether `incoming` holds a call; for a worker that looks before it sleeps. Only a hint.
    has_incoming: AtomicBool,
    /// Sleeping workers.
    wake: Condvar,
    /// Those who wait for the last worker to end or to be joined.
    ended: Condvar,
}

/// Calls, the oldest first.
#[derive(Default)]
struct Jobs(VecDeque<Job>);

#[derive(Debug)]
struct Control {
    incoming: Jobs,
    /// INVARIANT: workers that are inside `wake.wait`, woken or not.
    sleeping: usize,
    /// INVARIANT: of those, how many were notified and have not run since; at most `sleeping`.
    notified: usize,
    workers: Vec<Worker>,
    /// Workers that have not left their loop.
    alive: usize,
    /// Threads taken out of `workers` by somebody who is joining them.
    joining: usize,
    max_workers: usize,
    /// The system refused the last thread that was asked for.
    refused_thread: bool,
    closed: bool,
    broken: Option<Error>,
}

#[derive(Debug)]
struct Worker {
    flag: Arc<Flag>,
    thread: JoinHandle<()>,
}

/// A worker's word on whether it is inside of user code. On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Flag {
    busy: AtomicBool,
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Self { busy: AtomicBool::new(false) })
    }

    fn raise(&self) {
        self.busy.store(true, Ordering::Relaxed); // ORDERING: read under the same lock
    }

    /// Says that this worker looks at the queue next.
    pub(crate) fn lower(&self) {
        // ORDERING: Relaxed suffices for those who saw the result: it is published after this
        // with Release. Others may see it late and start a worker too many.
        self.busy.store(false, Ordering::Relaxed);
    }

    fn is_raised(&self) -> bool {
        self.busy.load(Ordering::Relaxed) // ORDERING: see `raise` and `lower`
    }
}

/// What is left of a queue's work, as a count of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) waiting: usize,
    pub(crate) running: usize,
}

/// Starts a worker that owns this flag.
pub(crate) type Start<'a> = &'a dyn Fn(Arc<Flag>, usize) -> std::io::Result<JoinHandle<()>>;

impl Queue {
    pub(crate) fn new(max_workers: usize) -> Self {
        Self {
            outgoing: Mutex::new(Jobs::default()),
            control: Mutex::new(Control {
                incoming: Jobs::default(),
                sleeping: 0,
                notified: 0,
                workers: Vec::new(),
                alive: 0,
                joining: 0,
                max_workers,
                refused_thread: false,
                closed: false,
                broken: None,
            }),
            has_incoming: AtomicBool::new(false),
            wake: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    /// Puts a call at the end of the queue and sees to it that a worker comes for it.
    ///
    /// On an error the call is given back to be dropped by the caller, outside of all locks.
    pub(crate) fn push(&self, job: Job, start: Start<'_>) -> Result<(), (Error, Job)> {
        let mut control = self.control.lock();
        if let Some(error) = control.refusal() {
            return Err((error, job));
        }
        if control.workers.is_empty() {
            // Started before the call is queued: if that fails, nobody but this caller is hurt.
            if let Err(error) = control.start_worker(start) {
                return Err((Error::ThreadStart(Cause::new(error)), job));
            }
        }
        control.incoming.0.push_back(job);
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
        Ok(())
    }

    /// Starts a worker if calls wait that no present one will look at next.
    fn grow(&self, start: Start<'_>) {
        let outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        let waiting = outgoing.0.len() + control.incoming.0.len();
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
            look_again(); // calls may have counted on that worker
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
    /// `fresh` is whether the worker has not been here before.
    pub(crate) fn take(&self, flag: &Flag, fresh: bool, start: Start<'_>) -> Option<Job> {
        let mut called = fresh;
        let mut looked = false;
        loop {
            let mut outgoing = self.outgoing.lock();
            if outgoing.0.is_empty() {
                let control = self.control.lock();
                if control.incoming.0.is_empty() {
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
                    self.sleep(control);
                    called = true;
                    continue;
                }
                self.has_incoming.store(false, Ordering::Relaxed); // ORDERING: a hint
                outgoing.refill(control);
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

    fn sleep(&self, mut control: MutexGuard<'_, Control>) {
        control.sleeping += 1;
        wait_until(&self.wake, &mut control, None);
        control.sleeping -= 1;
        // A worker that wakes for another reason takes the place of the one that was notified;
        // that one will find the queue as this one leaves it.
        control.notified = control.notified.saturating_sub(1);
    }

    /// Sees to the calls that a worker which was called leaves behind: those who pushed them while
    /// it was on its way counted on it.
    fn call_next(&self, more_outgoing: bool, start: Start<'_>) {
        let mut control = self.control.lock();
        if !more_outgoing && control.incoming.0.is_empty() {
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
    pub(crate) fn enter_user_code(&self, flag: &Flag, start: Start<'_>) {
        {
            let _outgoing = self.outgoing.lock();
            flag.raise();
        }
        // Whoever pushed a call in between counted on this worker.
        self.grow(start);
    }

    /// Refuses calls from now on and wakes everybody who sleeps; false if it was closed before.
    pub(crate) fn close(&self) -> bool {
        let mut control = self.control.lock();
        let was_open = !std::mem::replace(&mut control.closed, true);
        control.notified = control.sleeping;
        drop(control);
        self.wake.notify_all();
        was_open
    }

    /// Refuses calls from now on because of `error`, and gives up those that wait.
    pub(crate) fn break_off(&self, error: Error) -> Vec<Job> {
        let mut outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        control.broken.get_or_insert(error);
        control.notified = control.sleeping;
        let jobs = outgoing.take_all(&mut control.incoming);
        drop((control, outgoing));
        self.wake.notify_all();
        jobs
    }

    /// Gives up the calls that wait.
    pub(crate) fn drain(&self) -> Vec<Job> {
        let mut outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        outgoing.take_all(&mut control.incoming)
    }

    pub(crate) fn left(&self) -> Left {
        let outgoing = self.outgoing.lock();
        let control = self.control.lock();
        let queued = outgoing.0.iter().chain(&control.incoming.0);
        Left {
            // A cancelled call keeps its place until a worker gets to it.
            waiting: queued.filter(|job| job.is_pending()).count(),
            running: control.workers.iter().filter(|worker| worker.flag.is_raised()).count(),
        }
    }

    /// For the registry of waits: who could come for a call that waits here.
    pub(crate) fn staff(&self) -> Staff {
        let control = self.control.lock();
        let workers = control.alive;
        let may_grow = control.workers.len() < control.max_workers && !control.refused_thread;
        Staff { workers, may_grow }
    }

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

impl Control {
    fn refusal(&self) -> Option<Error> {
        // Broken wins over shut down, as in Python.
        self.broken.clone().or_else(|| self.closed.then_some(Error::Shutdown))
    }

    fn start_worker(&mut self, start: Start<'_>) -> std::io::Result<()> {
        let flag = Flag::new();
        let started = start(Arc::clone(&flag), self.workers.len());
        self.refused_thread = started.is_err();
        self.workers.push(Worker { flag, thread: started? });
        self.alive += 1;
        Ok(())
    }

    /// Whether to notify a sleeper: one sleeps, and none is on its way already.
    fn wake_one(&mut self) -> bool {
        let wake = self.sleeping > 0 && self.notified == 0;
        self.notified += usize::from(wake);
        wake
    }
}

impl Jobs {
    fn refill(&mut self, mut control: MutexGuard<'_, Control>) {
        if self.0.capacity() > KEPT_CAPACITY {
            self.0 = VecDeque::new();
        }
        std::mem::swap(&mut self.0, &mut control.incoming.0);
    }

    fn take_all(&mut self, newer: &mut Self) -> Vec<Job> {
        let older = std::mem::take(&mut self.0);
        older.into_iter().chain(std::mem::take(&mut newer.0)).collect()
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} calls", self.0.len())
    }
}
