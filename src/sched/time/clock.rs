//! Time as the scheduler sees it: points, delays, and the two functions of a clock.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

use super::virtual_clock::VirtualClock;
use crate::error::{Error, Result};
use crate::sched::user_function::UserFunction;
use crate::sync::deadline_after;
use crate::user_code;

/// A point in time by which events can be ordered.
///
/// [`Instant`] and [`SystemTime`] are time points, [`Duration`] (time since the start of a
/// simulation), the integers (in any unit) and [`Float`](crate::sched::Float) (as in Python).
/// Implement it for a time type of your own; its arithmetic should saturate instead of overflowing.
///
/// # Blocking
///
/// `<` and `==` are called with the lock of the scheduler held. They must not wait for anything,
/// and must not call the scheduler; nor may a panic hook that one of them triggers. No other code
/// of yours is called so: `after` and `since` are called without the lock.
///
/// # Panics
///
/// None of the functions should panic. If a comparison does, the two times count as equal. A panic
/// of `since` comes out of a run as an error, and so does one of `after` for the next tick of a
/// recurrence. An order that panics or contradicts itself makes events run in a wrong order, early
/// or late. It does no other harm: each event still runs once or is cancelled.
///
/// # Python
///
/// Any type that supports `+`, `-` and `<`; a mistake shows at run time.
///
/// # Examples
///
/// ```
/// use concurrent::sched::{Scheduler, TimePoint, VirtualClock};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
/// struct Day(u32);
///
/// impl TimePoint for Day {
///     type Delay = u32;
///     const ZERO: u32 = 0;
///
///     fn after(self, days: u32) -> Self {
///         Self(self.0.saturating_add(days))
///     }
///
///     fn since(self, earlier: Self) -> u32 {
///         self.0.saturating_sub(earlier.0)
///     }
/// }
///
/// let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(Day(1)));
/// assert_eq!(s.enter(30, 1, || println!("rent")).time(), Day(31));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no time that events can be ordered by",
    note = "take `Instant`, `SystemTime`, `Duration`, an integer, `concurrent::sched::Float` for \
            floats, or implement `TimePoint`"
)]
pub trait TimePoint: Copy + Ord + Debug + Send + Sync + 'static {
    /// A distance between two points.
    type Delay: Copy + Ord + Debug + Send + Sync + 'static;

    /// The distance from a point to itself.
    const ZERO: Self::Delay;

    /// Returns the point `delay` later, or the last point there is.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::TimePoint;
    /// use std::time::{Duration, Instant};
    ///
    /// assert_eq!(TimePoint::after(3_u64, 4), 7);
    /// assert_eq!(TimePoint::after(u64::MAX, 4), u64::MAX);
    /// assert!(Instant::now().after(Duration::MAX) > Instant::now());
    /// ```
    #[must_use]
    fn after(self, delay: Self::Delay) -> Self;

    /// Returns how much later this is than `earlier`, or the longest delay there is.
    ///
    /// The scheduler calls it only if this is later.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::TimePoint;
    ///
    /// assert_eq!(TimePoint::since(7_i64, 3), 4);
    /// ```
    #[must_use]
    fn since(self, earlier: Self) -> Self::Delay;
}

macro_rules! integer_time {
    ($($integer:ty)*) => {$(
        impl TimePoint for $integer {
            type Delay = $integer;
            const ZERO: $integer = 0;

            fn after(self, delay: $integer) -> Self {
                self.saturating_add(delay)
            }

            fn since(self, earlier: Self) -> $integer {
                self.saturating_sub(earlier)
            }
        }
    )*};
}

integer_time!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

impl TimePoint for Duration {
    type Delay = Self;
    const ZERO: Self = Self::ZERO;

    fn after(self, delay: Self) -> Self {
        self.saturating_add(delay)
    }

    fn since(self, earlier: Self) -> Self {
        self.saturating_sub(earlier)
    }
}

impl TimePoint for Instant {
    type Delay = Duration;
    const ZERO: Duration = Duration::ZERO;

    fn after(self, delay: Duration) -> Self {
        self.checked_add(delay).unwrap_or_else(|| last_point(self, Self::checked_add))
    }

