//! In what order events run, and what their handles say about it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use concurrent::sched::{Float, PriorityOrder, Scheduler, VirtualClock};

use crate::support::{Log, recorded, simulated};

// S4, S6, S7, S8, S10: time, then priority, then order of entry; a priority never beats a time.
#[test]
fn time_then_priority_then_entry() {
    let log = Log::new();
    let (s, _) = simulated();
    for (time, priority) in [(2, -9), (1, 5), (1, -5), (0, 9), (1, 5), (2, -9)] {
        let name = (time, priority, s.len());
        s.enterabs(time, priority, log.note(name));
    }
    s.run().unwrap();
    let expected = [(0, 9, 3), (1, -5, 2), (1, 5, 1), (1, 5, 4), (2, -9, 0), (2, -9, 5)];
    assert_eq!(log.take(), expected);
}

// S8, S9: a dozen equal events run first in, first out.
#[test]
fn equal_events_run_in_the_order_of_entry() {
    let log = Log::new();
    let (s, _) = simulated();
    for name in 0..12 {
        s.enterabs(1, 1, log.note(name));
    }
    s.run().unwrap();
    assert_eq!(log.take(), Vec::from_iter(0..12));
}

// S10, S12: overdue events run all, and in order, whatever their priority.
#[test]
fn overdue_events_run_in_order_and_none_is_dropped() {
    let log = Log::new();
    let (s, clock) = simulated();
    for time in [3, 1, 2] {
        s.enterabs(time, -i32::try_from(time).unwrap(), log.note(time));
    }
    clock.advance(1_000_000);
    s.run().unwrap();
    assert_eq!(log.take(), [1, 2, 3]);
}

// S11: past times and negative delays are due at once, and sort first.
#[test]
fn past_and_negative_times_are_due() {
    let log = Log::new();
    let (s, now, delays) = recorded();
    now.store(100, std::sync::atomic::Ordering::Relaxed);
    s.enter(0, 1, log.note("now"));
    s.enter(-50, 1, log.note("negative"));
    s.enterabs(-7, 1, log.note("past"));
    s.run().unwrap();
    assert_eq!(log.take(), ["past", "negative", "now"]);
    assert_eq!(delays.take(), [0, 0, 0]);
}

// S5: the sequence counts from zero in each scheduler and is never used again.
#[test]
fn sequence_counts_entries_of_one_scheduler() {
    let (s, _) = simulated();
    let (other, _) = simulated();
    let first = s.enter(1, 1, || {});
    s.cancel(&first).unwrap();
    s.run().unwrap();
    assert_eq!(first.sequence(), 0);
    assert_eq!(s.enter(1, 1, || {}).sequence(), 1);
    assert_eq!(other.enter(1, 1, || {}).sequence(), 0);
    s.clear();
    assert_eq!(s.enter(1, 1, || {}).sequence(), 2);
}

// S13: infinity never runs, and run_pending says so; NaN cannot be entered at all.
#[test]
fn infinite_time_never_comes_and_nan_is_refused() {
    let infinity = Float::new(f64::INFINITY).unwrap();
    let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(Float::default()));
    s.enterabs(infinity, 1, || {});
    assert_eq!(s.run_pending().unwrap(), Some(infinity));
    assert_eq!(s.len(), 1);
    assert!(Float::new(f64::NAN).is_err());
    assert!(Float::try_from(-0.0).unwrap() == Float::default());
}

// S15: what enter returns tells what was entered, and is the handle to cancel it.
#[test]
fn an_event_tells_what_was_entered() {
    fn report() {}
    let (s, clock) = simulated();
    clock.advance(100);
    let event = s.enter(5, -2, report);
    assert_eq!((event.time(), event.priority(), event.sequence()), (105, -2, 0));
    assert!(event.name().ends_with("report"));
    let shown = format!("{event:?}");
    assert!(shown.starts_with("Event { time: 105, priority: -2, sequence: 0, name: \""), "{shown}");
    s.cancel(&event).unwrap();
}

// S4: events are ordered as they run, and equal only to themselves.
#[test]
fn events_compare_by_run_order_and_identity() {
    let (s, _) = simulated();
    let (other, _) = simulated();
    let a = s.enterabs(1, 1, || {});
    let b = s.enterabs(1, 1, || {});
    let foreign = other.enterabs(1, 1, || {});
    assert!(a < b);
    assert_eq!(a, s.queue()[0]);
    assert_ne!(a, foreign);
    let hashes = RandomState::new();
    assert_ne!(hashes.hash_one(a), hashes.hash_one(b));
    assert_eq!(HashSet::from([a, b, foreign, a]).len(), 3);
}

