//! The number of calls that a rank may have. No clock: the caller passes how long calls took.

use std::time::Duration;

/// The number of calls that a rank may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// A fixed number.
    Fixed(usize),
    /// Depends on how long calls take.
    Adaptive,
}

/// The average time of the calls of one rank, from which its credit follows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AdaptiveCredit {
    /// In nanoseconds, with more weight for recent calls; `None` before the first answer.
    average: Option<u64>,
}

impl AdaptiveCredit {
    /// For calls of this length the time that the next one needs to arrive does not matter, and a call that is
    /// sent behind one would wait for long.
    const LONG: Duration = Duration::from_millis(10);
    /// Of calls below this length more than one is sent ahead.
    const SHORT: Duration = Duration::from_micros(100);
    /// The time that the calls of one rank may take together, if they are short.
    const AHEAD: Duration = Duration::from_micros(500);
    /// The most calls of one rank.
    const MOST: u64 = 256;

    pub(crate) fn answered(&mut self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.average = Some(match self.average {
            Some(average) => average - average / 8 + took / 8,
            None => took,
        });
    }

    pub(crate) fn credit(&self, credit: Credit) -> usize {
        let nanos = |duration: Duration| duration.as_nanos() as u64;
        let calls = match (credit, self.average) {
            (Credit::Fixed(calls), _) => return calls,
            // Nothing is known: no call waits behind one that may take for ever.
            (Credit::Adaptive, None) => 1,
            (Credit::Adaptive, Some(average)) if average >= nanos(Self::LONG) => 1,
            (Credit::Adaptive, Some(average)) if average >= nanos(Self::SHORT) => 2,
            (Credit::Adaptive, Some(average)) => {
                (nanos(Self::AHEAD) / average.max(1)).clamp(2, Self::MOST)
            }
        };
        calls as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(took: &[Duration]) -> usize {
        let mut credit = AdaptiveCredit::default();
        took.iter().for_each(|took| credit.answered(*took));
        credit.credit(Credit::Adaptive)
    }

    #[test]
    fn short_calls_are_sent_ahead_in_numbers_and_long_ones_one_by_one() {
        assert_eq!(after(&[]), 1);
        assert_eq!(after(&[Duration::from_micros(1)]), 256);
        assert_eq!(after(&[Duration::from_micros(50)]), 10);
        assert_eq!(after(&[Duration::from_millis(1)]), 2);
        assert_eq!(after(&[Duration::from_secs(1)]), 1);
        assert_eq!(after(&[Duration::ZERO; 3]), 256);
    }

    #[test]
    fn one_long_call_ends_the_sending_ahead_and_short_ones_bring_it_back() {
        let mut calls = vec![Duration::from_micros(2); 100];
        calls.push(Duration::from_millis(200));
        assert_eq!(after(&calls), 1);
        calls.extend([Duration::from_micros(2); 100]);
        assert!(after(&calls) > 8);
    }

    #[test]
    fn a_fixed_credit_stays() {
        let mut credit = AdaptiveCredit::default();
        credit.answered(Duration::from_secs(1));
        assert_eq!(credit.credit(Credit::Fixed(3)), 3);
    }
}
