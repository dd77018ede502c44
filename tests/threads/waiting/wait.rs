//! `wait`: CPython's tests (case 32 to case 40) and more.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ReturnWhen::{AllCompleted, FirstCompleted, FirstException};
use concurrent::futures::{DoneAndNotDone, Future, Promise, ReturnWhen, wait};

use crate::support::{
    Busy, Gate, MOMENT, cancelled, cancelled_and_notified, failed, finished, pending, pool, rounds,
    running, timely,
};

const MODES: [ReturnWhen; 3] = [FirstCompleted, FirstException, AllCompleted];

/// Ends calls one after the other, each when the gate before it was opened.
fn later(ends: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(ends)
}

// case 32, F38, F46: duplicates collapse
#[test]
fn the_same_future_twice_counts_once() {
    let (_promise, future) = finished(1);
    let outcome = wait([&future, &future], None, AllCompleted);
    assert_eq!(outcome, DoneAndNotDone { done: vec![&future], not_done: vec![] });
    let (_promise, open) = pending();
    let outcome = wait([&open, &future, &open, &future], MOMENT, AllCompleted);
    assert_eq!(outcome, DoneAndNotDone { done: vec![&future], not_done: vec![&open] });
}

// case 33, F41: the un-notified cancelled one counts as done here
#[test]
fn first_completed_returns_when_one_completes() {
    timely(|| {
        for _ in 0..rounds(100) {
            let (promise, first) = running();
            let (_other, second) = running();
            let thread = later(move || promise.set_result(1).unwrap());
            let outcome = wait([&first, &second], None, FirstCompleted);
            assert_eq!(outcome, DoneAndNotDone { done: vec![&first], not_done: vec![&second] });
            thread.join().unwrap();
        }
    });
}

// case 34, F41, F43
#[test]
fn first_completed_returns_at_once_with_all_that_are_done() {
    let (_a, fresh) = pending();
    let (_b, gone) = cancelled_and_notified();
    let (_c, good) = finished(1);
    let outcome = wait([&fresh, &gone, &good], None, FirstCompleted);
    assert_eq!(outcome.done, [&gone, &good]);
    assert_eq!(outcome.not_done, [&fresh]);
}

// case 35, F42: a success does not end it, the first failure does
#[test]
fn first_exception_returns_when_one_fails() {
    timely(|| {
        for _ in 0..rounds(100) {
            let (good, first) = running();
            let (bad, second) = running();
            let (_open, third) = running();
            let thread = later(move || {
                good.set_result(1).unwrap();
                bad.set_exception(Error::raised("bad")).unwrap();
            });
            let outcome = wait([&first, &second, &third], None, FirstException);
            assert_eq!(outcome.done, [&first, &second]);
            assert_eq!(outcome.not_done, [&third]);
            thread.join().unwrap();
        }
    });
}

// case 36, F42: a cancelled call is no exception
#[test]
fn first_exception_is_not_ended_by_cancelled_calls() {
    timely(|| {
        let (_a, good) = finished(1);
        let (_b, gone) = cancelled();
        let (_c, noted) = cancelled_and_notified();
        let (bad, fails) = running();
        let (_d, open) = pending();
        let all = [&good, &gone, &noted, &fails, &open];
        assert_eq!(wait(all, MOMENT, FirstException).not_done, [&fails, &open]);
        let thread = later(move || bad.set_exception(Error::raised("bad")).unwrap());
        let outcome = wait(all, None, FirstException);
        assert_eq!(outcome.done, [&good, &gone, &noted, &fails]);
        assert_eq!(outcome.not_done, [&open]);
        thread.join().unwrap();
    });
}

// case 37, F42
#[test]
fn first_exception_returns_at_once_if_one_has_failed() {
    let (_a, bad) = failed::<i32>("bad");
    let (_b, open) = pending();
    let outcome = wait([&open, &bad], None, FirstException);
    assert_eq!(outcome, DoneAndNotDone { done: vec![&bad], not_done: vec![&open] });
}

