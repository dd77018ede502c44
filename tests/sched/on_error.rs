//! `OnError`: whether a run goes on after an action that fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use concurrent::Error;
use concurrent::sched::{OnError, Scheduler, SchedulerBuilder, VirtualClock};

use crate::support::{Log, SOON};

fn simulated(set: impl FnOnce(SchedulerBuilder<i64>) -> SchedulerBuilder<i64>) -> Scheduler<i64> {
    set(Scheduler::builder().virtual_clock(&VirtualClock::starting_at(0))).build()
}

#[test]
fn stop_is_what_a_run_does_by_itself() {
    type Set = fn(SchedulerBuilder<i64>) -> SchedulerBuilder<i64>;
    let sets: [Set; 2] = [|builder| builder, |builder| builder.on_error(OnError::Stop)];
    for set in sets {
        let s = simulated(set);
        s.enter(1, 1, || Err("first"));
        s.enter(2, 1, || {});
        assert!(s.run().is_err());
        assert_eq!(s.len(), 1);
    }
}

#[test]
fn continue_goes_on_after_errors_and_panics_and_keeps_the_recurrence() {
    let s = simulated(|builder| builder.on_error(OnError::Continue));
    let log = Log::new();
    s.enter(1, 1, || Err("first"));
    s.enter(2, 1, || panic!("second"));
    s.enter(3, 1, log.note(3));
    s.every(10, 1, {
        let log = log.clone();
        move || {
            log.push(10);
            Err("each")
        }
    })
    .unwrap();
    s.run_until(35).unwrap();
    assert_eq!(log.take(), [3, 10, 10, 10]);
    assert_eq!(s.next_time(), Some(40));
}

#[test]
fn a_background_run_survives_an_action_that_fails() {
    let s = Scheduler::builder().on_error(OnError::Continue).build();
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run_forever()
    });
    let (sender, receiver) = channel();
    s.enter(std::time::Duration::ZERO, 1, || Err("nobody hears it"));
    s.enter(std::time::Duration::ZERO, 2, move || sender.send(()));
    receiver.recv_timeout(SOON).expect("the run goes on");
    s.stop();
    runner.join().unwrap().unwrap();
}

#[test]
fn a_function_decides_error_by_error_and_may_call_the_scheduler() {
    let seen = Log::new();
    let slot = Arc::new(Mutex::new(None::<Scheduler<i64>>));
    let s = simulated(|builder| {
        let (seen, slot) = (seen.clone(), slot.clone());
        builder.on_error_with(move |error| {
            let s = slot.lock().unwrap().clone().expect("set before the run");
            seen.push((error.to_string(), s.len()));
            if matches!(error, Error::Panicked(_)) { OnError::Stop } else { OnError::Continue }
        })
    });
    *slot.lock().unwrap() = Some(s.clone());
    s.enter(1, 1, || Err("first"));
    s.enter(2, 1, || panic!("second"));
    s.enter(3, 1, || {});
    assert!(matches!(s.run(), Err(Error::Panicked(_))));
    assert_eq!(s.len(), 1);
    let lengths: Vec<_> = seen.take().into_iter().map(|(_, length)| length).collect();
    assert_eq!(lengths, [2, 1]);
    drop(slot.lock().unwrap().take()); // it had itself
}

#[test]
fn a_function_that_panics_ends_the_run_with_the_error() {
    let s = simulated(|builder| builder.on_error_with(|_| panic!("cannot decide")));
    s.enter(1, 1, || Err("the error"));
    s.enter(2, 1, || {});
    let error = s.run().unwrap_err();
    assert_eq!(error.to_string(), "the call returned an error: the error");
    s.run().unwrap();
}

#[test]
fn dispatched_actions_and_the_dispatcher_are_decided_about_too() {
    let refuse = AtomicBool::new(true);
    let s = simulated(|builder| {
        builder.on_error(OnError::Continue).dispatch(move |due| {
            if refuse.swap(false, Ordering::Relaxed) {
                return Err("full");
            }
            due.run();
            Ok(())
        })
    });
    let log = Log::new();
    s.enter(1, 1, || unreachable!("it is refused"));
    s.enter(2, 1, || Err("no"));
    s.enter(3, 1, log.note(3));
    s.run().unwrap();
    assert_eq!(log.take(), [3]);
}

// A clock that fails would fail for ever.
#[test]
fn a_clock_that_fails_ends_the_run_whatever_is_decided_about_actions() {
    let s = Scheduler::builder()
        .clock(|| 0_i64, |_| Err("cannot wait"))
        .on_error(OnError::Continue)
        .build();
    s.enter(1, 1, || {});
    assert!(matches!(s.run(), Err(Error::Raised(_))));
    assert_eq!(s.len(), 1);
}

#[derive(Debug)]
struct PanicsWhenDropped;

impl std::fmt::Display for PanicsWhenDropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it panics when it is dropped")
    }
}

impl std::error::Error for PanicsWhenDropped {}

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("as asked");
    }
}

#[test]
fn an_error_that_panics_when_it_is_dropped_does_not_come_out_of_a_run_that_goes_on() {
    type Set = fn(SchedulerBuilder<i64>) -> SchedulerBuilder<i64>;
    let sets: [Set; 2] = [
        |builder| builder.on_error(OnError::Continue),
        |builder| builder.on_error_with(|_| OnError::Continue),
    ];
    for set in sets {
        let s = simulated(set);
        let log = Log::new();
        s.enter(1, 1, || Err(PanicsWhenDropped));
        s.enter(2, 1, || std::panic::panic_any(PanicsWhenDropped));
        s.enter(3, 1, log.note(3));
        s.run().unwrap();
        assert_eq!(log.take(), [3]);
    }
}

#[test]
fn errors_that_no_run_sees_to_may_panic_when_they_are_dropped() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let s = simulated(|builder| builder.dispatch(move |due| keep.lock().unwrap().push(due)));
    s.enter(0, 1, || Err(PanicsWhenDropped));
    s.enter(0, 2, || std::panic::panic_any(PanicsWhenDropped));
    assert_eq!(s.run_pending().unwrap(), None);
    let due = std::mem::take(&mut *kept.lock().unwrap());
    due.into_iter().for_each(|due| due.run());
    drop(s);
}
