//! `shutdown`: what it waits for, cancels and reports. CPython's tests (case 74 to case 87) and more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use concurrent::Error;
use concurrent::futures::{Future, ShutdownOptions, ShutdownReport, as_completed};

use crate::support::{
    Busy, MOMENT, here, keep_log, pool, pool_with_witness, rounds, timely, until,
};

// F71: what a shutdown cancels is seen at once as well
#[test]
fn what_a_shutdown_cancels_is_seen_at_once() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let calls: Vec<_> = (0..5).map(|_| pool.spawn(|| ()).unwrap()).collect();
        pool.shutdown_with(ShutdownOptions::new().wait(false).cancel_futures(true));
        assert_eq!(as_completed(&calls).filter(|call| call.cancelled()).count(), 5);
        drop(busy);
    });
}

// case 62, F58, F70: what submit accepted is run, what it refused is not
#[test]
fn a_submit_that_races_shutdown_is_run_or_refused() {
    timely(|| {
        for _ in 0..rounds(1_000) {
            let pool = Arc::new(pool(2));
            let ran = Arc::new(AtomicUsize::new(0));
            let start = Arc::new(Barrier::new(3));
            let submitters: Vec<_> = (0..2)
                .map(|_| {
                    let (pool, ran, start) = (pool.clone(), ran.clone(), start.clone());
                    std::thread::spawn(move || {
                        start.wait();
                        let mut accepted = Vec::new();
                        for _ in 0..50 {
                            let ran = Arc::clone(&ran);
                            match pool.spawn(move || ran.fetch_add(1, Ordering::SeqCst)) {
                                Ok(call) => accepted.push(call),
                                Err(Error::Shutdown) => break,
                                Err(error) => panic!("{error}"),
                            }
                        }
                        accepted
                    })
                })
                .collect();
            start.wait();
            pool.shutdown();
            let accepted: Vec<_> =
                submitters.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            assert!(accepted.iter().all(Future::done));
            assert_eq!(ran.load(Ordering::SeqCst), accepted.len());
        }
    });
}

fn options() -> ShutdownOptions {
    ShutdownOptions::new()
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
        let (pool, _) = pool_with_witness(2);
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
        let (pool, alive) = pool_with_witness(3);
        let busy: Vec<_> = (0..3).map(|_| Busy::on(&pool)).collect();
        assert!(alive.strong_count() > 0);
        drop(busy);
        drop(pool);
        assert_eq!(alive.strong_count(), 0, "the last thread let go of the pool's settings");
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
