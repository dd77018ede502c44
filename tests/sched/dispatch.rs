//! Due actions that run somewhere else.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ThreadPoolExecutor;
use concurrent::sched::{Due, Every, Scheduler, VirtualClock};

use crate::support::{HOUR, Log, PanicsOnDrop, SOON};

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
    let events = if cfg!(miri) { 10 } else { 100 };
    for n in 0..events {
        let log = log.clone();
        s.enterabs(n, 1, move || log.push((n, thread::current().id())));
    }
    s.run().unwrap();
    let expected: Vec<_> = (0..events).map(|n| (n, handle.thread().id())).collect();
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
    s.enter(Duration::ZERO, 1, {
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
fn a_run_dispatches_further_actions_while_others_are_at_work() {
    let s = Scheduler::builder()
        .dispatch(|due| {
            thread::spawn(move || due.run());
        })
        .build();
    let begun = Arc::new(Barrier::new(2));
    for _ in 0..2 {
        let begun = begun.clone();
        s.enter(Duration::ZERO, 1, move || _ = begun.wait());
    }
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(s.run()));
    receiver.recv_timeout(SOON).expect("each waits for the other").unwrap();
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
    s.enter(Duration::ZERO, 1, feed_the_cat);
    s.run().unwrap();
    let shown = shown.take().remove(0);
    assert!(shown.starts_with("Due { name: \"") && shown.ends_with("feed_the_cat\" }"), "{shown}");
}

/// A scheduler whose actions run in threads of their own, and an event that waits at a gate.
fn gated() -> (Scheduler, Sender<()>, Receiver<()>, Log<&'static str>) {
    let s = Scheduler::builder()
        .dispatch(|due| {
            thread::spawn(move || due.run());
        })
        .build();
    let (gate, closed) = channel::<()>();
    let (started, running) = channel();
    let log = Log::new();
    s.enter(Duration::ZERO, 1, {
        let log = log.clone();
        move || {
            started.send(()).expect("the test listens");
            let _ = closed.recv();
            log.push("ended");
        }
    });
    (s, gate, running, log)
}

#[test]
fn a_run_that_is_stopped_waits_for_what_it_dispatched() {
    type Runner = fn(&Scheduler) -> concurrent::Result<()>;
    let runners: [Runner; 3] =
        [|s| s.run(), |s| s.run_forever(), |s| s.run_until(s.timefunc() + HOUR)];
    for run in runners {
        let (s, gate, running, log) = gated();
        let runner = thread::spawn({
            let (s, log) = (s.clone(), log.clone());
            move || {
                run(&s).unwrap();
                log.push("the run returned");
            }
        });
        running.recv_timeout(SOON).unwrap();
        s.enter(Duration::ZERO, 1, || {}); // either before the stop or never
        s.stop();
        log.push("stopped"); // `stop` itself did not wait
        drop(gate);
        runner.join().unwrap();
        assert_eq!(log.take(), ["stopped", "ended", "the run returned"]);
    }
}

#[test]
fn a_failure_between_the_stop_and_the_end_comes_out_of_the_run() {
    let (sender, receiver) = channel();
    let s = Scheduler::builder()
        .dispatch(move |due| sender.send(due).map_err(|_| "the test is gone"))
        .build();
    s.enter(Duration::ZERO, 1, || Err("late"));
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run_forever()
    });
    let due = receiver.recv_timeout(SOON).unwrap();
    s.stop();
    due.run();
    assert!(matches!(runner.join().unwrap(), Err(Error::Raised(_))));
}

// Or a run that is stopped might wait for ever, while another goes on dispatching.
#[test]
fn a_run_that_is_stopped_does_not_wait_for_what_later_runs_dispatch() {
    let (sender, receiver) = channel();
    let s = Scheduler::builder()
        .dispatch(move |due| sender.send(due).map_err(|_| "the test is gone"))
        .build();
    let stopped = thread::spawn({
        let s = s.clone();
        move || s.run_forever()
    });
    s.enter(Duration::ZERO, 1, || {});
    let first = receiver.recv_timeout(SOON).unwrap();
    s.stop();
    s.enter(Duration::ZERO, 1, || {});
    s.run_pending().unwrap();
    let second = receiver.recv_timeout(SOON).unwrap();
    first.run();
    stopped.join().unwrap().unwrap();
    second.run();
}

