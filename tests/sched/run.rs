//! What `run` does, call by call.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use concurrent::sched::{Scheduler, VirtualClock};

use crate::support::{Log, SOON, recorded, simulated};

/// Enters itself again for ever, with the same delay.
fn again(s: &Scheduler<i64>, delay: i64, count: &Arc<AtomicI64>) {
    let (handle, count) = (s.clone(), count.clone());
    s.enter(delay, 1, move || {
        count.fetch_add(1, Ordering::Relaxed);
        again(&handle, delay, &count);
    });
}

// S26, S27: look, delay by what remains, look again; a delay that ends early is called again.
#[test]
fn a_delay_that_ends_early_is_called_again() {
    let now = Arc::new(AtomicI64::new(0));
    let delays = Log::new();
    let s = Scheduler::with_clock(
        {
            let now = now.clone();
            move || now.load(Ordering::Relaxed)
        },
        {
            let (now, delays) = (now.clone(), delays.clone());
            move |delay: i64| {
                delays.push(delay);
                now.fetch_add(delay.min(1), Ordering::Relaxed);
            }
        },
    );
    s.enter(3, 1, || {});
    s.run().unwrap();
    assert_eq!(delays.take(), [3, 2, 1, 0]);
}

// S27, S28: the event is still queued during its delay, and the delay function may cancel it.
#[test]
fn the_delay_function_may_change_the_queue() {
    let log = Log::new();
    let slot = Arc::new(std::sync::OnceLock::<Scheduler<i64>>::new());
    let s = Scheduler::with_clock(|| 0, {
        let (slot, log) = (slot.clone(), log.clone());
        move |delay: i64| {
            let s = slot.get().expect("set before the run");
            log.push(format!("delay {delay}, {} queued", s.len()));
            if delay == 9 {
                s.cancel(&s.queue()[0]).expect("still queued");
                s.enter(0, 1, log.note("entered by the delay".to_owned()));
            }
        }
    });
    assert!(slot.set(s.clone()).is_ok());
    s.enter(9, 1, || panic!("it is cancelled"));
    s.run().unwrap();
    assert_eq!(log.take(), ["delay 9, 1 queued", "entered by the delay", "delay 0, 0 queued"]);
}

// S29, S32: delay(0) after each action, also the last, also without blocking; never when it failed.
#[test]
fn a_zero_delay_follows_every_action() {
    let (s, _, delays) = recorded();
    s.enter(0, 1, || {});
    s.enter(0, 2, || {});
    s.enter(5, 1, || {});
    assert_eq!(s.run_pending().unwrap(), Some(5));
    assert_eq!(delays.take(), [0, 0]);
    s.enter(9, 1, || Err("no"));
    assert!(s.run().is_err());
    assert_eq!(delays.take(), [5, 0, 4]);
}

// S30: an empty queue ends the run, at once if it is empty at the start, without a look at the time.
#[test]
fn run_returns_when_the_queue_is_empty() {
    let s = Scheduler::with_clock(|| -> i64 { panic!("nobody asks") }, |_| ());
    s.run().unwrap();
    assert_eq!(s.run_pending().unwrap(), None);
}

// S31: everything due runs, also what becomes due meanwhile; the result is the remaining delay.
#[test]
fn run_pending_runs_all_that_is_due_and_returns_the_remaining_delay() {
    let log = Log::new();
    let (s, clock) = simulated();
    s.enterabs(0, 1, {
        let (clock, log) = (clock.clone(), log.clone());
        move || {
            log.push("slow");
            clock.advance(5);
        }
    });
    s.enterabs(4, 1, log.note("due meanwhile"));
    s.enterabs(12, 1, log.note("later"));
    assert_eq!(s.run_pending().unwrap(), Some(7));
    assert_eq!(log.take(), ["slow", "due meanwhile"]);
    clock.advance(7);
    assert_eq!(s.run_pending().unwrap(), None);
    assert_eq!(log.take(), ["later"]);
}

// S33: what is entered during a run takes part at once, before later events if it sorts first.
#[test]
fn events_entered_by_an_action_take_part_at_once() {
    type Runner = fn(&Scheduler<i64>);
    let runners: [Runner; 2] =
        [|s| s.run().unwrap(), |s| assert!(s.run_pending().unwrap().is_none())];
    for run in runners {
        let log = Log::new();
        let (s, _) = simulated();
        s.enter(0, 5, {
            let (s, log) = (s.clone(), log.clone());
            move || {
                s.enter(0, 1, log.note("more urgent"));
                s.enter(-3, 9, log.note("earlier"));
                s.enter(0, 9, log.note("after all others"));
            }
        });
        s.enter(0, 6, log.note("queued before"));
        run(&s);
        assert_eq!(log.take(), ["earlier", "more urgent", "queued before", "after all others"]);
    }
}

// S33: where Python's non-blocking run never returns, ours does after a thousand newcomers.
#[test]
fn endless_entering_cannot_keep_run_pending() {
    let (s, _) = simulated();
    let count = Arc::new(AtomicI64::new(0));
    again(&s, 0, &count);
    for call in 1..4 {
        assert_eq!(s.run_pending().unwrap(), Some(0), "more is due already");
        assert_eq!(count.load(Ordering::Relaxed), call * 1001);
    }
    // What was queued before the call runs in any case.
    s.clear();
    for _ in 0..5000 {
        s.enter(0, 1, || {});
    }
    assert_eq!(s.run_pending().unwrap(), None);
}