// F42: without any failure it is AllCompleted
#[test]
fn first_exception_without_one_waits_for_all() {
    timely(|| {
        let pool = pool(2);
        let calls: Vec<_> = (0..20).map(|n| pool.spawn(move || n).unwrap()).collect();
        assert!(wait(&calls, None, FirstException).not_done.is_empty());
    });
}

// case 38, F40
#[test]
fn all_completed_takes_every_kind_of_end() {
    timely(|| {
        let pool = pool(2);
        let good = pool.spawn(|| 1).unwrap();
        let bad = pool.spawn(|| -> i32 { panic!("bad") }).unwrap();
        let (_a, gone) = cancelled();
        let (_b, noted) = cancelled_and_notified();
        let outcome = wait([&good, &bad, &gone, &noted], None, AllCompleted);
        assert_eq!(outcome.done, [&good, &bad, &gone, &noted]);
        assert!(outcome.not_done.is_empty());
        assert!(bad.exception().unwrap().is_some());
    });
}

// case 39, F37: a timeout is no error
#[test]
fn a_wait_that_runs_out_of_time_tells_who_is_done() {
    timely(|| {
        let pool = pool(2);
        let busy = Busy::on(&pool);
        let quick = pool.spawn(|| ()).unwrap();
        quick.result().unwrap();
        let outcome = wait([&quick, &busy.call], MOMENT, AllCompleted);
        assert_eq!(outcome, DoneAndNotDone { done: vec![&quick], not_done: vec![&busy.call] });
    });
}

// case 40: no lost wake-up
#[test]
fn pending_calls_that_complete_while_wait_registers_are_all_seen() {
    timely(|| {
        let pool = pool(4);
        for _ in 0..rounds(199) {
            let gate = Gate::new();
            let calls: Vec<_> = (0..if cfg!(miri) { 10 } else { 100 })
                .map(|_| {
                    let gate = gate.clone();
                    pool.spawn(move || gate.pass()).unwrap()
                })
                .collect();
            gate.open();
            assert!(wait(&calls, None, AllCompleted).not_done.is_empty());
        }
    });
}

// case 40, F9: promises that are completed by another thread exactly meanwhile
#[test]
fn completions_that_race_wait_are_never_lost_in_any_mode() {
    timely(|| {
        for round in 0..rounds(600) {
            let (promises, futures): (Vec<Promise<usize>>, Vec<_>) =
                (0..8).map(|_| Promise::pair()).unzip();
            let barrier = Arc::new(Barrier::new(2));
            let thread = {
                let barrier = Arc::clone(&barrier);
                std::thread::spawn(move || {
                    barrier.wait();
                    for (n, promise) in promises.into_iter().enumerate() {
                        if n == 7 {
                            promise.set_exception(Error::raised("last")).unwrap();
                        } else {
                            promise.set_result(n).unwrap();
                        }
                    }
                })
            };
            barrier.wait();
            let mode = MODES[round % 3];
            let outcome = wait(&futures, None, mode);
            match mode {
                FirstCompleted => assert!(!outcome.done.is_empty()),
                FirstException | AllCompleted => assert_eq!(outcome.done.len(), 8),
            }
            thread.join().unwrap();
        }
    });
}

// F39
#[test]
fn waiting_for_nothing_returns_at_once() {
    for mode in MODES {
        let outcome = wait(Vec::<Future<()>>::new(), None, mode);
        assert!(outcome.done.is_empty() && outcome.not_done.is_empty());
    }
}

