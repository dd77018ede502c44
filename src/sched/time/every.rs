//! Recurring events: when the next tick is due.

use super::clock::TimePoint;

/// The rhythm of a recurring event: the argument of [`every`](crate::sched::Scheduler::every). A
/// plain period means [`fixed_rate`](Self::fixed_rate).
///
/// A recurrence ends by itself at the end of its time: after the last tick that is a whole period
/// before the end of the range; and if the period is below the resolution of the time type, so that
/// the next tick would not be later than the last.
///
/// # Python
///
/// None: actions enter themselves again.
///
/// # Examples
///
/// ```
/// use concurrent::sched::{Every, MissedTicks, Scheduler, VirtualClock};
///
/// let clock = VirtualClock::starting_at(0_u64);
/// let s = Scheduler::with_virtual_clock(&clock);
/// s.every(Every::fixed_rate(10).missed(MissedTicks::Skip), 1, {
///     let clock = clock.clone();
///     move || clock.advance(25) // longer than the period: two ticks are missed each time
/// })?;
/// s.run_until(90)?;
/// assert_eq!(s.next_time(), Some(100)); // it ran at 10, 40 and 70
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every<D> {
    period: D,
    first: Option<D>,
    cadence: Cadence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cadence {
    Rate(MissedTicks),
    Delay,
}

/// The policy of a fixed rate for ticks that were due while the action was still running.
///
/// A tick that is due but has to wait for other actions is not missed: it runs late, as every event
/// does.
///
/// # Examples
///
/// ```
/// use concurrent::sched::{Every, MissedTicks, Scheduler, VirtualClock};
///
/// let clock = VirtualClock::starting_at(0_u64);
/// let s = Scheduler::with_virtual_clock(&clock);
/// s.every(Every::fixed_rate(10).missed(MissedTicks::Coalesce), 1, {
///     let clock = clock.clone();
///     move || clock.advance(25)
/// })?;
/// s.run_until(50)?; // it ran at 10, and at 35 for the ticks of 20 and 30
/// assert_eq!(s.next_time(), Some(60));
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTicks {
    /// Runs each of them, one after the other without a pause. Nothing is lost.
    #[default]
    RunAll,
    /// Runs once for all of them, at once.
    Coalesce,
    /// Runs none of them: the next tick is the first that is not past.
    Skip,
}

impl<D> Every<D> {
    /// Ticks at fixed distances from the first tick, however long the action takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Every, Scheduler, VirtualClock};
    ///
    /// let clock = VirtualClock::starting_at(0_u64);
    /// let s = Scheduler::with_virtual_clock(&clock);
    /// s.every(Every::fixed_rate(10), 1, move || clock.advance(3))?;
    /// s.run_until(24)?;
    /// assert_eq!(s.next_time(), Some(30)); // it ran at 10 and 20
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn fixed_rate(period: D) -> Self {
        Self { period, first: None, cadence: Cadence::Rate(MissedTicks::RunAll) }
    }

    /// Ticks at a fixed distance from the end of the action before. It misses no tick.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Every, Scheduler, VirtualClock};
    ///
    /// let clock = VirtualClock::starting_at(0_u64);
    /// let s = Scheduler::with_virtual_clock(&clock);
    /// s.every(Every::fixed_delay(10), 1, move || clock.advance(3))?;
    /// s.run_until(24)?;
    /// assert_eq!(s.next_time(), Some(36)); // it ran at 10 and 23
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn fixed_delay(period: D) -> Self {
        Self { period, first: None, cadence: Cadence::Delay }
    }

    /// Sets what happens to missed ticks; by default [all run](MissedTicks::RunAll). A fixed delay
    /// misses none.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Every, MissedTicks};
    ///
    /// let every = Every::fixed_rate(5).missed(MissedTicks::Coalesce);
    /// assert_ne!(every, Every::fixed_rate(5));
    /// ```
    #[must_use]
    pub fn missed(mut self, missed: MissedTicks) -> Self {
        if let Cadence::Rate(policy) = &mut self.cadence {
            *policy = missed;
        }
        self
    }

    /// Sets the delay before the first tick; by default it is the period.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Every, Scheduler, VirtualClock};
    ///
    /// let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(50_u64));
    /// let event = s.every(Every::fixed_rate(10).first_after(0), 1, || {})?;
    /// assert_eq!(event.time(), 50);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn first_after(mut self, delay: D) -> Self {
        self.first = Some(delay);
        self
    }
}

impl<D> From<D> for Every<D> {
    fn from(period: D) -> Self {
        Self::fixed_rate(period)
    }
}

impl<D: Copy> Every<D> {
    pub(crate) fn period(&self) -> D {
        self.period
    }

    pub(crate) fn first_delay(&self) -> D {
        self.first.unwrap_or(self.period)
    }

    /// Whether the next tick depends on when the action ended.
    pub(crate) fn needs_clock(&self) -> bool {
        self.cadence != Cadence::Rate(MissedTicks::RunAll)
    }

