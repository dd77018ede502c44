//! Workers that leave while the pool goes on: no call is left behind with them.

use std::sync::Arc;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{ThreadPoolBuilder, ThreadPoolExecutor};

use crate::{Outcomes, checker::thread};

fn builder(workers: usize) -> ThreadPoolBuilder {
    ThreadPoolExecutor::builder().max_workers(workers).thread_name_prefix("w")
}

/// In a model such a wait expires at once, while others go on; see `src/sync/mod.rs`.
const SHORT: Duration = Duration::from_nanos(1);

// A call is pushed while the worker that sleeps gives up
#[test]
fn a_call_is_not_left_with_a_worker_that_leaves() {
    Outcomes::with_bound(Some(3), || {
        let pool = builder(1).keep_alive(SHORT).build().unwrap();
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        assert_eq!(pool.spawn(|| 2).unwrap().into_result().unwrap(), 2);
        pool.shutdown();
        pool.stats().workers
    })
    .assert([0]);
}

// Of two workers one leaves while the other is woken
#[test]
fn two_workers_that_leave_strand_no_call() {
    Outcomes::with_bound(Some(1), || {
        let pool = builder(2).keep_alive(SHORT).build().unwrap();
        let calls: Vec<_> = (0..2).map(|n| pool.spawn(move || n).unwrap()).collect();
        let sum: u32 = calls.into_iter().map(|call| call.into_result().unwrap()).sum();
        assert_eq!(sum, 1);
        assert_eq!(pool.spawn(|| 2).unwrap().into_result().unwrap(), 2);
    })
    .assert([()]);
}

// A shutdown waits for a worker that leaves, and joins it
#[test]
fn shutdown_against_a_worker_that_leaves_waits_for_it() {
    Outcomes::with_bound(Some(3), || {
        let left = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&left);
        let pool = builder(1).keep_alive(SHORT).on_worker_stop(move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        let pool = pool.build().unwrap();
        pool.spawn(|| ()).unwrap().into_result().unwrap();
        pool.shutdown();
        left.load(std::sync::atomic::Ordering::Relaxed)
    })
    .assert([1]);
}

// Of two threads that shut it down, the one that finds no thread to join waits for the other, which
// joins it
#[test]
fn of_two_shutdowns_at_once_both_return() {
    Outcomes::with_bound(Some(3), || {
        let pool = Arc::new(builder(1).build().unwrap());
        drop(pool.spawn(|| ()).unwrap());
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.shutdown())
        };
        pool.shutdown();
        other.join().unwrap();
        pool.stats().workers
    })
    .assert([0]);
}

// A surplus worker was woken for a call and leaves instead of taking it
#[test]
fn a_call_is_not_left_with_a_surplus_worker() {
    Outcomes::with_bound(Some(1), || {
        let pool = Arc::new(builder(2).build().unwrap());
        pool.prestart().unwrap();
        let resizer = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.resize(1).unwrap())
        };
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        resizer.join().unwrap();
        assert_eq!(pool.spawn(|| 2).unwrap().into_result().unwrap(), 2);
        pool.shutdown();
    })
    .assert([()]);
}

// A call waits for one of another pool, which waits for one in the queue of the first. That was for a
// second worker, who leaves instead of taking it: nobody may go on counting on him.
#[test]
fn a_circle_is_found_when_the_worker_that_was_counted_on_leaves() {
    Outcomes::with_bound(Some(1), || {
        let (own, other) = (Arc::new(builder(2).build().unwrap()), builder(1).build().unwrap());
        own.prestart().unwrap();
        let inner = Arc::clone(&own);
        let refused = |result| match result {
            Ok(refused) => refused,
            Err(Error::Deadlock(_)) => true,
            Err(error) => panic!("{error}"),
        };
        let b = other.spawn(move || refused(inner.spawn(|| false).unwrap().into_result()));
        let a = own.spawn(move || refused(b.unwrap().into_result()));
        own.resize(1).unwrap();
        let refused = a.unwrap().into_result().unwrap();
        own.shutdown();
        other.shutdown();
        refused
    })
    .assert([false, true]);
}

// The end of a pool that a call waits for is told to it by the last worker.
#[test]
fn a_shutdown_in_a_call_returns_when_the_last_worker_has_left() {
    Outcomes::with_bound(Some(2), || {
        let (own, other) = (builder(1).build().unwrap(), builder(1).build().unwrap());
        drop(other.spawn(|| ()).unwrap());
        let call = own.spawn(move || {
            other.shutdown();
            other.stats().workers
        });
        call.unwrap().into_result().unwrap()
    })
    .assert([0]);
}