// S38: an action may call run; the nested one empties the queue, then the outer one returns.
#[test]
fn run_may_be_nested_in_an_action() {
    let log = Log::new();
    let (s, _, delays) = recorded();
    s.enter(1, 1, {
        let (s, log) = (s.clone(), log.clone());
        move || {
            log.push("outer");
            s.run()?;
            log.push("outer ends");
            Ok::<_, concurrent::Error>(())
        }
    });
    s.enter(2, 1, log.note("inner"));
    s.run().unwrap();
    assert_eq!(log.take(), ["outer", "inner", "outer ends"]);
    assert_eq!(delays.take(), [1, 1, 0, 0]);
}

// S28, S38: so may the delay function.
#[test]
fn run_may_be_nested_in_the_delay_function() {
    let log = Log::new();
    let clock = VirtualClock::starting_at(0_i64);
    let slot = Arc::new(std::sync::OnceLock::<Scheduler<i64>>::new());
    let read = clock.clone();
    let s = Scheduler::with_clock(move || read.time(), {
        let slot = slot.clone();
        move |delay| {
            clock.advance(delay);
            slot.get().expect("set before the run").run()
        }
    });
    assert!(slot.set(s.clone()).is_ok());
    for time in [3, 1, 2] {
        s.enter(time, 1, log.note(time));
    }
    s.run().unwrap();
    assert_eq!(log.take(), [1, 2, 3]);
}

// S40: Python reads the time under its lock, and hangs here.
#[test]
fn the_time_function_may_wait_for_a_thread_that_needs_the_scheduler() {
    let (ask, asked) = channel::<std::sync::mpsc::Sender<usize>>();
    let s = Scheduler::with_clock(
        move || {
            let (reply, answer) = channel();
            ask.send(reply).expect("the helper listens");
            answer.recv_timeout(SOON).expect("the helper is not blocked");
            0_i64
        },
        |_| (),
    );
    let helper = thread::spawn({
        let s = s.clone();
        move || asked.iter().for_each(|reply| reply.send(s.len()).expect("the clock listens"))
    });
    let log = Log::new();
    s.enterabs(0, 1, log.note("ran"));
    s.run().unwrap();
    assert_eq!(log.take(), ["ran"]);
    drop(helper); // it holds a handle, and ends with the test
}

// S41: a clock that goes back only makes events wait again.
#[test]
fn time_may_jump_back() {
    let (s, now, delays) = recorded();
    let log = Log::new();
    s.enterabs(10, 1, {
        let now = now.clone();
        move || now.store(3, Ordering::Relaxed)
    });
    s.enterabs(12, 1, log.note("twelve"));
    s.run().unwrap();
    assert_eq!(delays.take(), [10, 0, 9, 0]);
    assert_eq!(log.take(), ["twelve"]);
}

// S42: an event whose action is running is not queued.
#[test]
fn a_running_event_does_not_count() {
    let (s, _) = simulated();
    let log = Log::new();
    s.enter(0, 1, {
        let (s, log) = (s.clone(), log.clone());
        move || log.push((s.is_empty(), s.len(), s.next_time()))
    });
    assert_eq!((s.is_empty(), s.len(), s.next_time()), (false, 1, Some(0)));
    s.run().unwrap();
    assert_eq!(log.take(), [(true, 0, None)]);
}

#[test]
fn run_until_runs_what_is_due_by_then_and_waits_for_the_rest_of_it() {
    let (s, now, delays) = recorded();
    let log = Log::new();
    for time in [10, 20, 21] {
        s.enterabs(time, 1, log.note(time));
    }
    s.run_until(20).unwrap();
    assert_eq!(log.take(), [10, 20]);
    assert_eq!(delays.take(), [10, 0, 10, 0]);
    s.run_until(20).unwrap();
    now.store(50, Ordering::Relaxed);
    s.run_until(20).unwrap();
    assert!(log.take().is_empty(), "it is due, but after the limit");
    s.run_until(60).unwrap();
    assert_eq!(log.take(), [21]);
    assert_eq!(delays.take(), [0, 10], "it waits with an empty queue too");
}

#[test]
fn stop_ends_the_runs_in_progress_and_no_later_one() {
    let (s, _) = simulated();
    let log = Log::new();
    s.stop(); // nothing runs: nothing happens
    s.enter(1, 1, {
        let (s, log) = (s.clone(), log.clone());
        move || {
            log.push("stops");
            s.stop();
            s.run_pending().map(drop) // it began after the stop
        }
    });
    s.enterabs(0, 1, log.note("before"));
    s.enterabs(1, 2, log.note("nested"));
    s.enterabs(2, 1, log.note("after"));
    s.run().unwrap();
    assert_eq!(log.take(), ["before", "stops", "nested"]);
    s.run().unwrap();
    assert_eq!(log.take(), ["after"]);
}

#[test]
fn a_stopped_run_pending_tells_when_to_come_back() {
    let (s, _) = simulated();
    s.enter(0, 1, {
        let s = s.clone();
        move || s.stop()
    });
    s.enter(0, 1, || {});
    s.enter(4, 1, || {});
    assert_eq!(s.run_pending().unwrap(), Some(0));
    assert_eq!(s.run_pending().unwrap(), Some(4));
}

// case 11, S31
#[test]
fn py_run_non_blocking() {
    let log = Log::new();
    let (s, _) = simulated();
    for delay in [10, 9, 8, 7, 6] {
        s.enter(delay, 1, log.note(delay));
    }
    assert_eq!(s.run_pending().unwrap(), Some(6));
    assert!(log.take().is_empty());
}
