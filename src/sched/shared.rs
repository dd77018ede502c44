//! What the handles of one scheduler share: the queue behind its lock, and the clock.
//!
//! The lock is held for a few instructions at a time and never while user code runs: not an action,
//! not the clock's functions, not the drop of what an action captured. The only exception is the
//! comparison of two time points.

use std::collections::VecDeque;
use std::sync::Arc;

use super::action::Job;
use super::alarm::Alarm;
use super::builder::Settings;
use super::clock::{Clock, TimePoint};
use super::dispatch::{Dispatch, Due};
use super::event::{Event, Origin};
use super::heap::Heap;
use super::recurring::Every;
use crate::error::{Error, Outcome, Result};
use crate::guard;
use crate::sync::{Condvar, Guess, Mutex, ThreadId, unique_id};

/// What the latest scheduler learned about this machine: a new one begins with that. To begin with,
/// Linux' usual slack.
pub(super) static LAG: Guess = Guess::of_micros(50);

pub(super) struct Shared<T: TimePoint> {
    pub(super) origin: Origin,
    pub(super) clock: Clock<T>,
    pub(super) dispatch: Option<Dispatch>,
    pub(super) state: Mutex<State<T>>,
    /// Notified when a run that sleeps has reason to look again: another event is first, the
    /// scheduler was stopped, a dispatched action ended. Always all of them: each sleeps until the
    /// first event it knew of, and any may be the one that is free when the new one is due.
    pub(super) changed: Condvar,
}

pub(super) struct State<T: TimePoint> {
    pub(super) queue: Heap<T, Job<T>>,
    pub(super) alarm: Alarm,
    /// How often `stop` was called. A run ends when it is no longer what it was at its start.
    pub(super) stops: u64,
    /// How many actions were dispatched and have not ended.
    pub(super) in_flight: usize,
    /// The threads that are running a dispatched action. A run in one of them does not wait for
    /// dispatched actions to end, because it would wait for itself.
    pub(super) inside: Vec<ThreadId>,
    /// Of dispatched actions, until a run returns them.
    pub(super) failures: VecDeque<Error>,
}

/// An event taken out of the queue to run.
pub(super) type Taken<T> = super::heap::Taken<T, Job<T>>;

impl<T: TimePoint> Shared<T> {
    pub(super) fn new(settings: Settings, clock: Clock<T>, dispatch: Option<Dispatch>) -> Self {
        guard::install_hook();
        let state = State {
            queue: Heap::new(settings.bounded_latency),
            alarm: Alarm::new(LAG.get(), settings.final_spin),
            stops: 0,
            in_flight: 0,
            inside: Vec::new(),
            failures: VecDeque::new(),
        };
        Self {
            origin: Origin { scheduler: unique_id(), order: settings.order },
            clock,
            dispatch,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn enter(&self, time: T, priority: i32, job: Job<T>) -> Event<T> {
        let name = job.name();
        let rank = self.origin.order.rank(priority);
        let (ticket, first) = self.state.lock().queue.push(time, rank, job);
        if first {
            self.changed.notify_all();
        }
        Event::first(self.origin, time, rank, ticket, name)
    }

    pub(super) fn cancel(&self, event: &Event<T>) -> Result<()> {
        if event.scheduler() != self.origin.scheduler {
            return Err(Error::NotQueued);
        }
        let cancelled = self.state.lock().queue.cancel(event.ticket()).ok_or(Error::NotQueued)?;
        if cancelled.first {
            self.changed.notify_all();
        }
        if let Some(job) = cancelled.action {
            job.discard();
        }
        Ok(())
    }

    /// The queued events in the order in which they will run. Sorted without the lock.
    pub(super) fn snapshot(&self) -> Vec<Event<T>> {
        let mut events: Vec<_> = {
            let state = self.state.lock();
            let queued = state.queue.iter();
            queued
                .map(|(key, ticket, job)| Event::new(self.origin, key, ticket, job.name()))
                .collect()
        };
        events.sort_unstable();
        events
    }

    pub(super) fn clear(&self) -> usize {
        let (jobs, away) = self.state.lock().queue.clear();
        self.changed.notify_all();
        let count = jobs.len() + away;
        jobs.into_iter().for_each(Job::discard);
        count
    }

    /// Runs the action of `taken`, here or where `dispatch` sends it.
    #[inline]
    pub(super) fn execute(self: &Arc<Self>, taken: Taken<T>) -> Result<()> {
        match &self.dispatch {
            None => self.perform(taken),
            Some(dispatch) => {
                let due = Due::new(Arc::clone(self), taken);
                guard::catch(|| dispatch(due)).map_err(Error::Panicked)?
            }
        }
    }

    /// Runs the action of `taken` here. A recurrence goes on, whatever becomes of this tick.
    #[inline]
    pub(super) fn perform(&self, mut taken: Taken<T>) -> Result<()> {
        let outcome = guard::catch(|| taken.action.call());
        let recurs = taken.action.recurs();
        if !recurs && matches!(outcome, Ok(Ok(()))) {
            return Ok(()); // the usual case first: moving the outcome about takes time
        }
        // Of an event that ran once nothing is left.
        let again = if recurs { self.enter_again(taken) } else { Ok(()) };
        outcome.map_err(Error::Panicked)?.and(again)
    }

    /// Enters the tick after `taken`, unless the recurrence was cancelled meanwhile. An
    /// event that does not recur is over, and what is left of it is dropped.
    pub(super) fn enter_again(&self, taken: Taken<T>) -> Result<()> {
        let Taken { key, ticket, action: job } = taken;
        let Some(every) = job.every() else {
            job.discard();
            return Ok(());
        };
        let (next, outcome) = if every.needs_clock() {
            match self.clock.read() {
                Ok(now) => (every.next(key.time, now), Ok(())),
                // The recurrence must outlive a clock that fails once.
                Err(error) => (key.time.after(every.period()), Err(error)),
            }
        } else {
            (key.time.after(every.period()), Ok(()))
        };
        let entered = self.state.lock().queue.reenter(ticket, next, key.rank(), job);
        match entered {
            Ok(true) => {
                self.changed.notify_all();
            }
            Ok(false) => {}
            Err(cancelled) => cancelled.discard(),
        }
        outcome
    }

    pub(super) fn enter_every<R: Outcome>(
        &self,
        every: Every<T::Delay>,
        priority: i32,
        action: impl FnMut() -> R + Send + 'static,
    ) -> Result<Event<T>> {
        if every.period() <= T::ZERO {
            return Err(Error::InvalidArgument("period must be greater than 0".into()));
        }
        let first = (self.clock.time)().after(every.first_delay());
        Ok(self.enter(first, priority, Job::recurring(every, action)))
    }
}

impl<T: TimePoint> Drop for Shared<T> {
    fn drop(&mut self) {
        let (jobs, _) = self.state.lock().queue.clear();
        jobs.into_iter().for_each(Job::discard);
    }
}
