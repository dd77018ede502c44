//! How far ahead of an event a run must be woken to be on time.
//!
//! A sleeping thread is woken late: Linux delays timers by up to 50 us to serve several at once,
//! and an idle processor takes time to wake up. The sum differs between machines, but little from
//! one sleep to the next. So a run learns it, sleeps for less time by that much, and spins for the
//! few microseconds that are left if it is woken too early.
//!
//! The longer a processor idles, the later it wakes up, and the more that varies. So a long sleep
//! ends half a millisecond early, and a short one follows. Only the short one is measured.
//!
//! Pure: no clock, no lock, no thread.

use std::time::Duration;

/// A run spins for at most this long, unless the user asks for more. It is shorter than any sleep.
const SPIN_TAIL: Duration = Duration::from_micros(20);

/// A sleep that ends later than this was delayed by a busy processor, not by the system's timers.
const LATEST: Duration = Duration::from_micros(200);

/// How early a long sleep ends; it is late by less.
const WAKE_EARLY: Duration = Duration::from_micros(500);

/// A sleep longer than this is split in two.
const LONG: Duration = Duration::from_millis(2);

/// The next step of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitStep {
    /// Sleep for this long, or until woken. The end is not measured.
    CoarseSleep(Duration),
    /// Sleep for this long, or until woken, and report how late the sleep ended.
    FineSleep(Duration),
    /// Read the clock until the time has come.
    Spin,
}

/// The learned lateness of sleeps.
#[derive(Debug)]
pub(crate) struct Wakeup {
    /// How late short sleeps end; an estimate at the lower end, so that few sleeps are cut too short.
    lag: Duration,
    /// How long before the time the user wants the thread to be awake.
    spin: Duration,
}

impl Wakeup {
    pub(crate) fn new(lag: Duration, spin: Duration) -> Self {
        Self { lag, spin }
    }

    /// The estimate of how late sleeps end.
    pub(crate) fn lag(&self) -> Duration {
        self.lag
    }

    /// The next step when the time is this far away.
    pub(crate) fn wait(&self, left: Duration) -> WaitStep {
        if left <= self.spin.max(SPIN_TAIL) {
            return WaitStep::Spin;
        }
        if left > LONG.saturating_add(self.spin) {
            return WaitStep::CoarseSleep(left - WAKE_EARLY - self.spin);
        }
        // The shortest sleep still takes the lag, which is the best that can be had.
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
