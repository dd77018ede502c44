//! CPython's tests of shutdown and of thread names: case 74 to case 87.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use concurrent::Error;
use concurrent::futures::{ShutdownOptions, ShutdownReport, ThreadPoolExecutor};

use crate::support::{Busy, Gate, MOMENT, here, keep_log, pool, rounds, tick, timely, until};

fn options() -> ShutdownOptions {
    ShutdownOptions::new()
}

/// A pool whose threads each hold a clone of the returned `Arc` until they have ended.
fn watched(workers: usize) -> (ThreadPoolExecutor, Weak<()>) {
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    let builder = ThreadPoolExecutor::builder().max_workers(workers);
    (builder.initializer(move || drop(Arc::clone(&alive))).build().unwrap(), weak)
}

fn name() -> String {
    std::thread::current().name().unwrap().to_owned()
}

// case 74, F58
#[test]
fn a_submit_after_shutdown_is_refused() {
    timely(|| {
        let pool = pool(1);
        pool.shutdown();
        let error = pool.spawn(|| ()).unwrap_err();
        assert!(matches!(error, Error::Shutdown));
        assert_eq!(error.to_string(), "cannot schedule new futures after shutdown");
        assert!(matches!(pool.submit(|n: i32| n, 1), Err(Error::Shutdown)));
    });
}

// case 75, F73: the end of the scope waits, as the end of Python's program does
#[test]
fn a_call_submitted_right_before_the_scope_ends_completes() {
    timely(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        {
            let ran = Arc::clone(&ran);
            drop(pool(1).spawn(move || tick(&ran)).unwrap());
        }
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    });
}

// case 77, F70
#[test]
fn a_shutdown_completes_fifty_pending_calls() {
    timely(|| {
        let pool = pool(2);
        let busy = Busy::on(&pool);
        let calls: Vec<_> = (0..50).map(|n| pool.spawn(move || n).unwrap()).collect();
        busy.let_go();
        pool.shutdown();
        assert!(calls.iter().all(|call| call.done() && !call.cancelled()));
        pool.shutdown(); // as often as one likes
    });
}

// case 78, F71: and `wait` sees the cancelled ones at once
#[test]
fn a_cancelling_shutdown_cancels_what_has_not_started() {
    timely(|| {
        let pool = pool(2);
        let busy = [Busy::on(&pool), Busy::on(&pool)];
        let calls: Vec<_> = (0..48).map(|n| pool.spawn(move || n).unwrap()).collect();
        let report = pool.shutdown_with(options().wait(false).cancel_futures(true));
        assert!(calls.iter().all(concurrent::futures::Future::cancelled));
        assert_eq!((report.cancelled, report.pending, report.running), (48, 0, 2));
        assert!(!report.is_complete());
        busy.iter().for_each(Busy::let_go);
        let report = pool.shutdown_with(options());
        assert_eq!(report, ShutdownReport::default());
        for busy in &busy {
            busy.call.result().unwrap();
        }
    });
}

// case 79, case 84, F70: without waiting, the threads end by themselves and everything is computed
#[test]
fn a_shutdown_that_does_not_wait_lets_the_work_complete() {
    timely(|| {
        let (pool, _) = watched(2);
        let busy = Busy::on(&pool);
        let calls: Vec<_> = (0..20).map(|n| pool.spawn(move || n).unwrap()).collect();
        let report = pool.shutdown_with(options().wait(false));
        assert!(report.running >= 1);
        busy.let_go();
        let sum: i32 = calls.into_iter().map(|call| call.into_result().unwrap()).sum();
        assert_eq!(sum, 190);
        until(|| format!("{pool:?}").contains("running: 0"));
    });
}

// case 80
#[test]
fn a_call_cancelled_at_once_does_not_hang_the_shutdown() {
    timely(|| {
        for _ in 0..rounds(300) {
            let pool = pool(1);
            let call = pool.spawn(|| ()).unwrap();
            let cancelled = call.cancel();
            pool.shutdown();
            assert_eq!(call.cancelled(), cancelled);
            assert!(call.done());
        }
    });
}

// case 81, case 82, F73: every thread is gone when shutdown returns
#[test]
fn all_threads_are_gone_after_a_shutdown() {
    timely(|| {
        let (pool, alive) = watched(3);
        let busy: Vec<_> = (0..3).map(|_| Busy::on(&pool)).collect();
        assert!(alive.strong_count() > 0);
        drop(busy);
        drop(pool);
        assert_eq!(alive.strong_count(), 0, "the last thread let go of the pool's settings");
    });
}

// case 83, F74: dropped without shutdown
#[test]
fn a_dropped_pool_computes_everything_and_ends() {
    timely(|| {
        let (pool, alive) = watched(5);
        let calls: Vec<_> = (0..100).map(|n| pool.spawn(move || n * 2).unwrap()).collect();
        drop(pool);
        assert!(calls.iter().all(concurrent::futures::Future::done));
        assert_eq!(calls.iter().map(|call| *call.result().unwrap()).sum::<i32>(), 9900);
        assert_eq!(alive.strong_count(), 0);
    });
}

