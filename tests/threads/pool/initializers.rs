//! Initializers: CPython's tests (case 94 and case 95), and what F83 says of them.

use std::cell::Cell;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::Error;
use concurrent::futures::ThreadPoolExecutor;

use crate::support::{Busy, Gate, keep_log, logged, rounds, tick, timely};

thread_local! {
    static READY: Cell<bool> = const { Cell::new(false) };
}

/// A pool whose second worker fails to start work, with `text`, once the gate is open.
fn second_worker_fails(text: &'static str, gate: &Gate) -> ThreadPoolExecutor {
    let (gate, number) = (gate.clone(), AtomicUsize::new(0));
    let initializer = move || {
        if number.fetch_add(1, Ordering::SeqCst) == 0 {
            return Ok(());
        }
        gate.pass();
        Err(text)
    };
    ThreadPoolExecutor::builder().max_workers(2).initializer(initializer).build().unwrap()
}

// case 94, F83, F75
#[test]
fn every_worker_runs_the_initializer_before_its_first_call() {
    timely(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let initializer = move || {
            READY.set(true);
            tick(&counted);
        };
        let builder = ThreadPoolExecutor::builder().max_workers(3).initializer(initializer);
        let pool = builder.build().unwrap();
        let busy: Vec<_> = (0..3).map(|_| Busy::on(&pool)).collect();
        drop(busy);
        let seen = pool.map(|_| READY.get(), 0..50);
        assert_eq!(seen.map(Result::unwrap).filter(|ready| *ready).count(), 50);
        assert_eq!(count.load(Ordering::SeqCst), 3);
    });
}

// case 95, F83, F4, F3: pending calls fail, the pool is broken, the cause is logged and kept
#[test]
fn a_failing_initializer_breaks_the_pool_and_keeps_its_cause() {
    keep_log();
    timely(|| {
        let gate = Gate::new();
        let entry = gate.clone();
        let initializer = move || {
            entry.pass();
            Err::<(), _>(std::io::Error::other("no licence for case ninety-five"))
        };
        let builder = ThreadPoolExecutor::builder().max_workers(1).initializer(initializer);
        let pool = builder.build().unwrap();
        let calls: Vec<_> = (0..5).map(|n| pool.spawn(move || n).unwrap()).collect();
        gate.open();
        for call in &calls {
            let error = call.result().unwrap_err();
            assert!(error.is_broken_executor());
            assert!(
                error.to_string().starts_with(
                    "A thread initializer failed, the thread pool is not usable anymore"
                )
            );
            let Error::BrokenThreadPool(cause) = &error else { panic!("{error}") };
            assert!(cause.downcast_ref::<std::io::Error>().is_some());
            let chain = std::iter::successors(error.source(), |error| (*error).source());
            assert_eq!(chain.last().unwrap().to_string(), "no licence for case ninety-five");
        }
        assert!(pool.spawn(|| ()).unwrap_err().is_broken_executor());
        let lines = logged("no licence for case ninety-five");
        assert_eq!(lines.iter().filter(|line| line.1.contains("initializer:")).count(), 1);
    });
}

// case 95, F83: a panic is a failure as well, with message and place
#[test]
fn a_panicking_initializer_breaks_the_pool() {
    timely(|| {
        let initializer = || -> () { panic!("no graphics card") };
        let builder = ThreadPoolExecutor::builder().max_workers(2).initializer(initializer);
        let pool = builder.build().unwrap();
        let error = pool.spawn(|| ()).and_then(|call| call.into_result()).unwrap_err();
        let Error::BrokenThreadPool(cause) = &error else { panic!("{error}") };
        let Error::Panicked(panic) = &**cause else { panic!("{cause}") };
        assert_eq!(panic.message(), "no graphics card");
        assert!(panic.location().unwrap().contains("initializers.rs:"));
    });
}

// F83, F58: broken wins over shut down
#[test]
fn a_broken_pool_stays_broken_after_shutdown() {
    timely(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(1);
        let pool = builder.initializer(|| Err::<(), _>("broken for good")).build().unwrap();
        assert!(pool.spawn(|| ()).and_then(|call| call.into_result()).is_err());
        pool.shutdown();
        assert!(pool.spawn(|| ()).unwrap_err().is_broken_executor());
    });
}

// F83: what already runs on other workers finishes normally
#[test]
fn a_running_call_survives_the_failure_of_another_worker() {
    timely(|| {
        let gate = Gate::new();
        let pool = second_worker_fails("second", &gate);
        let busy = Busy::on(&pool);
        let waiting = pool.spawn(|| ()).unwrap();
        gate.open();
        assert!(waiting.exception().unwrap().unwrap().is_broken_executor());
        busy.let_go();
        busy.call.result().unwrap();
    });
}

// F29, F83: callbacks of the failed calls may use the pool that breaks
#[test]
fn a_callback_of_a_call_that_a_broken_pool_gives_up_may_use_the_pool() {
    timely(|| {
        let gate = Gate::new();
        let pool = Arc::new(second_worker_fails("callback", &gate));
        let busy = Busy::on(&pool);
        let waiting = pool.spawn(|| ()).unwrap();
        let (inner, told) = (Arc::clone(&pool), Gate::new());
        let tell = told.clone();
        waiting.add_done_callback(move |_| {
            assert!(inner.spawn(|| ()).unwrap_err().is_broken_executor());
            inner.shutdown();
            drop(inner);
            tell.open();
        });
        gate.open();
        told.pass();
        drop(busy);
    });
}

// F83: submitting races the failure; every call ends either way
#[test]
fn no_call_is_left_waiting_when_submits_race_the_failure() {
    timely(|| {
        for _ in 0..rounds(300) {
            let builder = ThreadPoolExecutor::builder().max_workers(2);
            let pool = builder.initializer(|| Err::<(), _>("race")).build().unwrap();
            for _ in 0..8 {
                match pool.spawn(|| ()) {
                    Ok(call) => assert!(call.into_result().unwrap_err().is_broken_executor()),
                    Err(error) => assert!(error.is_broken_executor()),
                }
            }
        }
    });
}

struct BadDisplay;

impl std::fmt::Debug for BadDisplay {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("this Debug panics on purpose")
    }
}

impl std::fmt::Display for BadDisplay {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("this Display panics on purpose")
    }
}

impl std::error::Error for BadDisplay {}

// F83: an error that cannot even be logged
#[test]
fn an_initializer_error_whose_display_panics_breaks_the_pool_all_the_same() {
    keep_log();
    timely(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(1);
        let pool = builder.initializer(|| Err::<(), _>(BadDisplay)).build().unwrap();
        let error = pool.spawn(|| ()).and_then(|call| call.into_result()).unwrap_err();
        assert!(error.is_broken_executor());
        pool.shutdown();
    });
}

// F30, F83
#[test]
fn an_initializer_may_shut_its_pool_down() {
    timely(|| {
        let slot = Arc::new(std::sync::OnceLock::<Arc<ThreadPoolExecutor>>::new());
        let own = Arc::downgrade(&slot); // the slot owns the pool, and that the initializer
        let initializer = move || own.upgrade().unwrap().get().unwrap().shutdown();
        let builder = ThreadPoolExecutor::builder().max_workers(1).initializer(initializer);
        let pool = slot.get_or_init(|| Arc::new(builder.build().unwrap()));
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        assert!(matches!(pool.spawn(|| 2), Err(Error::Shutdown)));
        pool.shutdown();
    });
}
