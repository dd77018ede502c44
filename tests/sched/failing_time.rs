//! A time type whose functions panic, or whose order contradicts itself: the order is wrong, and
//! nothing else is.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use concurrent::Error;
use concurrent::sched::{Scheduler, TimePoint, VirtualClock};

use crate::support::Log;

#[derive(Clone, Copy, Debug)]
struct Broken(i64);

/// Which function is broken: none, the comparison lies, it panics, `since` panics, `after` panics.
static WHAT: AtomicU8 = AtomicU8::new(SOUND);
const SOUND: u8 = 0;
const LIES: u8 = 1;
const PANICS: u8 = 2;
const SINCE_PANICS: u8 = 3;
const AFTER_PANICS: u8 = 4;

/// One test at a time, from a sound beginning.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let guard = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    WHAT.store(SOUND, Relaxed);
    guard
}

impl TimePoint for Broken {
    type Delay = i64;
    const ZERO: i64 = 0;

    fn after(self, delay: i64) -> Self {
        assert!(WHAT.load(Relaxed) != AFTER_PANICS, "no sum");
        Self(self.0.saturating_add(delay))
    }

    fn since(self, earlier: Self) -> i64 {
        assert!(WHAT.load(Relaxed) != SINCE_PANICS, "no difference");
        self.0.saturating_sub(earlier.0)
    }
}

impl Ord for Broken {
    fn cmp(&self, other: &Self) -> Ordering {
        static STATE: AtomicU32 = AtomicU32::new(1);
        let what = WHAT.load(Relaxed);
        if what == LIES || what == PANICS {
            let state = STATE.load(Relaxed).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            STATE.store(state, Relaxed);
            match state >> 30 {
                0 if what == LIES => return Ordering::Less,
                1 if what == LIES => return Ordering::Greater,
                0 if state >> 27 & 7 == 0 => panic!("no order"),
                _ => {}
            }
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Broken {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Broken {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Broken {}

/// Enters, cancels and runs events on a broken order: each runs once or is cancelled.
fn each_runs_once_or_is_cancelled(what: u8, events: usize) {
    let _alone = alone();
    let clock = VirtualClock::starting_at(Broken(0));
    let s = Scheduler::with_virtual_clock(&clock);
    let log = Log::new();
    WHAT.store(what, Relaxed);
    let entered: Vec<_> = (0..events)
        .map(|n| s.enterabs(Broken((n * 7_919 % events) as i64), 1, log.note(n)))
        .collect();
    assert_eq!((s.len(), s.queue().len()), (events, events));
    for (n, event) in entered.iter().enumerate().step_by(3) {
        if s.cancel(event).is_ok() {
            log.push(n);
        }
    }
    s.run().unwrap();
    assert!(s.is_empty() && s.next_time().is_none());
    let mut ran = log.take();
    ran.sort_unstable();
    assert_eq!(ran, Vec::from_iter(0..events));
}

#[test]
fn an_order_that_contradicts_itself_loses_no_event() {
    each_runs_once_or_is_cancelled(LIES, if cfg!(miri) { 50 } else { 10_000 });
}

#[test]
fn a_comparison_that_panics_loses_no_event_and_nobody_waits_for_a_lock() {
    each_runs_once_or_is_cancelled(PANICS, if cfg!(miri) { 20 } else { 60 });
}

#[test]
fn a_distance_that_cannot_be_told_comes_out_of_the_run() {
    let _alone = alone();
    let timed = Scheduler::with_clock(|| Broken(0), |_| ());
    timed.enterabs(Broken(5), 1, || {});
    WHAT.store(SINCE_PANICS, Relaxed);
    for _ in 0..2 {
        assert!(
            matches!(timed.run(), Err(Error::Panicked(panic)) if panic.message() == "no difference")
        );
        assert!(matches!(timed.run_pending(), Err(Error::Panicked(_))));
    }
    assert_eq!(timed.len(), 1, "it is still queued, and the lock is free");
}

#[test]
fn a_next_tick_that_cannot_be_told_comes_out_of_the_run_and_ends_the_recurrence() {
    let _alone = alone();
    let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(Broken(0)));
    s.every(5, 1, || WHAT.store(AFTER_PANICS, Relaxed)).unwrap();
    assert!(matches!(s.run(), Err(Error::Panicked(panic)) if panic.message() == "no sum"));
    s.run().unwrap();
    assert!(s.is_empty());
}