    /// When the tick after the one at `last` is due, if that one's action ended at `now`. `None` if
    /// time does not go as far.
    pub(crate) fn next<T: TimePoint<Delay = D>>(&self, last: T, now: T) -> Option<T> {
        let period = self.period;
        let Cadence::Rate(missed) = self.cadence else { return step(now, period) };
        let next = step(last, period)?;
        if missed == MissedTicks::RunAll || now <= next {
            return Some(next);
        }
        let latest = latest_tick(next, period, now);
        if missed == MissedTicks::Coalesce || latest == now {
            return Some(latest);
        }
        step(latest, period)
    }

    /// As [`next`](Self::next), if the time at which the action ended is not known.
    pub(crate) fn next_by_rate<T: TimePoint<Delay = D>>(&self, last: T) -> Option<T> {
        step(last, self.period)
    }
}

/// The point `delay` later, or `None` if there is none: at the end of the range, where arithmetic
/// saturates, and where `delay` is below the resolution.
fn step<T: TimePoint>(point: T, delay: T::Delay) -> Option<T> {
    let later = point.after(delay);
    // A sum at the right distance was not cut off at the end of time. A float may have been rounded
    // instead, so check also whether it could go on from there.
    let saturated = || later.since(point) != delay && later.after(delay) <= later;
    (later > point && !saturated()).then_some(later)
}

/// No time type has more than twice as many doublings, from its least delay to its whole range.
const DOUBLINGS: usize = 2_200;

/// The last of `tick`, `tick + period`, `tick + 2 * period`, ... that is not after `now`.
///
/// Doubling steps, because a time point can add but not divide, and a nanosecond period may be
/// hours late.
fn latest_tick<T: TimePoint>(mut tick: T, period: T::Delay, now: T) -> T {
    let mut steps = vec![period];
    while steps.len() < DOUBLINGS {
        let last = steps[steps.len() - 1];
        let Some(whole) = step(tick, last).and_then(|half| step(half, last)) else { break };
        if whole > now {
            break;
        }
        steps.push(whole.since(tick));
    }
    for length in steps.into_iter().rev() {
        if let Some(later) = step(tick, length).filter(|later| *later <= now) {
            tick = later;
        }
    }
    tick
}

#[cfg(test)]
mod tests {
    use super::{Every, MissedTicks, latest_tick, step};
    use crate::sched::{Float, TimePoint};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 10 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn latest_tick_is_the_division(tick: u32, period in 1..5000_u64, late in 0..u64::MAX / 2) {
            let tick = u64::from(tick);
            let expected = tick + late / period * period;
            prop_assert_eq!(latest_tick(tick, period, tick + late), expected);
        }
    }

    #[test]
    fn latest_tick_ends_at_the_end_of_time() {
        assert_eq!(latest_tick(250_u8, 2, 254), 254);
        assert_eq!(latest_tick(250_u8, 4, 255), 254);
        assert_eq!(latest_tick(250_u8, 255, 255), 250);
        assert_eq!(latest_tick(0_u8, 51, 255), 255);
        let tiny = Float::new(f64::from_bits(1)).expect("a number");
        let last = Float::new(f64::MAX).expect("a number");
        assert!(latest_tick(Float::ZERO, tiny, last) <= last);
    }

    #[test]
    fn a_step_is_whole_or_none() {
        assert_eq!(step(100_u8, 100), Some(200));
        assert_eq!(step(200_u8, 100), None);
        assert_eq!(step(204_u8, 51), Some(255));
        assert_eq!(step(255_u8, 51), None);
        assert_eq!(step(i64::MAX - 1, 1), Some(i64::MAX));
        assert_eq!(step(i64::MAX, 1), None);
        assert_eq!(step(-3_i64, i64::MAX), Some(i64::MAX - 3));
        let float = |number| Float::new(number).expect("a number");
        assert_eq!(step(float(1e17), float(1.0)), None);
        assert_eq!(step(float(0.1), float(0.2)), Some(float(0.1 + 0.2)));
        assert_eq!(step(float(1e308), float(1e308)), None);
        assert_eq!(step(float(f64::INFINITY), float(1.0)), None);
    }

    #[test]
    fn the_last_tick_has_none_after_it() {
        let rate = Every::fixed_rate(100_u8);
        assert_eq!((rate.next(100_u8, 100), rate.next(200_u8, 200)), (Some(200), None));
        let coalesce = rate.missed(MissedTicks::Coalesce);
        assert_eq!((coalesce.next(0_u8, 255), coalesce.next(200_u8, 255)), (Some(200), None));
        let skip = rate.missed(MissedTicks::Skip);
        assert_eq!((skip.next(0_u8, 200), skip.next(0_u8, 201)), (Some(200), None));
        // The clock was set back: what counts is that time goes on from there.
        let delay = Every::fixed_delay(100_u8);
        assert_eq!((delay.next(200_u8, 50), delay.next(100_u8, 200)), (Some(150), None));
    }

    /// A time that lies about its distances.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Liar(u64);

    impl TimePoint for Liar {
        type Delay = u64;
        const ZERO: u64 = 0;

        fn after(self, _: u64) -> Self {
            Self(self.0 + 1)
        }

        fn since(self, _: Self) -> u64 {
            1
        }
    }

    #[test]
    fn a_search_among_lies_ends() {
        assert!(latest_tick(Liar(0), 1, Liar(u64::MAX)) > Liar(0));
    }
}