// case 85, F81, F75
#[test]
fn threads_are_named_for_the_prefix_and_their_number() {
    timely(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(3).thread_name_prefix("special");
        let pool = builder.build().unwrap();
        let busy = [Busy::on(&pool), Busy::on(&pool)];
        assert_eq!(pool.spawn(name).unwrap().into_result().unwrap(), "special_2");
        busy[0].let_go();
        busy[0].call.result().unwrap();
        let again = pool.spawn(name).unwrap().into_result().unwrap();
        assert!(["special_0", "special_2"].contains(&again.as_str()), "{again}");
    });
}

// case 86, F81: the number is consumed only when no prefix is given
#[test]
fn default_names_are_unique_to_each_pool() {
    timely(|| {
        let names: Vec<String> =
            (0..2).map(|_| pool(1).spawn(name).unwrap().into_result().unwrap()).collect();
        for name in &names {
            let rest = name.strip_prefix("ThreadPoolExecutor-").unwrap();
            let (number, index) = rest.split_once('_').unwrap();
            assert!(number.parse::<usize>().is_ok() && index == "0", "{name}");
        }
        assert_ne!(names[0], names[1]);
        let empty = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("");
        let pool = empty.build().unwrap();
        assert_eq!(pool.spawn(name).unwrap().into_result().unwrap(), "_0");
    });
}

// case 87, F71
#[test]
fn a_cancelling_shutdown_without_waiting_does_not_hang() {
    keep_log();
    timely(|| {
        for _ in 0..rounds(200) {
            let pool = pool(1);
            let calls: Vec<_> = (0..3).map(|n| pool.spawn(move || n).unwrap()).collect();
            let report = pool.shutdown_with(options().wait(false).cancel_futures(true));
            drop(pool);
            // One may run at this moment: it ends by itself, and so do the waits.
            calls.iter().for_each(|call| drop(call.exception()));
            let cancelled = calls.iter().filter(|call| call.cancelled()).count();
            assert_eq!(cancelled, report.cancelled);
        }
    });
}

// F72: asked for since 2022; here it exists and tells what is left
#[test]
fn a_shutdown_with_a_timeout_tells_what_did_not_finish() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let queued: Vec<_> = (0..3).map(|n| pool.spawn(move || n).unwrap()).collect();
        let report = pool.shutdown_with(options().timeout(MOMENT));
        assert_eq!((report.cancelled, report.pending, report.running), (0, 3, 1));
        busy.let_go();
        assert!(pool.shutdown_with(options()).is_complete());
        assert!(queued.iter().all(|call| !call.cancelled() && call.done()));
    });
}

// F71: what was cancelled before is neither pending nor this shutdown's doing
#[test]
fn a_report_leaves_out_what_was_cancelled_before() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let [before, other] = [(); 2].map(|()| pool.spawn(|| ()).unwrap());
        assert!(before.cancel());
        let report = pool.shutdown_with(options().wait(false));
        assert_eq!((report.cancelled, report.pending), (0, 1));
        let report = pool.shutdown_with(options().wait(false).cancel_futures(true));
        assert_eq!((report.cancelled, report.pending), (1, 0));
        assert!(other.cancelled());
        drop(busy);
    });
}

// F73, E7: a panic that unwinds cancels what has not started
#[test]
fn a_pool_dropped_by_a_panic_cancels_what_has_not_started() {
    timely(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let body = AssertUnwindSafe(|| {
            let gate = Gate::new();
            let pool = pool(1);
            let busy = Busy::on(&pool);
            for _ in 0..10 {
                let ran = Arc::clone(&ran);
                drop(pool.spawn(move || tick(&ran)).unwrap());
            }
            // Cancelled in the order they came, so that the last of them tells of all.
            let last = pool.spawn(|| ()).unwrap();
            let opener = gate.clone();
            last.add_done_callback(move |last| {
                assert!(last.cancelled());
                opener.open();
            });
            let hold = busy;
            let helper = std::thread::spawn(move || {
                gate.pass();
                hold.let_go();
            });
            let _pool = (pool, helper);
            panic!("on purpose");
        });
        assert!(catch_unwind(body).is_err());
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    });
}

// F70: two threads may wait for the end at once
#[test]
fn two_threads_may_shut_a_pool_down() {
    timely(|| {
        for _ in 0..rounds(200) {
            let pool = pool(2);
            let calls: Vec<_> = (0..4).map(|_| pool.spawn(here).unwrap()).collect();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        pool.shutdown();
                        assert!(calls.iter().all(concurrent::futures::Future::done));
                    });
                }
            });
        }
    });
}
