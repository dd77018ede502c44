//! [`Scheduler`]: the handle; enters, cancels and inspects events.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use super::event::Event;
use super::handle::OwnedScheduler;
use super::run::action::ScheduledAction;
use super::time::clock::TimePoint;
use super::time::every::Every;
use crate::error::{Outcome, Result};

/// An event scheduler: a queue of actions, each with a time and a priority.
///
/// Cloning makes another handle to the same scheduler. See the [module](super) for order, time and
/// threads.
///
/// # Drop
///
/// With the last handle the events that are still queued are dropped unrun. An action that captured
/// a handle keeps its own scheduler alive until it runs, is cancelled or [cleared](Self::clear).
///
/// If actions are [dispatched](super::SchedulerBuilder::dispatch), the drop of the last handle
/// waits until those that were handed out have run or were dropped, so that the end of `main` loses
/// none. Then it drops the dispatcher, perhaps with a pool that it captured. Failures since the
/// last run are logged. Inside of a dispatched action the drop does not wait, because it would wait
/// for itself. So if such actions capture handles, [`run`](Self::run) the scheduler to its end, or
/// [`stop`](Self::stop) it and join its runs, before the program ends.
///
/// # Python
///
/// `sched.scheduler`.
///
/// # Examples
///
/// An action that enters itself again:
///
/// ```
/// use concurrent::sched::{Scheduler, VirtualClock};
///
/// fn count_down(s: Scheduler<u64>, left: u32) {
///     if left > 0 {
///         s.clone().enter(1, 1, move || count_down(s, left - 1));
///     }
/// }
///
/// let clock = VirtualClock::starting_at(0);
/// let s = Scheduler::with_virtual_clock(&clock);
/// count_down(s.clone(), 10);
/// s.run()?;
/// assert_eq!(clock.time(), 10);
/// # Ok::<(), concurrent::Error>(())
/// ```
pub struct Scheduler<T: TimePoint = Instant>(pub(crate) Arc<OwnedScheduler<T>>);

impl<T: TimePoint> Scheduler<T> {
    /// Returns the time that the scheduler's clock shows.
    ///
    /// # Panics
    ///
    /// If the time function does.
    ///
    /// # Python
    ///
    /// `scheduler.timefunc()`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    ///
    /// let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(12_u64));
    /// assert_eq!(s.timefunc(), 12);
    /// ```
    #[must_use]
    pub fn timefunc(&self) -> T {
        (self.0.clock.time)()
    }

    /// Enters an event that is due `delay` from now.
    ///
    /// It may be called at any moment: from actions, from the delay function, from other threads. A
    /// sleeping run wakes up if this is now the first event and the delay is interruptible.
    ///
    /// # Errors
    ///
    /// An `Err` or a panic of the action comes out of [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// If the time function does, or if the queue holds 2^32 - 1 events. Then nothing is entered.
    ///
    /// # Python
    ///
    /// `enter(delay, priority, action, argument, kwargs)`; a closure captures the arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let name = String::from("Ada");
    /// let s = Scheduler::new();
    /// s.enter(Duration::ZERO, 1, move || println!("hello {name}"));
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn enter<R: Outcome>(
        &self,
        delay: T::Delay,
        priority: i32,
        action: impl FnOnce() -> R + Send + 'static,
    ) -> Event<T> {
        self.enterabs(self.timefunc().after(delay), priority, action)
    }

    /// Enters an event that is due at `time`; if that is past, at once.
    ///
    /// Otherwise like [`enter`](Self::enter).
    ///
    /// # Errors
    ///
    /// As [`enter`](Self::enter).
    ///
    /// # Panics
    ///
    /// If the queue holds 2^32 - 1 events.
    ///
    /// # Python
    ///
    /// `enterabs(time, priority, action, argument, kwargs)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Instant;
    ///
    /// let s = Scheduler::new();
    /// s.enterabs(Instant::now(), 1, || println!("now"));
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn enterabs<R: Outcome>(
        &self,
        time: T,
        priority: i32,
        action: impl FnOnce() -> R + Send + 'static,
    ) -> Event<T> {
        self.0.enter(time, priority, ScheduledAction::once(action))
    }

