//! [`Event`]: the handle of an event.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::builder::PriorityOrder;
use super::queue::event_queue::EventTicket;
use super::queue::key::Key;
use super::time::clock::TimePoint;

/// An event that was entered: [`enter`](super::Scheduler::enter) returns it and
/// [`cancel`](super::Scheduler::cancel) takes it.
///
/// It is a plain value: copying it is free, dropping it changes nothing, and it keeps no scheduler
/// alive.
///
/// Events are equal if they are the same event of the same scheduler. Their order is that in which
/// they run: by time, then priority (in the scheduler's [`PriorityOrder`]), then sequence.
///
/// Each tick of a recurrence is an event with a time and a sequence of its own; any of them cancels
/// the whole recurrence.
///
/// # Python
///
/// The named tuple that `enter` returns. Tuples are equal if they look alike, so that an event of
/// one scheduler can cancel one of another; here that is [`NotQueued`](crate::Error::NotQueued).
///
/// # Examples
///
/// ```
/// use concurrent::sched::{Scheduler, VirtualClock};
///
/// let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(100_u64));
/// let late = s.enter(9, 1, || {});
/// let soon = s.enter(5, 1, || {});
/// assert_eq!((soon.time(), soon.priority(), soon.sequence()), (105, 1, 1));
/// assert!(soon < late);
/// assert_eq!(s.queue(), [soon, late]);
/// ```
pub struct Event<T> {
    time: T,
    rank: i32,
    order: PriorityOrder,
    sequence: u64,
    scheduler: usize,
    ticket: EventTicket,
    name: &'static str,
}

/// The scheduler's part of its events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) scheduler: usize,
    pub(crate) order: PriorityOrder,
}

impl<T: TimePoint> Event<T> {
    /// The event that was just entered with `ticket`.
    pub(crate) fn first(
        origin: Origin,
        time: T,
        rank: i32,
        ticket: EventTicket,
        name: &'static str,
    ) -> Self {
        let Origin { scheduler, order } = origin;
        Self { time, rank, order, sequence: ticket.id, scheduler, ticket, name }
    }

    pub(crate) fn new(
        origin: Origin,
        key: &Key<T>,
        ticket: EventTicket,
        name: &'static str,
    ) -> Self {
        let Origin { scheduler, order } = origin;
        let Key { time, sequence, .. } = *key;
        Self { time, rank: key.rank(), order, sequence, scheduler, ticket, name }
    }

    /// Returns when the event is due, on the scheduler's clock.
    ///
    /// # Python
    ///
    /// `event.time`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::{Duration, Instant};
    ///
    /// let when = Instant::now() + Duration::from_secs(60);
    /// assert_eq!(Scheduler::new().enterabs(when, 1, || {}).time(), when);
    /// ```
    #[must_use]
    pub fn time(&self) -> T {
        self.time
    }

    /// Returns the priority that the event was entered with.
    ///
    /// # Python
    ///
    /// `event.priority`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Scheduler::new().enter(Duration::ZERO, -3, || {}).priority(), -3);
    /// ```
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.order.rank(self.rank)
    }

    /// Returns how many events were entered into its scheduler before it.
    ///
    /// # Python
    ///
    /// `event.sequence`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::new();
    /// assert_eq!(s.enter(Duration::ZERO, 1, || {}).sequence(), 0);
    /// assert_eq!(s.enter(Duration::ZERO, 1, || {}).sequence(), 1);
    /// ```
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns the type name of the event's action: of a function its path, of a closure the path
    /// of the function in which it was written.
    ///
    /// It is for logs only; compilers may word it differently.
    ///
    /// # Python
    ///
    /// `event.action`, the function itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// fn feed_the_cat() {}
    ///
    /// let event = Scheduler::new().enter(Duration::ZERO, 1, feed_the_cat);
    /// assert!(event.name().ends_with("feed_the_cat"));
    /// ```
    #[doc(alias = "action")]
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn scheduler(&self) -> usize {
        self.scheduler
    }

    pub(crate) fn ticket(&self) -> EventTicket {
        self.ticket
    }
}

impl<T: Copy> Copy for Event<T> {}

impl<T: Copy> Clone for Event<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> PartialEq for Event<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.sequence, self.scheduler) == (other.sequence, other.scheduler)
    }
}

impl<T> Eq for Event<T> {}

impl<T: Ord> PartialOrd for Event<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Orders events as they will run. Between events of different schedulers the order is total, but
/// means little.
impl<T: Ord> Ord for Event<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.time, self.rank, self.sequence, self.scheduler).cmp(&(
            &other.time,
            other.rank,
            other.sequence,
            other.scheduler,
        ))
    }
}

impl<T> Hash for Event<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.sequence, self.scheduler).hash(state);
    }
}

impl<T: TimePoint> fmt::Debug for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("time", &self.time)
            .field("priority", &self.priority())
            .field("sequence", &self.sequence)
            .field("name", &self.name)
            .finish()
    }
}
