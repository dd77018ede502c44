//! How a thread passes the time while it expects something soon: it spins, then yields, then sleeps for
//! longer and longer. One policy for each kind of wait.
//!
//! `crossbeam_utils::Backoff` has a single policy, seven rounds of spinning and four yields, and fits
//! none of them. The other side of a hand-over may just have been woken on this very processor, so that
//! spinning must soon make room for it; and another process or machine needs many more rounds.

use std::time::Instant;

#[cfg(not(concurrent_loom))]
pub(crate) use imp::*;

/// Spins and yields a few times until `ready` is true; returns whether it is. To be called by a thread
/// that is about to sleep until then.
#[cfg(not(concurrent_loom))]
pub(crate) fn spin_until(mut ready: impl FnMut() -> bool) -> bool {
    let mut backoff = Backoff::new(BackoffPolicy::HAND_OVER);
    loop {
        if ready() {
            return true;
        }
        if backoff.next_pause().is_some() {
            return false;
        }
    }
}

/// Loom tries every interleaving anyway.
#[cfg(concurrent_loom)]
pub(crate) fn spin_until(mut ready: impl FnMut() -> bool) -> bool {
    ready()
}

/// Spins until `time`, without yielding: for the last microseconds before something is due.
pub(crate) fn spin_until_time(time: Instant) {
    while Instant::now() < time {
        std::hint::spin_loop();
    }
}

#[cfg(not(concurrent_loom))]
mod imp {
    use std::thread::yield_now;
    use std::time::Duration;
    #[cfg(all(target_os = "linux", feature = "process"))]
    use std::time::Instant;

    /// How many rounds a thread spends in which way.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct BackoffPolicy {
        /// Rounds of spinning, each twice as long as the one before.
        spins: u32,
        /// Rounds in which other threads may run.
        yields: u32,
        /// The longest of the pauses after those, which also double.
        longest_pause: Duration,
    }

    impl BackoffPolicy {
        /// Between two running threads. That takes a fraction of a microsecond, where putting one to
        /// sleep and waking it takes ten. Without pauses: the caller sleeps until it is woken.
        pub(super) const HAND_OVER: Self =
            Self { spins: 2, yields: 10, longest_pause: Duration::ZERO };

        /// Between two processes, for as long as the caller wants to. To wake one takes longer than a
        /// short call, above all where an idle processor is stopped.
        #[cfg(all(target_os = "linux", feature = "process"))]
        const PROCESSES: Self = Self { spins: 0, yields: u32::MAX, longest_pause: Duration::ZERO };

        /// Between two ranks, while replies are to come. MPI has nothing that a thread could sleep on.
        #[cfg(all(target_os = "linux", feature = "mpi"))]
        pub(crate) const BUSY_RANK: Self =
            Self { spins: 0, yields: 200, longest_pause: Duration::from_micros(200) };

        /// On a rank that has nothing to do: 1.6 % of a processor, where pauses of 200 µs cost nearly 4.
        #[cfg(all(target_os = "linux", feature = "mpi"))]
        pub(crate) const IDLE_RANK: Self =
            Self { longest_pause: Duration::from_millis(1), ..Self::BUSY_RANK };
    }

    /// A wait, by rounds.
    #[derive(Debug)]
    pub(crate) struct Backoff {
        policy: BackoffPolicy,
        round: u32,
        pause: Duration,
    }

    impl Backoff {
        #[inline]
        pub(crate) fn new(policy: BackoffPolicy) -> Self {
            Self { policy, round: 0, pause: Duration::ZERO }
        }

        /// Spins or yields once; if all such rounds are over, returns for how long to sleep instead.
        #[inline]
        pub(crate) fn next_pause(&mut self) -> Option<Duration> {
            let BackoffPolicy { spins, yields, longest_pause } = self.policy;
            if self.round < spins {
                (0..1 << self.round).for_each(|_| std::hint::spin_loop());
            } else if self.round - spins < yields {
                yield_now();
            } else {
                self.pause = (self.pause * 2).max(Duration::from_micros(1)).min(longest_pause);
                return Some(self.pause);
            }
            self.round = self.round.saturating_add(1);
            None
        }

        /// Something has come: begins anew.
        #[cfg(all(target_os = "linux", feature = "mpi"))]
        pub(crate) fn reset(&mut self) {
            *self = Self::new(self.policy);
        }
    }

    /// How long to spin for another process: a little longer than it takes to be woken.
    #[cfg(all(target_os = "linux", feature = "process"))]
    pub(crate) const SPIN: Duration = Duration::from_micros(50);

    /// How long to spin for another process before something else is done first.
    #[cfg(all(target_os = "linux", feature = "process"))]
    pub(crate) const SHORT_SPIN: Duration = Duration::from_micros(5);

    /// Spins until `ready` is true, for another process, or until the deadline; returns whether it is.
    /// With one processor it returns false at once: the other process could not run meanwhile.
    #[cfg(all(target_os = "linux", feature = "process"))]
    pub(crate) fn spin_until_deadline(deadline: Instant, mut ready: impl FnMut() -> bool) -> bool {
        static ALONE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        let count = || std::thread::available_parallelism().map_or(1, usize::from);
        if *ALONE.get_or_init(|| count() == 1) {
            return false;
        }
        let mut backoff = Backoff::new(BackoffPolicy::PROCESSES);
        while !ready() {
            if Instant::now() >= deadline {
                return false;
            }
            let _ = backoff.next_pause(); // only yields
        }
        true
    }
}

#[cfg(all(test, target_os = "linux", feature = "mpi", not(concurrent_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(BackoffPolicy::BUSY_RANK);
        let pauses: Vec<_> = (0..400).filter_map(|_| backoff.next_pause()).collect();
        assert_eq!(pauses.len(), 200);
        assert!(pauses.is_sorted() && pauses[0] == Duration::from_micros(1));
        assert_eq!(pauses.last(), Some(&Duration::from_micros(200)));
        backoff.reset();
        assert_eq!(backoff.next_pause(), None);
    }
}
