//! How far ahead of an event a run must be woken to be on time.
//!
//! A thread that asks to be woken at a moment is woken later: Linux rounds its timers up by 50 us to
//! serve several at once, and an idle processor takes its time to wake up itself. How much that
//! comes to differs between machines, but little from one time to the next. So the run learns it, asks
//! to be woken so much earlier, and looks at the clock for the few microseconds that are left if it is
//! woken too early.
//!
//! The longer a processor idles, the later it wakes up, and the less alike are two times. So a long
//! sleep ends half a millisecond before, and what is learned is how late the short one ends that
//! follows.
//!
//! Pure: no clock, no lock, no thread.

use std::time::Duration;

/// At most this much is looked at the clock, unless the user asks for more. Less than sleeping takes.
const SPIN_TAIL: Duration = Duration::from_micros(20);

/// Later than this is not the system's habit but a processor that was busy.
const LATEST: Duration = Duration::from_micros(200);

/// How long before the time a long sleep ends: more than it is late by.
const WAKE_EARLY: Duration = Duration::from_micros(500);

/// Sleeps longer than this are two.
const LONG: Duration = Duration::from_millis(2);

/// What a wait should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitStep {
    /// Sleep for this long, or until it is woken. It is early enough; how late that ends is of no
    /// interest.
    CoarseSleep(Duration),
    /// Sleep for this long, or until it is woken, and tell how late that ended.
    FineSleep(Duration),
    /// Look at the clock until the time has come.
    Spin,
}

/// What was learned.
#[derive(Debug)]
pub(crate) struct Wakeup {
    /// How late short sleeps end; rather the lower end of it, so that few are cut too short.
    lag: Duration,
    /// How long before the time the user wants the thread to be awake.
    spin: Duration,
}

impl Wakeup {
    pub(crate) fn new(lag: Duration, spin: Duration) -> Self {
        Self { lag, spin }
    }

    /// How late sleeps are thought to end.
    pub(crate) fn lag(&self) -> Duration {
        self.lag
    }

    /// What to do when the time is this far away.
    pub(crate) fn wait(&self, left: Duration) -> WaitStep {
        if left <= self.spin.max(SPIN_TAIL) {
            return WaitStep::Spin;
        }
        if left > LONG.saturating_add(self.spin) {
            return WaitStep::CoarseSleep(left - WAKE_EARLY - self.spin);
        }
        // A sleep as short as can be still takes the lag, which is as good as any.
        let shortest = Duration::from_micros(1);
        WaitStep::FineSleep(left.saturating_sub(self.lag.saturating_add(self.spin)).max(shortest))
    }

    /// Learns that a sleep ended this late.
    pub(crate) fn slept(&mut self, late: Duration) {
        let late = late.min(LATEST);
        if late > self.lag {
            self.lag += (late - self.lag) / 8;
        } else {
            self.lag -= (self.lag - late) / 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LATEST, WAKE_EARLY, WaitStep, Wakeup};
    use std::time::Duration;

    const fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn sleeps_are_cut_by_what_they_last_too_long() {
        let mut wakeup = Wakeup::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(wakeup.wait(us(1_000)), WaitStep::FineSleep(us(1_000)));
        (0..100).for_each(|_| wakeup.slept(us(64)));
        let WaitStep::FineSleep(sleep) = wakeup.wait(us(1_000)) else { panic!("it is early") };
        assert!(sleep > us(936) && sleep < us(938), "{sleep:?}");
    }

    #[test]
    fn one_busy_moment_is_soon_forgotten() {
        let mut wakeup = Wakeup::new(Duration::ZERO, Duration::ZERO);
        (0..100).for_each(|_| wakeup.slept(us(64)));
        wakeup.slept(Duration::from_secs(1));
        assert!(wakeup.lag < LATEST / 2);
        (0..3).for_each(|_| wakeup.slept(us(64)));
        assert!(wakeup.lag > us(60) && wakeup.lag < us(67), "{:?}", wakeup.lag);
    }

    #[test]
    fn the_last_bit_is_looked_at_and_a_longer_one_on_demand() {
        assert_eq!(Wakeup::new(Duration::ZERO, Duration::ZERO).wait(us(10)), WaitStep::Spin);
        assert_ne!(Wakeup::new(Duration::ZERO, Duration::ZERO).wait(us(50)), WaitStep::Spin);
        let wakeup = Wakeup::new(Duration::ZERO, us(100));
        assert_eq!(wakeup.wait(us(50)), WaitStep::Spin);
        assert_eq!(wakeup.wait(us(1_000)), WaitStep::FineSleep(us(900)));
        assert_eq!(wakeup.wait(us(5_000)), WaitStep::CoarseSleep(us(4_400)));
    }

    #[test]
    fn a_long_sleep_is_two() {
        let wakeup = Wakeup::new(us(60), Duration::ZERO);
        assert_eq!(wakeup.wait(us(2_000)), WaitStep::FineSleep(us(1_940)));
        assert_eq!(wakeup.wait(us(20_000)), WaitStep::CoarseSleep(us(19_500)));
        assert_eq!(wakeup.wait(us(20_000 - 19_500)), WaitStep::FineSleep(us(440)));
        assert_eq!(wakeup.wait(Duration::MAX), WaitStep::CoarseSleep(Duration::MAX - WAKE_EARLY));
        assert_ne!(
            Wakeup::new(us(60), Duration::MAX).wait(us(20_000)),
            WaitStep::CoarseSleep(us(19_500))
        );
    }

    #[test]
    fn a_sleep_is_never_empty() {
        let mut wakeup = Wakeup::new(Duration::ZERO, Duration::ZERO);
        (0..100).for_each(|_| wakeup.slept(us(100)));
        assert_eq!(wakeup.wait(us(50)), WaitStep::FineSleep(us(1)));
    }
}
