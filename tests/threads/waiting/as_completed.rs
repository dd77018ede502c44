//! `as_completed`: CPython's tests (case 41 to case 45) and more.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use concurrent::futures::{Future, Promise, as_completed, as_completed_timeout};

use crate::support::{Gate, MOMENT, cancelled, failed, finished, pending, pool, rounds, timely};

// case 41, F48
#[test]
fn every_future_comes_once_done_or_pending() {
    timely(|| {
        let pool = pool(2);
        let mut calls: Vec<_> = (0..20).map(|n| pool.spawn(move || n).unwrap()).collect();
        let (_a, good) = finished(100);
        let (_b, bad) = failed("bad");
        let (_c, gone) = cancelled();
        calls.extend([good, bad, gone]);
        let seen: Vec<&Future<i32>> = as_completed(&calls).collect();
        assert!(seen.iter().all(|future| future.done()));
        assert_eq!(seen.len(), calls.len());
        let distinct: HashSet<_> = seen.into_iter().collect();
        assert_eq!(distinct, calls.iter().collect());
    });
}

// case 42, F50, F51: done ones first, then the timeout, then nothing
#[test]
fn those_that_are_done_come_before_the_timeout() {
    for timeout in [Duration::ZERO, MOMENT] {
        let (_a, good) = finished(1);
        let (_b, open) = pending();
        let (_c, gone) = cancelled();
        let mut calls = as_completed_timeout([&open, &good, &gone], timeout);
        assert_eq!(calls.next().unwrap().unwrap(), &good);
        assert_eq!(calls.next().unwrap().unwrap(), &gone);
        assert!(calls.next().unwrap().unwrap_err().is_timeout());
        assert!(calls.next().is_none());
        assert!(calls.next().is_none());
    }
}

// case 43, F48
#[test]
fn a_repeated_future_comes_once() {
    let (_promise, future) = finished(1);
    let endless = std::iter::repeat_n(&future, 50);
    assert_eq!(as_completed(endless).collect::<Vec<_>>(), [&future]);
}

// case 44, F52
#[test]
fn the_iterator_keeps_no_yielded_future() {
    let futures: Vec<Arc<Future<usize>>> = (0..5).map(|n| Arc::new(finished(n).1)).collect();
    let mut calls = as_completed(futures.iter().cloned());
    for _ in &futures {
        let future = calls.next().unwrap();
        assert_eq!(Arc::strong_count(&future), 2, "ours in the list, and the one just yielded");
    }
    assert!(calls.next().is_none());
}

// case 45, F51
#[test]
fn the_timeout_says_how_many_of_how_many() {
    let pairs = [finished(1), finished(2), pending(), pending()];
    let error = as_completed_timeout(pairs.iter().map(|pair| &pair.1), Duration::ZERO)
        .find_map(Result::err)
        .unwrap();
    assert_eq!(error.to_string(), "2 (of 4) futures unfinished");
}

// F49: done ones in the order given, the rest in the order of completion
#[test]
fn pending_ones_come_in_the_order_of_completion() {
    timely(|| {
        let (promises, futures): (Vec<Promise<usize>>, Vec<_>) =
            (0..4).map(|_| Promise::pair()).unzip();
        promises[2].set_result(2).unwrap();
        let mut calls = as_completed(&futures);
        let mut next = || *calls.next().unwrap().result().unwrap();
        assert_eq!(next(), 2);
        for n in [3, 0, 1] {
            promises[n].set_result(n).unwrap();
        }
        assert_eq!([next(), next(), next()], [3, 0, 1]);
    });
}

// F55
#[test]
fn nothing_given_ends_at_once() {
    assert!(as_completed(Vec::<Future<()>>::new()).next().is_none());
    assert!(as_completed_timeout(Vec::<Future<()>>::new(), Duration::ZERO).next().is_none());
}

// F53: dropping it early cancels nothing and leaves nothing behind
#[test]
fn dropping_it_early_cancels_nothing() {
    let (promise, future) = pending();
    for _ in 0..rounds(20_000) {
        drop(as_completed([&future]));
        drop(as_completed_timeout([&future], Duration::ZERO));
    }
    assert!(!future.done());
    promise.set_result(1).unwrap();
    assert_eq!(as_completed([&future]).count(), 1);
}

// F48, F50: the size is known, and counts down
#[test]
fn its_size_is_exact() {
    let pairs = [finished(1), finished(2)];
    let mut calls = as_completed(pairs.iter().map(|pair| &pair.1));
    assert_eq!(calls.len(), 2);
    assert!(calls.next().is_some());
    assert_eq!(calls.len(), 1);
}

// F50: a timeout that can never pass does not end it
#[test]
fn the_longest_timeout_is_no_timeout() {
    timely(|| {
        let pool = pool(1);
        let gate = Gate::new();
        let call = {
            let gate = gate.clone();
            pool.spawn(move || gate.pass()).unwrap()
        };
        let mut calls = as_completed_timeout([&call], Duration::MAX);
        gate.open();
        assert_eq!(calls.next().unwrap().unwrap(), &call);
        assert!(calls.next().is_none());
    });
}

// F38, F48: 100,000 futures; quadratic cost would run into the watchdog
#[test]
fn a_hundred_thousand_futures_are_a_linear_matter() {
    timely(|| {
        let (promises, futures): (Vec<Promise<usize>>, Vec<_>) =
            (0..rounds(100_000)).map(|_| Promise::pair()).unzip();
        let calls = as_completed(&futures);
        let thread = std::thread::spawn(move || {
            for (n, promise) in promises.into_iter().enumerate().rev() {
                promise.set_result(n).unwrap();
            }
        });
        let sum: usize = calls.map(|future| *future.result().unwrap()).sum();
        assert_eq!(sum, futures.len() * (futures.len() - 1) / 2);
        thread.join().unwrap();
    });
}

// F50: `as_completed` takes its futures, and starts its clock, when it is called
#[test]
fn as_completed_starts_when_it_is_called() {
    let (promise, future) = pending();
    let calls = Cell::new(0);
    let counted = [&future].into_iter().inspect(|_| calls.set(calls.get() + 1));
    let mut iterator = as_completed_timeout(counted, Duration::from_nanos(1));
    assert_eq!(calls.get(), 1, "collected before the first next");
    let other = Promise::<i32>::pair().1;
    assert!(other.result_timeout(Duration::from_millis(1)).is_err()); // time passes
    assert!(iterator.next().unwrap().unwrap_err().is_timeout());
    promise.set_result(1).unwrap();
}

// F51: what is done is yielded, as by a map, however late it is asked for
#[test]
fn a_call_that_was_done_after_time_was_up_is_yielded() {
    let (first, second, third) = (pending(), pending(), pending());
    let futures = [&first.1, &second.1, &third.1];
    let mut calls = as_completed_timeout(futures, Duration::ZERO);
    second.0.set_result(2).unwrap();
    assert_eq!(calls.next().unwrap().unwrap(), &second.1, "Python raises here");
    assert!(first.1.cancel());
    assert_eq!(calls.next().unwrap().unwrap(), &first.1);
    assert_eq!(calls.next().unwrap().unwrap_err().to_string(), "1 (of 3) futures unfinished");
    third.0.set_result(3).unwrap();
    assert!(calls.next().is_none());
}
