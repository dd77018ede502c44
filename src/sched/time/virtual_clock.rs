//! [`VirtualClock`]: the clock of a simulation.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::clock::TimePoint;
use super::shown_time::ShownTime;
use crate::sched::queue::time_order::earlier;

/// A clock that stands still until it is told to go on.
///
/// A [`Scheduler`](crate::sched::Scheduler) on it runs events of days at once: instead of waiting
/// for the next event it sets the clock to the event's time. Clones are handles to the same clock.
/// It never goes back.
///
/// # Python
///
/// A pair of functions of one's own, for example `sched.scheduler(lambda: now[0], advance)`.
///
/// # Examples
///
/// ```
/// use concurrent::sched::{Scheduler, VirtualClock};
/// use std::time::Duration;
///
/// let clock = VirtualClock::new();
/// let s = Scheduler::with_virtual_clock(&clock);
/// s.enter(Duration::from_secs(86_400), 1, || println!("a day later"));
/// s.run()?;
/// assert_eq!(clock.time(), Duration::from_secs(86_400));
/// # Ok::<(), concurrent::Error>(())
/// ```
pub struct VirtualClock<T: TimePoint = Duration>(Arc<ShownTime<T>>);

impl VirtualClock {
    /// Makes a clock that shows zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::VirtualClock;
    ///
    /// assert!(VirtualClock::new().time().is_zero());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(Duration::ZERO)
    }
}

impl<T: TimePoint> VirtualClock<T> {
    /// Makes a clock that shows `time`, in the unit of `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::VirtualClock;
    ///
    /// assert_eq!(VirtualClock::starting_at(1970_u64).time(), 1970);
    /// ```
    #[must_use]
    pub fn starting_at(time: T) -> Self {
        Self(Arc::new(ShownTime::new(time)))
    }

    /// Returns the time that the clock shows.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::VirtualClock;
    ///
    /// assert_eq!(VirtualClock::starting_at(7_u64).time(), 7);
    /// ```
    #[must_use]
    pub fn time(&self) -> T {
        self.0.get()
    }

    /// Sets the clock forward by `delay`, as work of that length would. A negative delay is
    /// ignored.
    ///
    /// It wakes no run: schedulers on a virtual clock never sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::VirtualClock;
    ///
    /// let clock = VirtualClock::starting_at(7_i64);
    /// clock.advance(3);
    /// clock.advance(-8);
    /// assert_eq!(clock.time(), 10);
    /// ```
    pub fn advance(&self, delay: T::Delay) {
        self.0.update(|now| Some(now.after(delay)).filter(|next| earlier(&now, next)));
    }

    /// Sets the clock forward to `time`; does nothing if it shows that time or a later one.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::VirtualClock;
    ///
    /// let clock = VirtualClock::starting_at(7_i64);
    /// clock.advance_to(10);
    /// clock.advance_to(2);
    /// assert_eq!(clock.time(), 10);
    /// ```
    pub fn advance_to(&self, time: T) {
        self.set_forward(time);
    }

    /// As [`advance_to`](Self::advance_to); returns what it shows then.
    pub(crate) fn set_forward(&self, time: T) -> T {
        self.0.update(|now| earlier(&now, &time).then_some(time))
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: TimePoint> Clone for VirtualClock<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: TimePoint> fmt::Debug for VirtualClock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VirtualClock").field(&self.time()).finish()
    }
}

// A time is replaced as a whole.
impl<T: TimePoint> UnwindSafe for VirtualClock<T> {}
impl<T: TimePoint> RefUnwindSafe for VirtualClock<T> {}
