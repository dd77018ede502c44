//! Spins briefly before blocking.
//!
//! To wake a thread takes longer than a short call, above all where an idle processor is stopped.

use std::sync::OnceLock;
use std::thread::{available_parallelism, yield_now};
use std::time::{Duration, Instant};

/// How long to spin: a little longer than it takes to be woken.
pub(super) const SPIN: Duration = Duration::from_micros(50);

/// How long to spin before something else is done first.
pub(super) const SHORT_SPIN: Duration = Duration::from_micros(5);

/// Asks `ready` again and again, until it says yes or the time has come. With one processor not at
/// all: the other side could not run meanwhile.
pub(super) fn spin_until_deadline(until: Instant, mut ready: impl FnMut() -> bool) -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    if *ALONE.get_or_init(|| available_parallelism().map_or(true, |count| count.get() == 1)) {
        return false;
    }
    while !ready() {
        if Instant::now() >= until {
            return false;
        }
        yield_now(); // to the other side, if it was put on this processor
    }
    true
}
