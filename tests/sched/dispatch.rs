//! Due actions that run somewhere else.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use concurrent::Error;
use concurrent::sched::{Due, Every, Scheduler, VirtualClock};

use crate::support::{Log, SOON};

/// A thread that runs what it is sent.
fn worker() -> (Sender<Due>, JoinHandle<()>) {
    let (sender, receiver) = channel::<Due>();
    (sender, thread::spawn(move || receiver.into_iter().for_each(Due::run)))
}

fn on_worker() -> (Scheduler<i64>, JoinHandle<()>) {
    let (sender, handle) = worker();
    let s = Scheduler::builder()
        .virtual_clock(&VirtualClock::starting_at(0))
        .dispatch(move |due| sender.send(due).map_err(|_| "the worker is gone"))
        .build();
    (s, handle)
}

#[test]
fn actions_run_where_they_are_sent() {
    let (s, handle) = on_worker();
    let log = Log::new();
    for n in 0..100 {
        let log = log.clone();
        s.enterabs(n, 1, move || log.push((n, thread::current().id())));
    }
    s.run().unwrap();
    let expected: Vec<_> = (0..100).map(|n| (n, handle.thread().id())).collect();
    assert_eq!(log.take(), expected, "all of them ended before run did");
    drop(s);
    handle.join().unwrap();
}

#[test]
fn run_goes_on_with_what_dispatched_actions_enter() {
    let (s, _) = on_worker();
    let log = Log::new();
    fn chain(s: &Scheduler<i64>, log: &Log<i64>, left: i64) {
        let (handle, log) = (s.clone(), log.clone());
        s.enter(1, 1, move || {
            log.push(left);
            if left > 1 {
                chain(&handle, &log, left - 1);
            }
        });
    }
    chain(&s, &log, 5);
    s.run().unwrap();
    assert_eq!(log.take(), [5, 4, 3, 2, 1]);
}

#[test]
fn failures_of_dispatched_actions_come_out_of_run() {
    let (s, _) = on_worker();
    s.enter(0, 1, || Err("first"));
    s.enter(0, 1, || panic!("second"));
    s.enter(0, 1, || {});
    let mut errors = 0;
    while s.run().is_err() {
        errors += 1;
    }
    assert_eq!((errors, s.len()), (2, 0));
}

#[test]
fn a_dispatcher_that_fails_loses_one_event() {
    let refuse = Arc::new(Mutex::new(vec![true, false]));
    let s = Scheduler::builder()
        .virtual_clock(&VirtualClock::starting_at(0_i64))
        .dispatch(move |due| {
            if refuse.lock().expect("no panic with it").pop() == Some(true) {
                return Err(Error::Shutdown);
            }
            due.run();
            Ok(())
        })
        .build();
    let log = Log::new();
    for n in 0..3 {
        s.enter(n, 1, log.note(n));
    }
    assert!(matches!(s.run(), Err(Error::Shutdown)));
    s.run().unwrap();
    assert_eq!(log.take(), [0, 2]);
}

#[test]
fn a_dropped_tick_is_missed_and_the_recurrence_goes_on() {
    let s = Scheduler::builder()
        .virtual_clock(&VirtualClock::starting_at(0_i64))
        .dispatch(|due: Due| drop(due))
        .build();
    s.every(10, 1, || panic!("nobody runs it")).unwrap();
    s.run_until(25).unwrap();
    assert_eq!(s.next_time(), Some(30));
}

#[test]
fn a_dispatched_recurrence_never_overlaps_and_ends_when_cancelled() {
    let (s, _) = on_worker();
    let own = Arc::new(std::sync::OnceLock::new());
    let log = Log::new();
    let event = s
        .every(Every::fixed_delay(10), 1, {
            let (s, own, log) = (s.clone(), own.clone(), log.clone());
            let mut n = 0;
            move || {
                n += 1;
                log.push(n);
                if n == 20 { s.cancel(own.get().expect("set before the run")) } else { Ok(()) }
            }
        })
        .unwrap();
    own.set(event).unwrap();
    s.run().unwrap();
    assert_eq!(log.take(), Vec::from_iter(1..=20));
}

// S38: a nested run in a dispatched action would wait for itself; it does not.
#[test]
fn a_dispatched_action_may_call_run() {
    let s = Scheduler::builder()
        .dispatch(|due| {
            thread::spawn(move || due.run());
        })
        .build();
    let (sender, receiver) = channel();
    s.enter(std::time::Duration::ZERO, 1, {
        let s = s.clone();
        move || {
            s.run()?;
            sender.send(()).expect("the test listens");
            Ok::<_, Error>(())
        }
    });
    s.run().unwrap();
    receiver.recv_timeout(SOON).unwrap();
}

#[test]
fn stop_does_not_wait_for_dispatched_actions() {
    let (gate, closed) = channel::<()>();
    let s = Scheduler::builder()
        .dispatch(|due| {
            thread::spawn(move || due.run());
        })
        .build();
    let (started, running) = channel();
    s.enter(std::time::Duration::ZERO, 1, move || {
        started.send(()).expect("the test listens");
        let _ = closed.recv();
    });
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run()
    });
    running.recv_timeout(SOON).unwrap();
    s.stop();
    runner.join().unwrap().unwrap();
    drop(gate);
    s.run().unwrap(); // waits for it
}

#[test]
fn a_due_action_shows_its_name() {
    let shown = Log::new();
    let s = Scheduler::builder()
        .dispatch({
            let shown = shown.clone();
            move |due| shown.push(format!("{due:?}"))
        })
        .build();
    fn feed_the_cat() {}
    s.enter(std::time::Duration::ZERO, 1, feed_the_cat);
    s.run().unwrap();
    let shown = shown.take().remove(0);
    assert!(shown.starts_with("Due { name: \"") && shown.ends_with("feed_the_cat\" }"), "{shown}");
}