    /// Enters an event that recurs: with a plain period at a fixed rate, first after one period.
    ///
    /// The returned event cancels the recurrence, from any thread and at any time, even from its
    /// own action. Its ticks never overlap. Each tick is an event of its own in the
    /// [`queue`](Self::queue).
    ///
    /// A tick that fails ends the run but not the recurrence: the next tick is queued already when
    /// the error comes out of [`run`](Self::run). A recurrence ends when it is cancelled, and at
    /// the end of time: see [`Every`].
    ///
    /// # Errors
    ///
    /// [`InvalidArgument`](crate::Error::InvalidArgument) if the period is not greater than zero.
    ///
    /// # Panics
    ///
    /// As [`enter`](Self::enter).
    ///
    /// # Python
    ///
    /// None: actions enter themselves again.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::with_virtual_clock(&VirtualClock::new());
    /// let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    /// let tick = s.every(second, 1, || println!("tick"))?;
    /// s.run_until(minute)?; // sixty ticks
    /// s.cancel(&tick)?;
    /// assert!(s.is_empty());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn every<R: Outcome>(
        &self,
        every: impl Into<Every<T::Delay>>,
        priority: i32,
        action: impl FnMut() -> R + Send + 'static,
    ) -> Result<Event<T>> {
        self.0.enter_every(every.into(), priority, action)
    }

    /// Removes an event from the queue, so that it never runs; for a recurring one, all its ticks.
    ///
    /// The captures of the action are dropped in this thread; a panic of a destructor is logged. It
    /// takes constant time on average.
    ///
    /// # Errors
    ///
    /// [`NotQueued`](crate::Error::NotQueued) if the event ran, is running, was cancelled, or is
    /// another scheduler's.
    ///
    /// # Python
    ///
    /// `cancel(event)`, which searches the whole queue, and raises `ValueError`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::{Error, sched::Scheduler};
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::new();
    /// let event = s.enter(Duration::from_secs(60), 1, || {});
    /// s.cancel(&event)?;
    /// assert!(matches!(s.cancel(&event), Err(Error::NotQueued)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self, event: &Event<T>) -> Result<()> {
        self.0.cancel(event)
    }

    /// Cancels all events, and returns how many these were.
    ///
    /// It also cancels a recurrence whose action is running just now.
    ///
    /// # Python
    ///
    /// None: `for event in s.queue: s.cancel(event)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::new();
    /// s.enter(Duration::from_secs(60), 1, || {});
    /// assert_eq!(s.clear(), 1);
    /// s.run()?; // returns at once
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn clear(&self) -> usize {
        self.0.clear()
    }

    /// Returns whether no event is queued. An event whose action is running is not queued.
    ///
    /// # Python
    ///
    /// `empty()`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(concurrent::sched::Scheduler::new().is_empty());
    /// ```
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many events are queued.
    ///
    /// # Python
    ///
    /// `len(scheduler.queue)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    ///
    /// let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(0_u64));
    /// s.enter(9, 1, || {});
    /// assert_eq!(s.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.lock().queue.len()
    }

    /// Returns the queued events in the order in which they will run, as of now.
    ///
    /// Of a recurrence it has the next tick.
    ///
    /// # Python
    ///
    /// `queue`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::new();
    /// let last = s.enter(Duration::from_secs(9), 1, || {});
    /// let first = s.enter(Duration::from_secs(3), 1, || {});
    /// assert_eq!(s.queue(), [first, last]);
    /// ```
    #[must_use]
    pub fn queue(&self) -> Vec<Event<T>> {
        self.0.snapshot()
    }

    /// Returns the time of the next event; `None` if the queue is empty.
    ///
    /// # Python
    ///
    /// `queue[0].time`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Instant;
    ///
    /// let s = Scheduler::new();
    /// assert_eq!(s.next_time(), None);
    /// let event = s.enterabs(Instant::now(), 1, || {});
    /// assert_eq!(s.next_time(), Some(event.time()));
    /// ```
    #[must_use]
    pub fn next_time(&self) -> Option<T> {
        self.0.state.lock().queue.first().map(|key| key.time)
    }
}

impl<T: TimePoint> Clone for Scheduler<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: TimePoint> fmt::Debug for Scheduler<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, next) = {
            let state = self.0.state.lock();
            (state.queue.len(), state.queue.first().map(|key| key.time))
        };
        f.debug_struct("Scheduler").field("len", &len).field("next_time", &next).finish()
    }
}

// A panic of user code never leaves the scheduler half changed, because no lock is held then.
impl<T: TimePoint> UnwindSafe for Scheduler<T> {}
impl<T: TimePoint> RefUnwindSafe for Scheduler<T> {}