// F38: futures of different executors, and any iterable of any handle
#[test]
fn futures_of_different_executors_mix_and_the_handles_come_back() {
    timely(|| {
        let (one, two) = (pool(1), pool(1));
        let (_promise, foreign) = finished(3);
        let calls = vec![one.spawn(|| 1).unwrap(), two.spawn(|| 2).unwrap(), foreign];
        let shared: Vec<Arc<Future<i32>>> = calls.into_iter().map(Arc::new).collect();
        let outcome = wait(shared.iter().cloned().rev(), None, AllCompleted);
        let values: Vec<i32> = outcome.done.iter().map(|call| *call.result().unwrap()).collect();
        assert_eq!(values, [3, 2, 1]);
        drop(outcome);
        let owned = shared.into_iter().map(|call| Arc::try_unwrap(call).unwrap());
        let DoneAndNotDone { done, .. } = wait(owned, None, AllCompleted);
        assert_eq!(done.into_iter().map(|call| call.into_result().unwrap()).sum::<i32>(), 6);
    });
}

// F43: also with no time at all
#[test]
fn what_is_done_before_the_call_is_done_in_every_mode() {
    let (_promise, good) = finished(1);
    let (_open, open) = pending();
    for mode in MODES {
        assert_eq!(wait([&good, &open], Duration::ZERO, mode).done, [&good]);
    }
}

// F47: the waiter is removed; 20,000 waits leave nothing that would make the last one slow
#[test]
fn a_wait_that_timed_out_leaves_no_trace_in_the_futures() {
    let (promise, future) = pending();
    for _ in 0..rounds(20_000) {
        assert!(wait([&future], Duration::ZERO, AllCompleted).done.is_empty());
    }
    promise.set_result(1).unwrap();
    assert_eq!(wait([&future], Duration::ZERO, AllCompleted).done, [&future]);
}

/// How long this thread has been on a processor; `None` if the system does not say.
#[cfg(target_os = "linux")]
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// A worker that waits is asleep, also if some of the calls are done: by its processor's clock.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn a_wait_in_a_worker_does_not_spin() {
    const WAITED: Duration = Duration::from_millis(300);

    for mode in [FirstException, AllCompleted] {
        for limit in [None, Some(WAITED * 100)] {
            timely(move || {
                let pool = pool(2);
                let (begun, gate) = (Gate::new(), Gate::new());
                let waits = {
                    let (begun, gate) = (begun.clone(), gate.clone());
                    let (_never, good) = finished(1);
                    let busy = pool.spawn(move || (gate.pass(), 2).1).unwrap();
                    let wait_for_both = move || {
                        let before = processor_time();
                        begun.open();
                        let outcome = wait([&good, &busy], limit, mode);
                        assert_eq!(outcome.done.len(), 2);
                        Some(processor_time()? - before?)
                    };
                    pool.spawn(wait_for_both).unwrap()
                };
                begun.pass();
                let (_open, never) = pending::<()>();
                assert!(never.result_timeout(WAITED).is_err()); // time passes
                gate.open();
                let Some(used) = waits.into_result().unwrap() else { return };
                assert!(used < WAITED / 10, "{mode:?} {limit:?}: {used:?} of {WAITED:?}");
            });
        }
    }
}

/// The same when a call ends well that could have failed: the waiter checks, and sleeps on.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn a_wait_for_a_failure_sleeps_on_when_a_call_ends_well() {
    const WAITED: Duration = Duration::from_millis(300);

    timely(|| {
        // Its only worker waits, so that each wait looks whether it can end.
        let (own, other) = (pool(1), pool(2));
        let (end, gate) = (Gate::new(), Gate::new());
        let passes = |gate: &Gate| {
            let gate = gate.clone();
            Arc::new(other.spawn(move || gate.pass()).unwrap())
        };
        let calls = [passes(&gate), passes(&end)];
        let good = Arc::clone(&calls[1]);
        let waits = own.spawn(move || {
            let before = processor_time();
            assert_eq!(wait(calls, None, FirstException).done.len(), 2);
            Some(processor_time()? - before?)
        });
        crate::support::until(|| own.stats().blocked == 1);
        end.open();
        good.result().unwrap();
        let (_open, never) = pending::<()>();
        assert!(never.result_timeout(WAITED).is_err()); // time passes
        gate.open();
        let Some(used) = waits.unwrap().into_result().unwrap() else { return };
        assert!(used < WAITED / 10, "{used:?} of {WAITED:?}");
    });
}