#[test]
fn run_pending_does_not_wait_when_it_is_stopped() {
    let (s, gate, running, log) = gated();
    s.enter(HOUR, 1, || {});
    s.run_pending().unwrap();
    running.recv_timeout(SOON).unwrap();
    s.stop();
    s.run_pending().unwrap();
    assert!(log.take().is_empty());
    drop(gate);
}

#[test]
fn the_last_handle_waits_for_what_was_dispatched() {
    let (s, gate, running, log) = gated();
    let ended = thread::spawn({
        let log = log.clone();
        move || {
            s.run_pending().unwrap();
            let (other, recurring) = (s.clone(), s.every(HOUR, 1, || {}).unwrap());
            drop(other); // not the last
            log.push("dropping");
            drop((s, recurring));
            log.push("dropped");
        }
    });
    running.recv_timeout(SOON).unwrap();
    while log.take() != ["dropping"] {
        thread::yield_now();
    }
    drop(gate);
    ended.join().unwrap();
    assert_eq!(log.take(), ["ended", "dropped"]);
}

#[test]
fn the_last_handle_drops_the_pool_in_its_own_thread_and_loses_no_call() {
    let rounds = if cfg!(miri) { 3 } else { 200 };
    for _ in 0..rounds {
        let pool = ThreadPoolExecutor::new(2).unwrap();
        let s = Scheduler::builder()
            .virtual_clock(&VirtualClock::starting_at(0_i64))
            .dispatch(move |due| pool.spawn(move || due.run()).map(drop))
            .build();
        let log = Log::new();
        (0..10).for_each(|n| _ = s.enter(0, 1, log.note(n)));
        s.run_pending().unwrap();
        drop(s);
        let mut ran = log.take();
        ran.sort_unstable();
        assert_eq!(ran, Vec::from_iter(0..10));
    }
}

// The action has the last handle: to wait in its drop would be to wait for itself.
#[test]
fn the_last_handle_may_be_dropped_by_a_dispatched_action() {
    let s = Scheduler::builder()
        .dispatch(|due| {
            thread::spawn(move || due.run());
        })
        .build();
    let (gate, closed) = channel::<()>();
    let (sender, receiver) = channel();
    s.enter(Duration::ZERO, 1, {
        let s = s.clone();
        move || {
            let _ = closed.recv();
            drop(s);
            sender.send(()).expect("the test listens");
        }
    });
    s.run_pending().unwrap();
    drop(s);
    drop(gate);
    receiver.recv_timeout(SOON).unwrap();
}

// A recurrence that is on its way when the scheduler ends does not come back.
#[test]
fn a_dispatched_recurrence_ends_with_the_last_handle() {
    let (sender, receiver) = channel();
    let s = Scheduler::builder()
        .virtual_clock(&VirtualClock::starting_at(0_i64))
        .dispatch(move |due| sender.send(due).map_err(|_| "the test is gone"))
        .build();
    let captured = Arc::new(());
    s.every(Every::fixed_rate(1).first_after(0), 1, {
        let captured = Arc::clone(&captured);
        move || assert!(Arc::strong_count(&captured) > 1)
    })
    .unwrap();
    s.run_pending().unwrap();
    let due = receiver.recv_timeout(SOON).unwrap();
    let dropped = thread::spawn(move || drop(s));
    due.run();
    dropped.join().unwrap();
    assert_eq!(Arc::strong_count(&captured), 1);
}

#[test]
fn captures_of_a_dispatched_action_that_panic_when_dropped_harm_nobody() {
    for run in [false, true] {
        let (sender, receiver) = channel::<Due>();
        let s = Scheduler::builder()
            .virtual_clock(&VirtualClock::starting_at(0_i64))
            .dispatch(move |due| sender.send(due).map_err(|_| "the test is gone"))
            .build();
        let capture = PanicsOnDrop(Log::new());
        let dropped = capture.0.clone();
        s.enter(0, 1, move || _ = &capture);
        s.run_pending().unwrap();
        let due = receiver.recv_timeout(SOON).unwrap();
        if run {
            due.run(); // the captures are dropped by the action: that is its own panic
            assert!(matches!(s.run(), Err(Error::Panicked(_))));
        } else {
            drop(due);
        }
        assert_eq!(dropped.take(), [()]);
        let log = Log::new();
        s.enter(0, 1, log.note(1));
        s.run_pending().unwrap();
        receiver.recv_timeout(SOON).unwrap().run();
        s.run().unwrap();
        assert_eq!(log.take(), [1], "the scheduler works");
    }
}
