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
const LAST_BIT: Duration = Duration::from_micros(20);

/// Later than this is not the system's habit but a processor that was busy.
const LATEST: Duration = Duration::from_micros(200);

/// How long before the time a long sleep ends: more than it is late by.
const NAP: Duration = Duration::from_micros(500);

/// Sleeps longer than this are two.
const LONG: Duration = Duration::from_millis(2);

/// What a wait should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Sleep for this long, or until it is woken. It is early enough; how late that ends is of no
    /// interest.
    Doze(Duration),
    /// Sleep for this long, or until it is woken, and tell how late that ended.
    Sleep(Duration),
    /// Look at the clock until the time has come.
    Spin,
}

/// What was learned.
#[derive(Debug)]
pub(super) struct Alarm {
    /// How late short sleeps end; rather the lower end of it, so that few are cut too short.
    lag: Duration,
    /// How long before the time the user wants the thread to be awake.
    spin: Duration,
}

impl Alarm {
    pub(super) fn new(lag: Duration, spin: Duration) -> Self {
        Self { lag, spin }
    }

    /// How late sleeps are thought to end.
    pub(super) fn lag(&self) -> Duration {
        self.lag
    }

    /// What to do when the time is this far away.
    pub(super) fn wait(&self, left: Duration) -> Wait {
        if left <= self.spin.max(LAST_BIT) {
            return Wait::Spin;
        }
        if left > LONG.saturating_add(self.spin) {
            return Wait::Doze(left - NAP - self.spin);
        }
        // A sleep as short as can be still takes the lag, which is as good as any.
        let shortest = Duration::from_micros(1);
        Wait::Sleep(left.saturating_sub(self.lag.saturating_add(self.spin)).max(shortest))
    }

    /// Learns that a sleep ended this late.
    pub(super) fn slept(&mut self, late: Duration) {
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
    use super::{Alarm, LATEST, NAP, Wait};
    use std::time::Duration;

    const fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn sleeps_are_cut_by_what_they_last_too_long() {
        let mut alarm = Alarm::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(alarm.wait(us(1_000)), Wait::Sleep(us(1_000)));
        (0..100).for_each(|_| alarm.slept(us(64)));
        let Wait::Sleep(sleep) = alarm.wait(us(1_000)) else { panic!("it is early") };
        assert!(sleep > us(936) && sleep < us(938), "{sleep:?}");
    }

    #[test]
    fn one_busy_moment_is_soon_forgotten() {
        let mut alarm = Alarm::new(Duration::ZERO, Duration::ZERO);
        (0..100).for_each(|_| alarm.slept(us(64)));
        alarm.slept(Duration::from_secs(1));
        assert!(alarm.lag < LATEST / 2);
        (0..3).for_each(|_| alarm.slept(us(64)));
        assert!(alarm.lag < us(67), "{:?}", alarm.lag);
    }

    #[test]
    fn the_last_bit_is_looked_at_and_a_longer_one_on_demand() {
        assert_eq!(Alarm::new(Duration::ZERO, Duration::ZERO).wait(us(10)), Wait::Spin);
        assert_ne!(Alarm::new(Duration::ZERO, Duration::ZERO).wait(us(50)), Wait::Spin);
        let alarm = Alarm::new(Duration::ZERO, us(100));
        assert_eq!(alarm.wait(us(50)), Wait::Spin);
        assert_eq!(alarm.wait(us(1_000)), Wait::Sleep(us(900)));
        assert_eq!(alarm.wait(us(5_000)), Wait::Doze(us(4_400)));
    }

    #[test]
    fn a_long_sleep_is_two() {
        let alarm = Alarm::new(us(60), Duration::ZERO);
        assert_eq!(alarm.wait(us(2_000)), Wait::Sleep(us(1_940)));
        assert_eq!(alarm.wait(us(20_000)), Wait::Doze(us(19_500)));
        assert_eq!(alarm.wait(us(20_000 - 19_500)), Wait::Sleep(us(440)));
        assert_eq!(alarm.wait(Duration::MAX), Wait::Doze(Duration::MAX - NAP));
        assert_ne!(Alarm::new(us(60), Duration::MAX).wait(us(20_000)), Wait::Doze(us(19_500)));
    }

    #[test]
    fn a_sleep_is_never_empty() {
        let mut alarm = Alarm::new(Duration::ZERO, Duration::ZERO);
        (0..100).for_each(|_| alarm.slept(us(100)));
        assert_eq!(alarm.wait(us(50)), Wait::Sleep(us(1)));
    }
}
