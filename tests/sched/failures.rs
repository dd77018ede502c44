//! Actions and clocks that fail: the error comes out of `run`, and nothing else is lost.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use concurrent::Error;
use concurrent::sched::{Scheduler, VirtualClock};

use crate::support::{Log, simulated};

#[derive(Debug)]
struct Broken(u32);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken {}", self.0)
    }
}

impl std::error::Error for Broken {}

// S34: the failed event is gone, the rest is intact, run may be called again.
#[test]
fn an_error_of_an_action_comes_out_of_run() {
    let (s, _) = simulated();
    let log = Log::new();
    s.enter(1, 1, log.note(1));
    let failing = s.enter(2, 1, || Err(Broken(2)));
    s.enter(3, 1, log.note(3));
    let error = s.run().unwrap_err();
    assert_eq!(error.downcast_ref::<Broken>().map(|broken| broken.0), Some(2));
    assert_eq!(log.take(), [1]);
    assert!(s.cancel(&failing).is_err());
    assert_eq!(s.len(), 1);
    s.run().unwrap();
    assert_eq!(log.take(), [3]);
}

// S34, with a panic.
#[test]
fn a_panic_of_an_action_comes_out_of_run() {
    let (s, _) = simulated();
    let log = Log::new();
    s.enter(1, 1, || panic!("boom"));
    s.enter(2, 1, log.note(2));
    let Err(Error::Panicked(panic)) = s.run_pending().and_then(|_| s.run()) else {
        panic!("the panic is an error");
    };
    assert_eq!(panic.message(), "boom");
    assert!(panic.location().is_some_and(|place| place.contains("failures.rs")));
    s.run().unwrap();
    assert_eq!(log.take(), [2]);
}

/// A scheduler with two events, whose delay function first does what `fail` does.
fn with_delay<R: concurrent::Outcome>(
    fail: impl Fn(i64) -> R + Send + Sync + 'static,
) -> (Scheduler<i64>, Log<i64>) {
    let clock = VirtualClock::starting_at(0);
    let log = Log::new();
    let read = clock.clone();
    let s = Scheduler::with_clock(
        move || read.time(),
        move |delay| {
            let outcome = fail(delay);
            clock.advance(delay);
            outcome
        },
    );
    s.enter(1, 1, log.note(1));
    s.enter(2, 1, log.note(2));
    (s, log)
}

// S35: the event that was waited for is still queued.
#[test]
fn an_error_of_the_delay_comes_out_of_run() {
    let broken = AtomicBool::new(true);
    let (s, log) = with_delay(move |delay| {
        if delay > 0 && broken.swap(false, Ordering::Relaxed) { Err(Broken(7)) } else { Ok(()) }
    });
    assert!(s.run().unwrap_err().downcast_ref::<Broken>().is_some());
    assert_eq!((log.take(), s.len()), (vec![], 2));
    s.run().unwrap();
    assert_eq!(log.take(), [1, 2]);
}

// S36: the event that ran is gone, the others stay.
#[test]
fn an_error_of_the_zero_delay_comes_out_of_run() {
    let broken = AtomicBool::new(true);
    let (s, log) = with_delay(move |delay| {
        if delay == 0 && broken.swap(false, Ordering::Relaxed) { Err(Broken(7)) } else { Ok(()) }
    });
    assert!(s.run().unwrap_err().downcast_ref::<Broken>().is_some());
    assert_eq!((log.take(), s.len()), (vec![1], 1));
    s.run().unwrap();
    assert_eq!(log.take(), [2]);
}

// S35, S36, with a panic.
#[test]
fn a_panic_of_the_delay_comes_out_of_run() {
    let broken = AtomicBool::new(true);
    let (s, log) =
        with_delay(move |_| assert!(!broken.swap(false, Ordering::Relaxed), "cannot wait"));
    let error = s.run().unwrap_err();
    assert!(matches!(&error, Error::Panicked(panic) if panic.message() == "cannot wait"));
    s.run().unwrap();
    assert_eq!(log.take(), [1, 2]);
}

#[test]
fn a_panic_of_the_clock_comes_out_of_run_and_of_enter_and_poisons_nothing() {
    let broken = Arc::new(AtomicBool::new(true));
    let s = Scheduler::with_clock(
        {
            let broken = broken.clone();
            move || {
                assert!(!broken.load(Ordering::Relaxed), "the clock stopped");
                0_i64
            }
        },
        |_| (),
    );
    let log = Log::new();
    s.enterabs(0, 1, log.note(1));
    assert!(matches!(s.run(), Err(Error::Panicked(_))));
    assert!(catch_unwind(AssertUnwindSafe(|| s.enter(0, 1, || {}))).is_err());
    assert_eq!(s.len(), 1);
    broken.store(false, Ordering::Relaxed);
    s.run().unwrap();
    assert_eq!(log.take(), [1]);
}

#[test]
fn actions_fail_with_anything_that_question_mark_takes() {
    let (s, _) = simulated();
    s.enter(1, 1, || Err("text"));
    s.enter(2, 1, || Err(String::from("owned text")));
    s.enter(3, 1, || "x".parse::<i32>().map(drop));
    s.enter(4, 1, || Err(Error::Cancelled));
    let messages: Vec<_> = std::iter::from_fn(|| s.run().err()).map(|e| e.to_string()).collect();
    assert_eq!(
        messages,
        [
            "the call returned an error: text",
            "the call returned an error: owned text",
            "the call returned an error: invalid digit found in string",
            "the call was cancelled",
        ]
    );
}
