//! How many calls a rank is given ahead of what it has answered. No clock: it is told how long
//! calls took.

use std::time::Duration;

/// How many calls may be with one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// Always so many.
    Fixed(usize),
    /// By how long calls take.
    Adaptive,
}

/// How long the calls of one rank take, and what follows from that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AdaptiveCredit {
    /// In nanoseconds, weighed towards the latest; `None` before the first answer.
    average: Option<u64>,
}

impl AdaptiveCredit {
    /// Calls that take so long lose nothing by the time that the next one needs to arrive, and what
    /// is sent behind one of them would wait for long.
    const LONG: Duration = Duration::from_millis(10);
    /// From here on downwards more than one is sent ahead.
    const SHORT: Duration = Duration::from_micros(100);
    /// How long the calls with one rank may take together, if they are short.
    const AHEAD: Duration = Duration::from_micros(500);
    /// The most calls with one rank.
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
            // Nothing is known: nobody waits behind what may take for ever.
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
        let mut pace = AdaptiveCredit::default();
        took.iter().for_each(|took| pace.answered(*took));
        pace.credit(Credit::Adaptive)
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
        let mut pace = AdaptiveCredit::default();
        pace.answered(Duration::from_secs(1));
        assert_eq!(pace.credit(Credit::Fixed(3)), 3);
    }
}
