//! [`SchedulerCore`]: what the handles of a scheduler share, which is the queue, its lock, and the clock.
//!
//! The lock is held for a few instructions at a time, and never while user code runs: no action, no
//! function of the clock, no drop of captures. The only exception is the comparison of two time
//! points; see `time_order.rs`.

use std::collections::VecDeque;

use super::builder::SchedulerSettings;
use super::event::{Event, Origin};
use super::queue::event_queue::EventQueue;
use super::queue::time_order::arrange;
use super::run::action::ScheduledAction;
use super::run::dispatched_actions::DispatchedActions;
use super::run::on_error::Failure;
use super::run::wakeup::Wakeup;
use super::time::clock::{Clock, TimePoint};
use super::time::every::Every;
use crate::error::{Error, Outcome, Result};
use crate::sync::{Condvar, Guess, Mutex, unique_id};
use crate::user_code;

/// How late sleeps end on this machine, as the latest scheduler learned it; a new one begins with
/// that. At first Linux's usual timer slack.
pub(crate) static LAG: Guess = Guess::of_micros(50);

pub(crate) struct SchedulerCore<T: TimePoint> {
    pub(crate) origin: Origin,
    pub(crate) clock: Clock<T>,
    pub(crate) state: Mutex<SchedulerState<T>>,
    /// Wakes the runs that sleep: another event is first, the scheduler was stopped, or a
    /// dispatched action has ended. Always all of them: each sleeps until the first event that it
    /// knew of, and any of them may be the one that is free when the new event is due.
    pub(crate) changed: Condvar,
}

pub(crate) struct SchedulerState<T: TimePoint> {
    pub(crate) queue: EventQueue<T, ScheduledAction<T>>,
    pub(crate) wakeup: Wakeup,
    /// How often `stop` was called. A run ends when this has changed since its start.
    pub(crate) stops: u64,
    /// Actions that were dispatched and have not ended.
    pub(crate) dispatched: DispatchedActions,
    /// The failures of dispatched actions that no run has taken yet.
    pub(crate) failures: VecDeque<Failure>,
}

/// An event taken out of the queue to run.
pub(crate) type PoppedAction<T> = super::queue::event_queue::PoppedEvent<T, ScheduledAction<T>>;

impl<T: TimePoint> SchedulerCore<T> {
    pub(crate) fn new(settings: SchedulerSettings, clock: Clock<T>) -> Self {
        user_code::install_hook();
        let state = SchedulerState {
            queue: EventQueue::new(settings.bounded_latency),
            wakeup: Wakeup::new(LAG.get(), settings.final_spin),
            stops: 0,
            dispatched: DispatchedActions::default(),
            failures: VecDeque::new(),
        };
        Self {
            origin: Origin { scheduler: unique_id(), order: settings.order },
            clock,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn enter(&self, time: T, priority: i32, action: ScheduledAction<T>) -> Event<T> {
        let name = action.name();
        let rank = self.origin.order.rank(priority);
        let (ticket, first) = self.state.lock().queue.push(time, rank, action);
        if first {
            self.changed.notify_all();
        }
        Event::first(self.origin, time, rank, ticket, name)
    }

    pub(crate) fn cancel(&self, event: &Event<T>) -> Result<()> {
        if event.scheduler() != self.origin.scheduler {
            return Err(Error::NotQueued);
        }
        let cancelled = self.state.lock().queue.cancel(event.ticket()).ok_or(Error::NotQueued)?;
        if cancelled.first {
            self.changed.notify_all();
        }
        if let Some(action) = cancelled.action {
            action.discard();
        }
        Ok(())
    }

    /// The queued events in the order in which they will run. Sorted without the lock.
    pub(crate) fn snapshot(&self) -> Vec<Event<T>> {
        let mut events: Vec<_> = {
            let state = self.state.lock();
            let queued = state.queue.iter();
            queued
                .map(|(key, ticket, action)| Event::new(self.origin, key, ticket, action.name()))
                .collect()
        };
        arrange(|| events.sort_unstable());
        events
    }

    pub(crate) fn clear(&self) -> usize {
        let (actions, away) = self.state.lock().queue.clear();
        self.changed.notify_all();
        let count = actions.len() + away;
        actions.into_iter().for_each(ScheduledAction::discard);
        count
    }

    /// Runs the action of `taken` in this thread. A recurrence goes on even if this tick fails.
    #[inline]
    pub(crate) fn perform(&self, mut taken: PoppedAction<T>) -> Result<(), Failure> {
        let outcome = user_code::catch(|| taken.action.call());
        let recurs = taken.action.recurs();
        if !recurs && matches!(outcome, Ok(Ok(()))) {
            return Ok(()); // the usual case first: moving the outcome about takes time
        }
        let name = taken.action.name();
        // Nothing is left of an event that runs once.
        let again = if recurs { self.enter_again(taken) } else { Ok(()) };
        let outcome = outcome.map_err(Error::Panicked).and_then(|outcome| outcome.and(again));
        outcome.map_err(|error| Failure { name, error })
    }

    /// Enters the tick after `taken`, unless the recurrence was cancelled meanwhile or has reached
    /// the end of time. The action of an event that does not recur is dropped.
    pub(crate) fn enter_again(&self, taken: PoppedAction<T>) -> Result<()> {
        let PoppedAction { key, ticket, action } = taken;
        let Some(every) = action.every() else {
            action.discard();
            return Ok(());
        };
        let (next, outcome) = match self.next_tick(every, key.time) {
            Ok(next) => (next, Ok(())),
            // The recurrence must outlive a clock that fails once.
            Err(error) => {
                let next = user_code::catch(|| every.next_by_rate(key.time));
                (next.unwrap_or_default(), Err(error))
            }
        };
        let entered = match next {
            Some(next) => self.state.lock().queue.reenter(ticket, next, key.rank(), action),
            None => {
                self.state.lock().queue.cancel(ticket); // it is away, if it is still there
                Err(action)
            }
        };
        match entered {
            Ok(true) => {
                self.changed.notify_all();
            }
            Ok(false) => {}
            Err(over) => over.discard(),
        }
        outcome
    }

    fn next_tick(&self, every: Every<T::Delay>, last: T) -> Result<Option<T>> {
        if every.needs_clock() {
            let now = self.clock.read()?;
            user_code::catch(|| every.next(last, now)).map_err(Error::Panicked)
        } else {
            user_code::catch(|| every.next_by_rate(last)).map_err(Error::Panicked)
        }
    }

    pub(crate) fn enter_every<R: Outcome>(
        &self,
        every: Every<T::Delay>,
        priority: i32,
        action: impl FnMut() -> R + Send + 'static,
    ) -> Result<Event<T>> {
        if every.period() <= T::ZERO {
            return Err(Error::InvalidArgument("period must be greater than 0".into()));
        }
        let first = (self.clock.time)().after(every.first_delay());
        Ok(self.enter(first, priority, ScheduledAction::recurring(every, action)))
    }
}

impl<T: TimePoint> Drop for SchedulerCore<T> {
    fn drop(&mut self) {
        // No run will report them.
        let failures = std::mem::take(&mut self.state.lock().failures);
        for failure in failures {
            failure.log();
            failure.discard();
        }
    }
}