    fn since(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl TimePoint for SystemTime {
    type Delay = Duration;
    const ZERO: Duration = Duration::ZERO;

    fn after(self, delay: Duration) -> Self {
        self.checked_add(delay).unwrap_or_else(|| last_point(self, Self::checked_add))
    }

    fn since(self, earlier: Self) -> Duration {
        self.duration_since(earlier).unwrap_or_default()
    }
}

/// The last point that a clock can express. The standard library does not name it, and it differs
/// between systems; only it keeps delays that do not fit in their order.
fn last_point<T: Copy + Ord>(mut point: T, add: impl Fn(&T, Duration) -> Option<T>) -> T {
    let mut step = Duration::MAX;
    while step > Duration::ZERO {
        // A step below the clock's resolution does not change the time, however often it is taken.
        while let Some(later) = add(&point, step).filter(|later| *later > point) {
            point = later;
        }
        step /= 2;
    }
    point
}

/// How long a run sleeps at most on a clock that may be set: then it looks at it again.
pub(crate) const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// A user's delay function.
pub(crate) type DelayFunction<T> = dyn Fn(<T as TimePoint>::Delay) -> Result<()> + Send + Sync;

/// How a run waits until the next event is due.
pub(crate) enum Delay<T: TimePoint> {
    /// Waits on the scheduler's condition variable until this instant; `None` is for ever.
    Interruptible(fn(time: T, now: T) -> Option<Instant>),
    /// Sets the clock forward.
    Virtual(VirtualClock<T>),
    /// Calls the user's delay function.
    User(UserFunction<Box<DelayFunction<T>>>),
}

/// A time function and what goes with it.
///
/// The functions are `Fn`, not `FnMut` behind a lock: several threads may run one scheduler, and a
/// delay function may itself call `run`, which would wait for its own lock.
pub(crate) struct Clock<T: TimePoint> {
    pub(crate) time: UserFunction<Box<dyn Fn() -> T + Send + Sync>>,
    pub(crate) delay: Delay<T>,
    /// A clock of ours: nobody sets it, it never goes back, and nobody sees how often it is read, so
    /// a reading may serve for as long as the next event is due by it.
    pub(crate) steady: bool,
}

impl Clock<Instant> {
    pub(crate) fn real() -> Self {
        let delay = Delay::Interruptible(|time, _| Some(time));
        Self { time: UserFunction::new(Box::new(Instant::now)), delay, steady: true }
    }
}

impl<T: TimePoint<Delay = Duration>> Clock<T> {
    pub(crate) fn interruptible(time: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let delay = Delay::Interruptible(|time: T, now| deadline_after(time.since(now)));
        Self { time: UserFunction::new(Box::new(time)), delay, steady: false }
    }
}

impl<T: TimePoint> Clock<T> {
    pub(crate) fn virtual_time(clock: VirtualClock<T>) -> Self {
        let read = clock.clone();
        let time: Box<dyn Fn() -> T + Send + Sync> = Box::new(move || read.time());
        Self { time: UserFunction::new(time), delay: Delay::Virtual(clock), steady: true }
    }

    /// Reads the time; a panic of the time function becomes an error.
    pub(crate) fn read(&self) -> Result<T> {
        user_code::catch(|| (self.time)()).map_err(Error::Panicked)
    }

    /// `delayfunc(0)`, which follows every action. Only a user's delay function could tell.
    pub(crate) fn pause(&self) -> Result<()> {
        match &self.delay {
            Delay::User(delay) => call_delay::<T>(&***delay, T::ZERO),
            Delay::Interruptible(_) | Delay::Virtual(_) => Ok(()),
        }
    }
}

/// Calls a user's delay function; a panic becomes an error.
pub(crate) fn call_delay<T: TimePoint>(function: &DelayFunction<T>, delay: T::Delay) -> Result<()> {
    user_code::catch(|| function(delay)).map_err(Error::Panicked)?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{TimePoint, last_point};

    /// A clock that counts in steps, as those of other systems do: 100 ns there.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Stepped<const NANOS: u64>(u64);

    impl<const NANOS: u64> Stepped<NANOS> {
        fn checked_add(&self, delay: Duration) -> Option<Self> {
            let steps = u64::try_from(delay.as_nanos() / u128::from(NANOS)).ok()?;
            self.0.checked_add(steps).map(Self)
        }
    }

    impl<const NANOS: u64> TimePoint for Stepped<NANOS> {
        type Delay = Duration;
        const ZERO: Duration = Duration::ZERO;

        fn after(self, delay: Duration) -> Self {
            self.checked_add(delay).unwrap_or_else(|| last_point(self, Self::checked_add))
        }

        fn since(self, earlier: Self) -> Duration {
            Duration::from_nanos(self.0.saturating_sub(earlier.0).saturating_mul(NANOS))
        }
    }

    #[test]
    fn the_last_point_is_found_in_steps_of_any_size() {
        fn last<const NANOS: u64>() -> u64 {
            Stepped::<NANOS>(5).after(Duration::MAX).0
        }
        assert_eq!(last::<1>(), u64::MAX);
        assert_eq!(last::<100>(), u64::MAX);
        assert_eq!(last::<7>(), u64::MAX);
        assert_eq!(last::<1_000_000_000>(), u64::MAX);
        assert_eq!(Stepped::<100>(u64::MAX).after(Duration::from_nanos(50)).0, u64::MAX);
    }
}
