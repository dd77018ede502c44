//! Callbacks that panic: that is logged, and harms nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::report;
use crate::support::{Busy, Gate, finished, keep_log, logged, pool, running, tick, timely};

// F27, F84: whatever a callback throws, the worker lives and the next callback runs
#[test]
fn a_panicking_callback_does_not_cost_a_worker() {
    timely(|| {
        let pool = pool(1);
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let busy = Busy::on(&pool);
            let call = pool.spawn(|| ()).unwrap();
            call.add_done_callback(|_| std::panic::panic_any(7_u8));
            let counted = Arc::clone(&count);
            call.add_done_callback(move |_| tick(&counted));
            drop(busy);
            call.into_result().unwrap(); // waits for the callbacks
        }
        assert_eq!(count.load(Ordering::SeqCst), 20);
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
    });
}

// F4: by its address and state, as Python writes it
#[test]
fn the_line_about_a_callback_that_panics_names_the_future() {
    keep_log();
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let gone = pool.spawn(|| ()).unwrap();
        gone.add_done_callback(|_| panic!("named: of a cancelled one"));
        assert!(gone.cancel());
        let late = pool.spawn(|| 1).unwrap();
        drop(busy);
        late.result().unwrap();
        late.add_done_callback(|_| panic!("named: added late"));
        for (call, text) in [
            (format!("{gone:?}"), "named: of a cancelled one"),
            (format!("{late:?}"), "named: added late"),
        ] {
            let lines = logged(text);
            let begins = format!("concurrent: exception calling callback for {call}: panicked at");
            assert!(lines.len() == 1 && lines[0].1.starts_with(&begins), "{lines:?}");
        }
    });
}

// F27, F4: not even a logger that panics costs the worker, or the next callback
#[test]
fn a_logger_that_panics_about_a_callback_harms_nobody() {
    keep_log();
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let call = pool.spawn(|| 3).unwrap();
        call.add_done_callback(|_| panic!("make the logger panic: callback"));
        let told = Gate::new();
        let tell = told.clone();
        call.add_done_callback(move |_| tell.open());
        drop(busy);
        told.pass();
        assert_eq!(call.into_result().unwrap(), 3);
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        assert_eq!(logged("make the logger panic: callback").len(), 1);
    });
}

// F27, F29, F30: a callback can neither deadlock nor kill a worker
#[test]
fn a_callback_can_neither_deadlock_nor_kill_a_worker() {
    timely(|| {
        let pool = Arc::new(pool(1));
        let busy = Busy::on(&pool);
        let inner = Arc::clone(&pool);
        let told = Gate::new();
        let tell = told.clone();
        busy.call.add_done_callback(move |_| {
            assert!(inner.spawn(|| ()).is_ok());
            inner.shutdown();
            tell.open();
            panic!("and then it panics");
        });
        let queued = pool.spawn(|| 3).unwrap();
        busy.let_go();
        told.pass();
        assert_eq!(queued.into_result().unwrap(), 3);
        pool.shutdown();
    });
}

// case 15, F26, F4
#[test]
fn a_callback_that_panics_is_logged_and_the_next_one_runs() {
    keep_log();
    let (promise, future) = running();
    future.add_done_callback(|_| panic!("case fifteen"));
    let seen = report(&future, |future| *future.result().unwrap());
    promise.set_result(5).unwrap();
    assert_eq!(seen.try_recv().unwrap(), 5);
    let lines = logged("case fifteen");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].0, log::Level::Error);
    assert!(lines[0].1.contains("exception calling callback for <Future at 0x"), "{lines:?}");
}

// case 19, F26
#[test]
fn a_late_callback_that_panics_is_logged_and_not_propagated() {
    keep_log();
    let (_promise, future) = finished(5);
    future.add_done_callback(|_| panic!("case nineteen"));
    assert_eq!(logged("case nineteen").len(), 1);
    assert_eq!(*future.result().unwrap(), 5);
}
