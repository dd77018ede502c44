//! The bounded queue: places, and those who are blocked because there is none.
//!
//! A call takes a place in the queue when it is pushed, and carries a [`Place`] in its closure,
//! whose drop gives it back: when a worker starts it, or when it is cancelled, at once. The queue
//! counts the calls that were handed to it, the refused ones too, so that each drop has its count.
//!
//! Who finds no place leaves the call in `blocked` and sleeps. Whoever gives a place back moves the
//! call that waits longest into the queue, so that calls run in the order in which they came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Queue;
use super::control::{Control, Start};
use super::entry::Job;
use crate::error::Error;
use crate::futures::thread::pool::Shared;
use crate::sync::{Condvar, MutexGuard, deadline_after, wait_until};

/// Cancelled calls are swept out of the queue when it holds this many times its capacity.
const SWEEP_AT: usize = 2;

/// What submitting to a full queue does; see [`ThreadPoolBuilder::when_full`].
///
/// [`ThreadPoolBuilder::when_full`]: crate::futures::ThreadPoolBuilder::when_full
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullQueue {
    /// It blocks until there is room, whoever came first goes first.
    #[default]
    Block,
    /// It blocks this long at most, then fails with [`Error::QueueFull`].
    BlockFor(Duration),
    /// It fails with [`Error::QueueFull`] at once.
    Refuse,
    /// It runs the call in the thread that submits it, before it returns.
    RunInCaller,
}

/// A call's place in a bounded queue; its drop gives it back. It may not happen under a lock.
pub(crate) struct Place(Arc<Shared>);

impl Place {
    pub(crate) fn new(pool: &Arc<Shared>) -> Self {
        Self(Arc::clone(pool))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.queue().release(&|flag, index| self.0.start(flag, index));
    }
}

/// A call whose submitter sleeps until there is room.
pub(crate) struct Blocked {
    ticket: u64,
    job: Job,
    priority: i32,
    wake: Arc<Condvar>,
}

impl Blocked {
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// What became of a call that was pushed.
pub(crate) enum Pushed {
    Queued,
    /// There is no room: the caller is to run it.
    RunHere(Job),
}

impl Queue {
    /// Puts a call that holds a [`Place`] into the queue, or does with it what `full` says.
    pub(crate) fn push_bounded(
        &self,
        job: Job,
        priority: i32,
        full: FullQueue,
        start: Start<'_>,
    ) -> Result<Pushed, (Error, Job)> {
        let mut control = self.control.lock();
        let is_full = self.is_full(&control);
        control.places += 1;
        if let Err(error) = control.make_ready(start) {
            return Err((error, job));
        }
        if !is_full {
            let dead = self.take_dead(&mut control);
            self.admit(control, job, priority, start);
            drop(dead);
            return Ok(Pushed::Queued);
        }
        match full {
            FullQueue::Block => self.block(control, job, priority, None),
            FullQueue::BlockFor(limit) => self.block(control, job, priority, deadline_after(limit)),
            FullQueue::Refuse => Err((Error::QueueFull, job)),
            FullQueue::RunInCaller => Ok(Pushed::RunHere(job)),
        }
    }

    /// Puts the call that `make` makes into the queue if there is room; otherwise it is not made.
    ///
    /// `make` only moves things; it runs under the lock.
    pub(crate) fn try_push(
        &self,
        make: impl FnOnce() -> Job,
        priority: i32,
        start: Start<'_>,
    ) -> Result<(), Error> {
        let mut control = self.control.lock();
        control.make_ready(start)?;
        if self.is_full(&control) {
            return Err(Error::QueueFull);
        }
        control.places += usize::from(self.capacity.is_some());
        let dead = self.take_dead(&mut control);
        let job = make();
        self.admit(control, job, priority, start);
        drop(dead);
        Ok(())
    }

    /// Waits with the call until somebody has moved it into the queue.
    fn block(
        &self,
        mut control: MutexGuard<'_, Control>,
        job: Job,
        priority: i32,
        deadline: Option<Instant>,
    ) -> Result<Pushed, (Error, Job)> {
        let ticket = control.next_ticket;
        control.next_ticket += 1;
        let wake = Arc::new(Condvar::new());
        control.blocked.push_back(Blocked { ticket, job, priority, wake: Arc::clone(&wake) });
        loop {
            let Ok(at) = control.blocked.binary_search_by_key(&ticket, |blocked| blocked.ticket)
            else {
                return Ok(Pushed::Queued);
            };
            let expired = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let error = control.refusal().or_else(|| expired().then_some(Error::QueueFull));
            if let Some(error) = error {
                let blocked = control.blocked.remove(at).expect("its index was found above");
                return Err((error, blocked.job));
            }
            wait_until(&wake, &mut control, deadline);
        }
    }

    /// Gives a place back, and lets in whoever waits longest.
    fn release(&self, start: Start<'_>) {
        let mut control = self.control.lock();
        control.places -= 1;
        if control.blocked.is_empty() || self.is_full(&control) || control.refusal().is_some() {
            return;
        }
        if let Some(blocked) = control.blocked.pop_front() {
            blocked.wake();
            self.admit(control, blocked.job, blocked.priority, start);
        }
    }

    fn is_full(&self, control: &Control) -> bool {
        let taken = control.places - control.blocked.len();
        self.capacity.is_some_and(|capacity| taken >= capacity.get())
    }

    /// Calls that were cancelled have given back their place, but their shell is still queued.
    fn take_dead(&self, control: &mut Control) -> Vec<Job> {
        match self.capacity {
            Some(capacity) if control.incoming.len() >= capacity.get().saturating_mul(SWEEP_AT) => {
                let dead = control.incoming.take_dead();
                control.counts.cancelled += dead.iter().filter(|job| job.is_cancelled()).count();
                dead
            }
            _ => Vec::new(),
        }
    }
}

impl std::fmt::Debug for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "call number {}", self.ticket)
    }
}
