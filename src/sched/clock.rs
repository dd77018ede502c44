//! Time as the scheduler sees it: points, delays, and the two functions of a clock.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

use super::virtual_clock::VirtualClock;
use crate::error::{Error, Result};
use crate::guard;
use crate::sync::deadline_after;

/// A point in time that events can be ordered by.
///
/// Implemented for [`Instant`] and [`SystemTime`], for [`Duration`] (time since the start of a
/// simulation), for the integers (any unit) and for [`Float`](super::Float) (Python's way). Implement
/// it for a time type of your own: arithmetic saturates instead of overflowing, and neither it nor
/// the comparison may panic or call the scheduler, because events are compared under its lock.
///
/// # Python
///
/// Any type that supports `+`, `-` and `<` serves there, and a mistake shows at run time.
///
/// # Examples
///
/// ```
/// use concurrent::sched::TimePoint;
/// use std::time::{Duration, Instant};
///
/// assert_eq!(TimePoint::after(3_u64, 4), 7);
/// assert_eq!(TimePoint::after(u64::MAX, 4), u64::MAX);
/// assert_eq!(TimePoint::since(7_i64, 3), 4);
/// assert!(Instant::now().after(Duration::MAX) > Instant::now());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no time that events can be ordered by",
    note = "take `Instant`, `SystemTime`, `Duration`, an integer, `concurrent::sched::Float` for \
            floats, or implement `TimePoint`"
)]
pub trait TimePoint: Copy + Ord + Debug + Send + Sync + 'static {
    /// The distance between two points.
    type Delay: Copy + Ord + Debug + Send + Sync + 'static;

    /// No delay: what a delay function gets after every action.
    const ZERO: Self::Delay;

    /// Returns the point `delay` later, or the last point there is.
    #[must_use]
    fn after(self, delay: Self::Delay) -> Self;

    /// Returns how much later this is than `earlier`, or the longest delay there is.
    ///
    /// The scheduler asks only when it is later.
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
fn last_point<T: Copy>(mut point: T, add: impl Fn(&T, Duration) -> Option<T>) -> T {
    let mut step = Duration::MAX;
    while step > Duration::ZERO {
        while let Some(later) = add(&point, step) {
            point = later;
        }
        step /= 2;
    }
    point
}

/// A user's delay function.
pub(super) type DelayFunction<T> = dyn Fn(<T as TimePoint>::Delay) -> Result<()> + Send + Sync;

/// What the scheduler does until the next event is due.
pub(super) enum Delay<T: TimePoint> {
    /// Waits on the scheduler's condition variable until this instant; `None` is for ever.
    Interruptible(fn(time: T, now: T) -> Option<Instant>),
    /// Sets the clock forward.
    Virtual(VirtualClock<T>),
    /// Calls the user's delay function.
    User(Box<DelayFunction<T>>),
}

/// A time function and what goes with it.
///
/// The functions are `Fn`, not `FnMut` behind a lock: several threads may run one scheduler, and a
/// delay function may itself call `run`, which would wait for its own lock.
pub(super) struct Clock<T: TimePoint> {
    pub(super) time: Box<dyn Fn() -> T + Send + Sync>,
    pub(super) delay: Delay<T>,
    /// A clock of ours: it never goes back and nobody sees how often it is read, so a reading may
    /// serve for as long as the next event is due by it.
    pub(super) steady: bool,
}

impl Clock<Instant> {
    pub(super) fn real() -> Self {
        let delay = Delay::Interruptible(|time, _| Some(time));
        Self { time: Box::new(Instant::now), delay, steady: true }
    }
}

impl<T: TimePoint<Delay = Duration>> Clock<T> {
    pub(super) fn interruptible(time: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let delay = Delay::Interruptible(|time: T, now| deadline_after(time.since(now)));
        Self { time: Box::new(time), delay, steady: false }
    }
}

impl<T: TimePoint> Clock<T> {
    pub(super) fn virtual_time(clock: VirtualClock<T>) -> Self {
        let read = clock.clone();
        let time = Box::new(move || read.time());
        Self { time, delay: Delay::Virtual(clock), steady: true }
    }

    /// Reads the time; a panic of the time function becomes an error.
    pub(super) fn read(&self) -> Result<T> {
        guard::catch(|| (self.time)()).map_err(Error::Panicked)
    }

    /// `delayfunc(0)`, which follows every action. Only a user's delay function could tell.
    pub(super) fn pause(&self) -> Result<()> {
        match &self.delay {
            Delay::User(delay) => call_delay::<T>(delay, T::ZERO),
            Delay::Interruptible(_) | Delay::Virtual(_) => Ok(()),
        }
    }
}

/// Calls a user's delay function; a panic becomes an error.
pub(super) fn call_delay<T: TimePoint>(function: &DelayFunction<T>, delay: T::Delay) -> Result<()> {
    guard::catch(|| function(delay)).map_err(Error::Panicked)?
}
