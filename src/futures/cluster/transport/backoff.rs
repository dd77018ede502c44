//! How to wait for messages that no descriptor tells of.

use std::time::Duration;

/// Looks often at first, then ever more rarely: a message that follows another one soon is met at
/// once, and an idle rank costs little.
#[derive(Debug)]
pub(crate) struct Backoff {
    looks: u32,
    pause: Duration,
    longest: Duration,
}

impl Backoff {
    /// How often to look before the first pause.
    const LOOKS: u32 = 200;

    /// The longest pause of a rank that has nothing to do: 1.6 % of a processor, where 200 µs cost
    /// nearly 4.
    pub(crate) const IDLE: Duration = Duration::from_millis(1);

    pub(crate) fn new(longest: Duration) -> Self {
        Self { looks: 0, pause: Duration::ZERO, longest }
    }

    /// Something has come.
    pub(crate) fn reset(&mut self) {
        self.looks = 0;
        self.pause = Duration::ZERO;
    }

    /// Nothing has come. How long to pause; if not at all, it has let others run.
    pub(crate) fn next_pause(&mut self) -> Option<Duration> {
        if self.looks < Self::LOOKS {
            self.looks += 1;
            std::thread::yield_now();
            return None;
        }
        self.pause = (self.pause * 2).clamp(Duration::from_micros(1), self.longest);
        Some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let mut patience = Backoff::new(Duration::from_micros(100));
        let pauses: Vec<_> = (0..400).filter_map(|_| patience.next_pause()).collect();
        assert_eq!(pauses.len(), 200);
        assert!(pauses.is_sorted() && pauses[0] == Duration::from_micros(1));
        assert_eq!(pauses.last(), Some(&Duration::from_micros(100)));
        patience.reset();
        assert_eq!(patience.next_pause(), None);
    }
}
