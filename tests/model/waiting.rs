//! `wait` and `as_completed` against completion and cancel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ReturnWhen, ThreadPoolExecutor, as_completed, wait};

use crate::{Outcomes, checker::thread};

/// In a model this expires only at a moment that loom picks; see `src/sync/mod.rs`.
const NO_LIMIT: Option<Duration> = None;

// F40, F45
#[test]
fn wait_for_all_sees_completion_and_cancel() {
    Outcomes::with_bound(Some(3), || {
        let (promise, completed) = Promise::pair();
        let (_other, cancelled) = Promise::<u32>::pair();
        let cancelled = Arc::new(cancelled);
        let completed = Arc::new(completed);
        let executor = thread::spawn(move || promise.set_result(1).unwrap());
        let canceller = {
            let future = Arc::clone(&cancelled);
            thread::spawn(move || assert!(future.cancel()))
        };
        let both = [Arc::clone(&completed), Arc::clone(&cancelled)];
        let outcome = wait(both, NO_LIMIT, ReturnWhen::AllCompleted);
        assert_eq!((outcome.done.len(), outcome.not_done.len()), (2, 0));
        executor.join().unwrap();
        canceller.join().unwrap();
    })
    .assert([()]);
}

// F41
#[test]
fn wait_for_the_first_returns_with_one_or_both() {
    Outcomes::with_bound(Some(3), || {
        let (first, a) = Promise::pair();
        let (second, b) = Promise::pair();
        let one = thread::spawn(move || first.set_result(1).unwrap());
        let two = thread::spawn(move || second.set_result(2).unwrap());
        let outcome = wait([&a, &b], NO_LIMIT, ReturnWhen::FirstCompleted);
        one.join().unwrap();
        two.join().unwrap();
        let done = outcome.done.len();
        assert_eq!(done + outcome.not_done.len(), 2);
        done
    })
    .assert([1, 2]);
}

// F42
#[test]
fn wait_for_a_failure_passes_over_a_success() {
    Outcomes::with_bound(Some(3), || {
        let (good, a) = Promise::<u32>::pair();
        let (bad, b) = Promise::<u32>::pair();
        let one = thread::spawn(move || good.set_result(1).unwrap());
        let two = thread::spawn(move || drop(bad));
        let outcome = wait([&a, &b], NO_LIMIT, ReturnWhen::FirstException);
        assert!(outcome.done.contains(&&b));
        one.join().unwrap();
        two.join().unwrap();
        outcome.done.len()
    })
    .assert([1, 2]);
}

// F48, F53
#[test]
fn as_completed_yields_each_once_in_any_order() {
    Outcomes::with_bound(Some(3), || {
        let (first, a) = Promise::pair();
        let (_second, b) = Promise::pair();
        let a = Arc::new(a);
        let b = Arc::new(b);
        let one = thread::spawn(move || first.set_result(1).unwrap());
        let two = {
            let b = Arc::clone(&b);
            thread::spawn(move || assert!(b.cancel()))
        };
        let order: Vec<bool> = as_completed([a, b]).map(|future| future.cancelled()).collect();
        one.join().unwrap();
        two.join().unwrap();
        order
    })
    .assert([vec![false, true], vec![true, false]]);
}

#[test]
fn dropping_as_completed_early_leaves_no_waiter_behind() {
    Outcomes::with_bound(Some(3), || {
        let (first, a) = Promise::pair();
        let (second, b) = Promise::pair();
        let one = thread::spawn(move || first.set_result(1).unwrap());
        let two = thread::spawn(move || second.set_result(2).unwrap());
        let mut calls = as_completed([&a, &b]);
        let winner = usize::from(calls.next() == Some(&b));
        drop(calls);
        one.join().unwrap();
        two.join().unwrap();
        assert_eq!(*a.result().unwrap() + *b.result().unwrap(), 3);
        winner
    })
    .assert([0, 1]);
}

// A call waits for two in the queue of a pool whose only worker waits for that call, and one of the two
// is cancelled meanwhile. One forced switch meets the cancel before the verdict or after it. The moment
// between the verdict and the end of the interest in that call takes two, and minutes: of that alone
// `wait_set.rs` has a model, with as many as there may be.
#[test]
fn as_completed_in_a_deadlock_yields_each_once_against_a_cancel() {
    Outcomes::with_bound(Some(1), || {
        let pool = || ThreadPoolExecutor::builder().max_workers(1).build().unwrap();
        let (own, other) = (pool(), pool());
        let (tell, told) = Promise::pair();
        let waits = other.spawn(move || {
            let outer: Future<()> = told.into_result().unwrap();
            matches!(outer.into_result(), Err(Error::Deadlock(_)))
        });
        let calls = [(); 2].map(|()| Arc::new(other.spawn(|| ()).unwrap()));
        let cancelled = Arc::clone(&calls[0]);
        let yielded = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&yielded);
        let outer = own.spawn(move || {
            // Tells them apart: a call that is yielded twice counts as much as the other one and more.
            let number = |call: &Future<()>| if *call == *calls[0] { 1 } else { 10 };
            let sum = as_completed(calls.iter().map(|call| &**call)).map(number).sum();
            count.store(sum, Ordering::Relaxed);
        });
        assert!(tell.set_result(outer.unwrap()).is_ok());
        cancelled.cancel(); // or it comes too late: who was refused is gone, and the call is run
        let refused = waits.unwrap().into_result().unwrap();
        own.shutdown();
        other.shutdown();
        assert_eq!(yielded.load(Ordering::Relaxed), 11);
        refused
    })
    .assert([false, true]);
}
