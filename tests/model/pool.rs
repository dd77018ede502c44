//! The pool: no call is stranded, idle and growth accounting, shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::Error;
use concurrent::futures::{Promise, ShutdownOptions, ThreadPoolExecutor};

use crate::{Outcomes, Watched, checker::thread};

fn pool(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::builder().max_workers(workers).thread_name_prefix("w").build().unwrap()
}

#[test]
fn one_worker_runs_the_calls_of_two_submitters() {
    Outcomes::with_bound(Some(2), || {
        let pool = Arc::new(pool(1));
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.spawn(|| Watched::new(1)).unwrap())
        };
        let mine = pool.spawn(|| Watched::new(2)).unwrap();
        assert_eq!(mine.into_result().unwrap().get(), 2);
        assert_eq!(other.join().unwrap().into_result().unwrap().get(), 1);
        pool.shutdown();
    })
    .assert([()]);
}

// A second worker at the thread limit, going idle, woken again
#[test]
fn two_workers_strand_no_call() {
    Outcomes::with_bound(Some(1), || {
        let pool = pool(2);
        let calls: Vec<_> = (0..2).map(|n| pool.spawn(move || n).unwrap()).collect();
        let sum: u32 = calls.into_iter().map(|call| call.into_result().unwrap()).sum();
        assert_eq!(sum, 1);
        let again = pool.spawn(|| 2).unwrap();
        assert_eq!(again.into_result().unwrap(), 2);
    })
    .assert([()]);
}

// Calls pushed while a woken worker is on its way: it must hand them on
#[test]
fn calls_that_wait_for_each_other_get_a_worker_each() {
    Outcomes::with_bound(Some(1), || {
        let pool = pool(2);
        pool.spawn(|| ()).unwrap().into_result().unwrap();
        let (promise, future) = Promise::pair();
        let waits = pool.spawn(move || future.into_result().unwrap()).unwrap();
        let gives = pool.spawn(move || promise.set_result(3).unwrap()).unwrap();
        gives.into_result().unwrap();
        assert_eq!(waits.into_result().unwrap(), 3);
    })
    .assert([()]);
}

// F80, case 70: whoever has seen a result finds its worker free
#[test]
fn a_worker_whose_result_was_seen_is_reused() {
    Outcomes::with_bound(Some(3), || {
        let pool = pool(2);
        let first = pool.spawn(|| thread::current().id()).unwrap().into_result().unwrap();
        let second = pool.spawn(|| thread::current().id()).unwrap().into_result().unwrap();
        assert_eq!(first, second);
    })
    .assert([()]);
}

// Each time a worker goes to sleep it can be woken again
#[test]
fn a_worker_is_woken_each_time() {
    Outcomes::with_bound(Some(1), || {
        let pool = pool(1);
        for n in 0..3 {
            assert_eq!(pool.spawn(move || n).unwrap().into_result().unwrap(), n);
        }
    })
    .assert([()]);
}

// Of two calls that come while both workers sleep, the second wakes nobody: the worker that
// was woken for the first does
#[test]
fn a_woken_worker_wakes_the_next() {
    Outcomes::with_bound(Some(1), || {
        let pool = pool(2);
        assert_eq!(pool.prestart().unwrap(), 2);
        pool.spawn(|| ()).unwrap().into_result().unwrap(); // meanwhile both go to sleep, or not
        let (promise, future) = Promise::pair();
        let waits = pool.spawn(move || future.into_result().unwrap()).unwrap();
        let gives = pool.spawn(move || promise.set_result(3).unwrap()).unwrap();
        assert_eq!(waits.into_result().unwrap(), 3);
        gives.into_result().unwrap();
    })
    .assert([()]);
}

// A call that was pushed while a worker seemed to be free, just before it entered a callback
#[test]
fn a_call_that_comes_before_a_callback_gets_a_worker() {
    Outcomes::with_bound(Some(1), || {
        let pool = pool(2);
        let (begin, begun) = Promise::pair();
        let (give, given) = Promise::pair();
        let first = pool.spawn(move || begun.into_result().unwrap()).unwrap();
        first.add_done_callback(move |_| given.into_result().unwrap());
        begin.set_result(()).unwrap();
        first.result().unwrap();
        pool.spawn(move || give.set_result(()).unwrap()).unwrap().into_result().unwrap();
    })
    .assert([()]);
}

