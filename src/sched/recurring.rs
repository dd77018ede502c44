//! Recurring events: when the next tick is due.

use super::clock::TimePoint;

/// How an event recurs: what [`every`](super::Scheduler::every) takes. A plain period means
/// [`fixed_rate`](Self::fixed_rate).
///
/// # Python
///
/// There is nothing like it; actions enter themselves again.
///
/// # Examples
///
/// ```
/// use concurrent::sched::{Every, MissedTicks, Scheduler, VirtualClock};
/// use std::{cell::Cell, time::Duration};
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
    pace: Pace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Rate(MissedTicks),
    Delay,
}

/// What a fixed rate does about ticks that were due while the action was still running.
///
/// A tick whose time has come but that has to wait for other actions is not missed: it runs late,
/// as every event does.
///
/// # Examples
///
/// ```
/// use concurrent::sched::MissedTicks;
///
/// assert_eq!(MissedTicks::default(), MissedTicks::RunAll);
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
    /// Ticks at fixed distances from the first, however long the action takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Every;
    ///
    /// assert_eq!(Every::fixed_rate(5), Every::from(5));
    /// ```
    #[must_use]
    pub fn fixed_rate(period: D) -> Self {
        Self { period, first: None, pace: Pace::Rate(MissedTicks::RunAll) }
    }

    /// Ticks at a fixed distance from the end of the action before. Misses none.
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
        Self { period, first: None, pace: Pace::Delay }
    }

    /// Sets what happens to missed ticks. A fixed delay misses none.
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
        if let Pace::Rate(policy) = &mut self.pace {
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
    pub(super) fn period(&self) -> D {
        self.period
    }

    pub(super) fn first_delay(&self) -> D {
        self.first.unwrap_or(self.period)
    }

    /// Whether the next tick depends on when the action ended.
    pub(super) fn needs_clock(&self) -> bool {
        self.pace != Pace::Rate(MissedTicks::RunAll)
    }

    /// When the tick after the one at `last` is due, if that one's action ended at `now`.
    pub(super) fn next<T: TimePoint<Delay = D>>(&self, last: T, now: T) -> T {
        let next = last.after(self.period);
        match self.pace {
            Pace::Rate(MissedTicks::RunAll) => next,
            Pace::Rate(_) if now <= next => next,
            Pace::Rate(MissedTicks::Coalesce) => latest_tick(next, self.period, now),
            Pace::Rate(MissedTicks::Skip) => {
                let latest = latest_tick(next, self.period, now);
                if latest == now { latest } else { latest.after(self.period) }
            }
            Pace::Delay => now.after(self.period),
        }
    }
}

/// The last of `tick`, `tick + period`, `tick + 2 * period`, ... that is not after `now`.
///
/// Doubling steps, because a time point can add but not divide, and a nanosecond period may be
/// hours late.
fn latest_tick<T: TimePoint>(mut tick: T, period: T::Delay, now: T) -> T {
    let mut steps = vec![period];
    loop {
        let step = steps[steps.len() - 1];
        let half = tick.after(step);
        let whole = half.after(step);
        // Also the end of the range, and of a float's precision.
        if half <= tick || whole <= half || whole > now {
            break;
        }
        steps.push(whole.since(tick));
    }
    for step in steps.into_iter().rev() {
        if tick.after(step) <= now {
            tick = tick.after(step);
        }
    }
    tick
}

#[cfg(test)]
mod tests {
    use super::latest_tick;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn latest_tick_is_the_division(tick: u32, period in 1..5000_u64, late in 0..u64::MAX / 2) {
            let tick = u64::from(tick);
            let expected = tick + late / period * period;
            prop_assert_eq!(latest_tick(tick, period, tick + late), expected);
        }
    }

    // There the arithmetic saturates: what matters is that the search comes to an end.
    #[test]
    fn latest_tick_ends_at_the_end_of_time() {
        assert_eq!(latest_tick(250_u8, 2, 254), 254);
        assert_eq!(latest_tick(250_u8, 4, 255), 255);
        assert_eq!(latest_tick(250_u8, 255, 255), 255);
    }
}
