//! Near-circles: what can still move is never called a deadlock.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use concurrent::futures::Promise;

use crate::support::{Futures, shared_pool, timely};

#[test]
fn a_circle_with_a_timeout_in_it_resolves_itself() {
    timely(|| {
        let pool = shared_pool(2);
        let futures = Futures::<bool>::new();
        let (a, b) = (futures.clone(), futures.clone());
        let waits = pool.spawn(move || a.get()[1].result().is_ok()).unwrap();
        let gives_up =
            pool.spawn(move || b.get()[0].result_timeout(Duration::from_millis(5)).is_ok());
        futures.fill(vec![waits, gives_up.unwrap()]);
        assert!(futures.get()[0].result().unwrap());
        assert!(!futures.get()[1].result().unwrap());
    });
}

#[test]
fn a_promise_in_the_hands_of_others_counts_as_able_to_move() {
    timely(|| {
        let pool = shared_pool(1);
        let (promise, future) = Promise::pair();
        let (begun, begins) = mpsc::channel();
        let call = pool
            .spawn(move || {
                begun.send(()).unwrap();
                future.into_result()
            })
            .unwrap();
        begins.recv().unwrap();
        promise.set_result(1).unwrap();
        assert_eq!(call.into_result().unwrap().unwrap(), 1);
    });
}

#[test]
fn a_call_blocked_outside_of_futures_counts_as_able_to_move() {
    timely(|| {
        let pool = shared_pool(2);
        let (release, gate) = mpsc::channel();
        let sleeper = pool.spawn(move || gate.recv().unwrap()).unwrap();
        let waits = pool.spawn(move || sleeper.into_result()).unwrap();
        release.send(7).unwrap();
        assert_eq!(waits.into_result().unwrap().unwrap(), 7);
    });
}

#[test]
fn a_pool_that_may_grow_counts_as_able_to_move() {
    timely(|| {
        let (left, right) = (shared_pool(1), shared_pool(2));
        let other = Arc::clone(&left);
        let call = right
            .spawn(move || {
                let inner = Arc::clone(&other);
                let through_left = other.spawn(move || inner.max_workers()).unwrap();
                through_left.into_result()
            })
            .unwrap();
        let back = Arc::clone(&right);
        let waits = left.spawn(move || back.spawn(|| 5).unwrap().into_result()).unwrap();
        assert_eq!(waits.into_result().unwrap().unwrap(), 5);
        assert_eq!(call.into_result().unwrap().unwrap(), 1);
    });
}

#[test]
fn a_thread_outside_of_calls_never_gets_the_error() {
    timely(|| {
        let pool = shared_pool(1);
        let futures = Futures::<bool>::new();
        let there = futures.clone();
        let call = pool.spawn(move || there.get()[0].result().is_err()).unwrap();
        futures.fill(vec![call]);
        assert!(futures.get()[0].result().unwrap()); // the call got it, and this thread its result
    });
}