// A worker inside a callback does not count as free
#[test]
fn a_call_that_a_callback_waits_for_gets_a_worker() {
    Outcomes::with_bound(Some(2), || {
        let pool = Arc::new(pool(2));
        let first = pool.spawn(|| ()).unwrap();
        let inner = Arc::clone(&pool);
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        first.add_done_callback(move |_| {
            inner.spawn(|| ()).unwrap().into_result().unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        });
        first.into_result().unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        pool.shutdown();
    })
    .assert([()]);
}

// F58, F70
#[test]
fn submit_against_shutdown_runs_the_call_or_refuses_it() {
    Outcomes::with_bound(Some(3), || {
        let pool = Arc::new(pool(1));
        let submitter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || match pool.spawn(|| Watched::new(1)) {
                Ok(call) => {
                    assert_eq!(call.into_result().unwrap().get(), 1);
                    true
                }
                Err(error) => {
                    assert!(matches!(error, Error::Shutdown));
                    false
                }
            })
        };
        pool.shutdown();
        pool.shutdown();
        submitter.join().unwrap()
    })
    .assert([false, true]);
}

// F71: cancelled calls are seen at once
#[test]
fn shutdown_with_cancel_ends_every_call() {
    Outcomes::with_bound(Some(3), || {
        let pool = pool(1);
        let a = pool.spawn(|| ()).unwrap();
        let b = pool.spawn(|| ()).unwrap();
        let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
        let cancelled = usize::from(a.cancelled()) + usize::from(b.cancelled());
        assert!(a.done() && b.done());
        assert_eq!(report.cancelled, cancelled);
        cancelled
    })
    .assert([0, 1, 2]);
}

// F11: the captures go with whoever wins
#[test]
fn cancel_against_the_worker_drops_the_captures_once() {
    Outcomes::with_bound(Some(3), || {
        let drops = Arc::new(AtomicUsize::new(0));
        let pool = pool(1);
        let captured = Counted(Watched::new(1), Arc::clone(&drops));
        let call = pool.spawn(move || captured.0.get()).unwrap();
        let cancelled = call.cancel();
        if cancelled {
            assert_eq!(drops.load(Ordering::Relaxed), 1);
        }
        assert_eq!(call.into_result().is_err(), cancelled);
        drop(pool);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        cancelled
    })
    .assert([false, true]);
}

// A call without a future runs, or is dropped by the shutdown, once
#[test]
fn shutdown_with_cancel_against_a_call_without_a_future() {
    Outcomes::with_bound(Some(3), || {
        let (drops, ran) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let pool = pool(1);
        let captured = Counted(Watched::new(1), Arc::clone(&drops));
        let runs = Arc::clone(&ran);
        let call = move || {
            runs.fetch_add(captured.0.get() as usize, Ordering::Relaxed);
        };
        pool.execute(call).unwrap();
        let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_eq!(ran.load(Ordering::Relaxed) + report.cancelled, 1);
        report.cancelled
    })
    .assert([0, 1]);
}

struct Counted(Watched, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

// F83
#[test]
fn a_failed_initializer_fails_every_call() {
    Outcomes::with_bound(Some(2), || {
        let pool = ThreadPoolExecutor::builder()
            .max_workers(2)
            .initializer(|| Err::<(), _>("no"))
            .build()
            .unwrap();
        let calls = [pool.spawn(|| ()), pool.spawn(|| ())];
        let mut refused = 0;
        for call in calls {
            match call {
                Ok(call) => assert!(call.into_result().unwrap_err().is_broken_executor()),
                Err(error) => {
                    assert!(error.is_broken_executor());
                    refused += 1;
                }
            }
        }
        refused
    })
    .assert([0, 1]);
}