// S7 the other way round: the order that the builder can choose.
#[test]
fn highest_first_turns_priorities_around_and_nothing_else() {
    let log = Log::new();
    let s = Scheduler::builder()
        .virtual_clock(&VirtualClock::starting_at(0))
        .priority_order(PriorityOrder::HighestFirst)
        .build();
    for (time, priority) in [(1, 0), (1, i32::MIN), (1, i32::MAX), (1, 0), (0, -5)] {
        let event = s.enterabs(time, priority, log.note((priority, s.len())));
        assert_eq!(event.priority(), priority);
    }
    let snapshot: Vec<_> = s.queue().iter().map(|event| event.sequence()).collect();
    assert_eq!(snapshot, [4, 2, 0, 3, 1]);
    s.run().unwrap();
    assert_eq!(log.take(), [(-5, 4), (i32::MAX, 2), (0, 0), (0, 3), (i32::MIN, 1)]);
}

// S43: the snapshot is in run order, and later changes do not touch it.
#[test]
fn queue_is_a_snapshot_in_run_order() {
    let log = Log::new();
    let (s, _) = simulated();
    for (time, priority) in [(3, 1), (1, 2), (1, 1), (2, 1), (1, 1)] {
        let sequence = s.len();
        s.enterabs(time, priority, log.note(sequence as u64));
    }
    let snapshot = s.queue();
    s.run().unwrap();
    assert!(s.queue().is_empty());
    let sequences: Vec<_> = snapshot.iter().map(|event| event.sequence()).collect();
    assert_eq!(sequences, log.take());
}

// case 1, S6
#[test]
fn py_enter() {
    let log = Log::new();
    let (s, _) = simulated();
    for delay in [5, 4, 3, 2, 1] {
        s.enter(delay, 1, log.note(delay));
    }
    s.run().unwrap();
    assert_eq!(log.take(), [1, 2, 3, 4, 5]);
}

// case 2, S11
#[test]
fn py_enterabs() {
    let log = Log::new();
    let s = Scheduler::with_clock(|| Float::new(1e9).unwrap(), |_| ());
    for time in [0.05, 0.04, 0.03, 0.02, 0.01] {
        s.enterabs(Float::new(time).unwrap(), 1, log.note(time));
    }
    s.run().unwrap();
    assert_eq!(log.take(), [0.01, 0.02, 0.03, 0.04, 0.05]);
}

// case 4, S7
#[test]
fn py_priority() {
    let log = Log::new();
    let (s, _) = simulated();
    let lists: [&[i32]; 7] = [
        &[1, 2, 3, 4, 5],
        &[5, 4, 3, 2, 1],
        &[2, 5, 3, 1, 4],
        &[1, 2, 3, 2, 1],
        &[0, 0, 0],
        &[-3, 7, -1, 0],
        &[i32::MAX, 0, i32::MIN],
    ];
    for priorities in lists {
        for priority in priorities {
            s.enterabs(1, *priority, log.note(*priority));
        }
        s.run().unwrap();
        let mut expected = priorities.to_vec();
        expected.sort_unstable();
        assert_eq!(log.take(), expected);
        assert!(s.is_empty());
    }
}

// case 8, S42
#[test]
fn py_empty() {
    let (s, _) = simulated();
    assert!(s.is_empty());
    for delay in [5, 4, 3, 2, 1] {
        s.enter(delay, 1, || {});
    }
    assert!(!s.is_empty());
    s.run().unwrap();
    assert!(s.is_empty());
}

// case 9, S43
#[test]
fn py_queue() {
    let (s, _) = simulated();
    let e5 = s.enterabs(5, 1, || {});
    let e1 = s.enterabs(1, 1, || {});
    let e2 = s.enterabs(2, 1, || {});
    let e4 = s.enterabs(4, 1, || {});
    let e3 = s.enterabs(3, 1, || {});
    assert_eq!(s.queue(), [e1, e2, e3, e4, e5]);
}

// case 10, S17: arguments are captures
#[test]
fn py_args_kwargs() {
    let log = Log::new();
    let (s, _) = simulated();
    let (args, kwargs) = (vec![1, 2, 3], std::collections::BTreeMap::from([("foo", 1)]));
    s.enterabs(1, 1, {
        let log = log.clone();
        move || log.push((args, kwargs))
    });
    s.run().unwrap();
    assert_eq!(log.take(), [(vec![1, 2, 3], [("foo", 1)].into())]);
}
