//! Taking events out of the queue.

use std::sync::Arc;

use concurrent::Error;
use concurrent::sched::{OnError, Scheduler};

use crate::support::{HOUR, Log, PanicsOnDrop, simulated};

// S21: an event that ran, was cancelled or is running is not queued.
#[test]
fn cancel_of_what_is_not_queued_is_an_error() {
    let (s, _) = simulated();
    let ran = s.enter(0, 1, || {});
    s.run().unwrap();
    assert!(matches!(s.cancel(&ran), Err(Error::NotQueued)));

    let cancelled = s.enter(0, 1, || {});
    s.cancel(&cancelled).unwrap();
    assert!(matches!(s.cancel(&cancelled), Err(Error::NotQueued)));
    // Its slot has a new tenant by now, which the old handle must not reach.
    let tenant = s.enter(0, 1, || {});
    assert!(matches!(s.cancel(&cancelled), Err(Error::NotQueued)));
    s.cancel(&tenant).unwrap();

    let verdict = Log::new();
    let own = Arc::new(std::sync::OnceLock::new());
    let event = s.enter(0, 1, {
        let (s, own, verdict) = (s.clone(), own.clone(), verdict.clone());
        move || verdict.push(s.cancel(own.get().expect("set before the run")).is_err())
    });
    own.set(event).unwrap();
    s.run().unwrap();
    assert_eq!(verdict.take(), [true]);
}

// S22: an event cannot cancel one of another scheduler, however alike they look.
#[test]
fn cancel_goes_by_identity() {
    fn same() {}
    let (a, _) = simulated();
    let (b, _) = simulated();
    let event = a.enterabs(1, 1, same);
    let alike = b.enterabs(1, 1, same);
    assert_eq!(
        (event.time(), event.priority(), event.sequence(), event.name()),
        (alike.time(), alike.priority(), alike.sequence(), alike.name()),
    );
    assert!(matches!(b.cancel(&event), Err(Error::NotQueued)));
    assert_eq!((a.len(), b.len()), (1, 1));
    a.cancel(&event).unwrap();
}

// S20: a hundred thousand cancels of a long queue; searching it each time would take minutes.
#[test]
fn cancel_does_not_search_the_queue() {
    const EVENTS: usize = 100_000;
    let (s, _) = simulated();
    let ran = Log::new();
    let events: Vec<_> =
        (0..EVENTS).map(|n| s.enterabs((n * 7919 % EVENTS) as i64, 1, ran.note(n))).collect();
    for n in 0..EVENTS - 1 {
        s.cancel(&events[(n * 104_729 + 1) % EVENTS]).unwrap();
    }
    s.run().unwrap();
    assert_eq!(ran.take().len(), 1);
}

// S25: there is a way to cancel everything.
#[test]
fn clear_cancels_everything() {
    let (s, _) = simulated();
    let events = [3, 1, 2].map(|delay| s.enter(delay, 1, || {}));
    s.every(5, 1, || {}).unwrap();
    assert_eq!(s.clear(), 4);
    assert!(s.is_empty());
    assert_eq!(s.clear(), 0);
    for event in events {
        assert!(s.cancel(&event).is_err());
    }
    s.enter(1, 1, || {});
    s.run().unwrap();
}

/// Runs a closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn captures_are_dropped_at_cancel_and_outside_the_lock() {
    let lengths = Log::new();
    let s = Scheduler::new();
    let capture = OnDrop({
        let (s, lengths) = (s.clone(), lengths.clone());
        move || lengths.push(s.len()) // needs the lock
    });
    let event = s.enter(HOUR, 1, move || drop(capture));
    s.cancel(&event).unwrap();
    assert_eq!(lengths.take(), [0]);
}

#[test]
fn captures_that_panic_when_dropped_harm_nobody() {
    let s = Scheduler::new();
    let log = Log::new();
    for n in 0..3 {
        let log = log.clone();
        let capture = OnDrop(move || {
            log.push(n);
            panic!("in the destructor of {n}");
        });
        s.enter(HOUR, 1, move || drop(capture));
    }
    let first = s.queue()[0];
    s.cancel(&first).unwrap();
    assert_eq!(s.len(), 2);
    assert_eq!(s.clear(), 2);
    assert_eq!(log.take(), [0, 1, 2]);
}

#[test]
fn the_last_handle_drops_what_is_queued() {
    let capture = Arc::new(());
    let s = Scheduler::new();
    s.enter(HOUR, 1, {
        let capture = capture.clone();
        move || drop(capture)
    });
    let other = s.clone();
    drop(s);
    assert_eq!(Arc::strong_count(&capture), 2);
    drop(other);
    assert_eq!(Arc::strong_count(&capture), 1);
}

// Its actions, the functions of its clock, its dispatcher, and what decides about errors.
#[test]
fn what_a_dropped_scheduler_holds_may_panic_when_it_is_dropped() {
    let dropped = Log::new();
    let held = |name| {
        let held = PanicsOnDrop(dropped.clone());
        move || _ = (&held, name)
    };
    let (time, delay) = (held("time"), held("delay"));
    let (dispatch, decide) = (held("dispatch"), held("decide"));
    let s = Scheduler::builder()
        .clock(
            move || {
                time();
                0_i64
            },
            move |_| delay(),
        )
        .dispatch(move |due| {
            dispatch();
            due.run();
        })
        .on_error_with(move |_| {
            decide();
            OnError::Stop
        })
        .build();
    (0..3).for_each(|n| _ = s.enterabs(n, 1, held("action")));
    s.every(1, 1, held("recurring")).unwrap();
    drop(s);
    assert_eq!(dropped.take().len(), 8);
}

#[test]
fn clear_counts_the_recurrence_that_calls_it() {
    let (s, _) = simulated();
    let counts = Log::new();
    s.every(10, 1, {
        let (s, counts) = (s.clone(), counts.clone());
        move || {
            counts.push(s.clear());
            counts.push(s.clear());
        }
    })
    .unwrap();
    let others = [100, 200].map(|delay| s.enter(delay, 1, || unreachable!("it is cancelled")));
    s.run().unwrap();
    assert_eq!(counts.take(), [3, 0]);
    assert!(s.is_empty() && others.iter().all(|event| s.cancel(event).is_err()));
    // An event that runs once is gone when its action runs.
    s.enter(1, 1, {
        let (s, counts) = (s.clone(), counts.clone());
        move || counts.push(s.clear())
    });
    s.run().unwrap();
    assert_eq!(counts.take(), [0]);
}

// case 5
#[test]
fn py_cancel() {
    let log = Log::new();
    let (s, _) = simulated();
    let events = [1, 2, 3, 4, 5].map(|time| s.enterabs(time, 1, log.note(time)));
    s.cancel(&events[0]).unwrap();
    s.cancel(&events[4]).unwrap();
    s.run().unwrap();
    assert_eq!(log.take(), [2, 3, 4]);
}

// case 7, S23
#[test]
fn py_cancel_correct_event() {
    let log = Log::new();
    let (s, _) = simulated();
    s.enterabs(1, 1, log.note("a"));
    let b = s.enterabs(1, 1, log.note("b"));
    s.enterabs(1, 1, log.note("c"));
    s.cancel(&b).unwrap();
    s.run().unwrap();
    assert_eq!(log.take(), ["a", "c"]);
}
