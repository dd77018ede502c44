//! `map`, `and_then`, `or_else`, `flatten`.
//!
//! The grid: the source succeeds, fails, is cancelled, or its promise is dropped; before the chain
//! is made or after.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ThreadPoolExecutor};

use crate::support::{Counter, timely};

/// Deep enough to overflow any stack if a frame were spent on each link.
const LINKS: usize = if cfg!(miri) { 300 } else { 100_000 };

#[test]
fn map_applies_the_function_whether_the_source_is_done_or_not() {
    let before = Future::ready(3).map(|n| n * 2);
    assert!(before.done());
    assert_eq!(before.into_result().unwrap(), 6);

    let (promise, future) = Promise::pair();
    let after = future.map(|n: i32| n.to_string());
    assert!(!after.done() && !after.running());
    promise.set_result(8).unwrap();
    assert_eq!(after.into_result().unwrap(), "8");
}

#[test]
fn a_failure_passes_by_map_and_and_then_and_drops_their_functions() {
    let drops = Counter::new();
    let (promise, future) = Promise::<u8>::pair();
    let (a, b) = (drops.one(), drops.one());
    let end = future
        .map(move |n| {
            drop(a);
            n
        })
        .and_then(move |n| {
            drop(b);
            Future::ready(n)
        });
    promise.set_exception(Error::raised("no page")).unwrap();
    assert_eq!(drops.dropped(), 2);
    let error = end.result().unwrap_err();
    assert!(error.to_string().contains("no page"), "{error}");
    assert!(error.is_call_failure());
}

#[test]
fn a_value_passes_by_or_else_and_drops_its_function() {
    let drops = Counter::new();
    let token = drops.one();
    let end = Future::ready(1).or_else(move |_| {
        drop(token);
        Future::ready(2)
    });
    assert_eq!(drops.dropped(), 1);
    assert_eq!(end.into_result().unwrap(), 1);
}

/// Panics when it is dropped.
struct Breaks(Counter);

impl Drop for Breaks {
    fn drop(&mut self) {
        drop(self.0.one());
        panic!("the drop of an unused function");
    }
}

#[test]
fn an_unused_function_whose_drop_panics_harms_nobody() {
    let drops = Counter::new();
    let unused = || {
        let breaks = Breaks(drops.clone());
        move || {
            let _breaks = &breaks;
            1
        }
    };
    let failed = || Future::ready(Err::<u8, _>("no page")).flatten();
    let (map, and_then, or_else) = (unused(), unused(), unused());
    let ends = [
        failed().map(move |_| map()),
        failed().and_then(move |_| Future::ready(and_then())),
        failed().map(|n| n),
    ];
    for end in ends {
        assert!(end.into_result().unwrap_err().to_string().contains("no page"));
    }
    assert_eq!(drops.dropped(), 2);
    assert_eq!(
        Future::ready(7).or_else(move |_| Future::ready(or_else())).into_result().unwrap(),
        7
    );
    assert_eq!(drops.dropped(), 3);
    // The same by a cancel.
    for composed in [0, 1, 2] {
        let (_promise, future) = Promise::<u8>::pair();
        let unused = unused();
        let end = match composed {
            0 => future.map(move |_| unused()),
            1 => future.and_then(move |_| Future::ready(unused())),
            _ => future.or_else(move |_| Future::ready(unused())),
        };
        assert!(end.cancel() && end.cancelled());
    }
    assert_eq!(drops.dropped(), 6);
}

#[test]
fn or_else_makes_another_attempt_of_a_failure() {
    let (promise, future) = Promise::<u8>::pair();
    let end = future.or_else(|error| {
        assert!(error.to_string().contains("first"));
        Future::ready(2)
    });
    promise.set_exception(Error::raised("first")).unwrap();
    assert_eq!(end.into_result().unwrap(), 2);
}

#[test]
fn or_else_sees_a_broken_promise_but_no_cancel() {
    let (promise, future) = Promise::<u8>::pair();
    let end = future.or_else(|error| {
        assert!(matches!(error, Error::BrokenPromise));
        Future::ready(5)
    });
    drop(promise);
    assert_eq!(end.into_result().unwrap(), 5);

    let drops = Counter::new();
    let token = drops.one();
    let (_promise, future) = Promise::<u8>::pair();
    let end = future.or_else(move |_| {
        drop(token);
        Future::ready(5)
    });
    assert!(end.cancel());
    assert!(end.cancelled());
    assert_eq!(drops.dropped(), 1);
    assert!(end.into_result().unwrap_err().is_cancelled());
}

#[test]
fn a_panic_of_a_function_is_the_failure_of_the_composed_call() {
    let mapped = Future::ready(1).map(|n: u8| -> u8 { panic!("map {n}") });
    assert!(mapped.exception().unwrap().unwrap().to_string().contains("map 1"));
    let chained = Future::ready(1).and_then(|n: u8| -> Future<u8> { panic!("and_then {n}") });
    let chained = chained.or_else(|error| -> Future<u8> { panic!("or_else after {error}") });
    let error = chained.result().unwrap_err();
    assert!(matches!(error, Error::Panicked(_)));
    let text = error.to_string();
    assert!(text.contains("or_else after") && text.contains("and_then 1"), "{text}");
    assert!(text.contains("chains.rs"), "it has the place: {text}");
}

#[test]
fn a_function_that_makes_no_call_fails_the_composed_call() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    pool.shutdown();
    let end = Future::ready(1).and_then(move |n: u8| pool.submit(|n| n, n));
    assert!(matches!(end.into_result(), Err(Error::Shutdown)));
    let end = Future::ready(1).and_then(|_: u8| Err::<Future<u8>, _>("no second call"));
    assert!(end.into_result().unwrap_err().to_string().contains("no second call"));
}

#[test]
fn and_then_ends_as_the_second_call_does() {
    let (first, future) = Promise::pair();
    let (second, inner) = Promise::pair();
    let end = future.and_then(move |n: u8| inner.map(move |m: u8| n + m));
    first.set_result(1).unwrap();
    assert!(!end.done());
    second.set_result(2).unwrap();
    assert_eq!(end.into_result().unwrap(), 3);
}

#[test]
fn cancel_reaches_the_call_that_the_chain_waits_for() {
    let drops = Counter::new();
    let (first, future) = Promise::pair();
    let (second, inner) = Promise::<u8>::pair();
    let token = drops.one();
    let end = future.and_then(move |()| inner).map(move |n| (n, token));
    first.set_running_or_notify_cancel().unwrap();
    assert!(end.running() && !end.cancel(), "the first call runs");
    first.set_result(()).unwrap();
    assert!(!end.running() && !end.done(), "the second one is pending");
    assert!(end.cancel());
    assert!(end.cancelled() && end.done());
    assert_eq!(drops.dropped(), 1);
    assert!(!second.set_running_or_notify_cancel().unwrap());
}

#[test]
fn cancel_of_a_chain_cancels_a_pending_call_of_a_pool() {
    timely(|| {
        let drops = Counter::new();
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let (gate, closed) = channel::<()>();
        let running = pool.spawn(move || closed.recv().unwrap()).unwrap();
        let token = drops.one();
        let pending = pool.spawn(move || drop(token)).unwrap().map(|()| 1).map(|n| n + 1);
        assert!(pending.cancel());
        assert_eq!(drops.dropped(), 1);
        assert!(pending.result().unwrap_err().is_cancelled());
        gate.send(()).unwrap();
        running.result().unwrap();
    });
}

#[test]
fn a_source_cancelled_by_its_executor_cancels_the_chain() {
    let (promise, future) = Promise::<u8>::pair();
    let source = Future::ready(()).and_then(move |()| future);
    let end = source.map(|n| n + 1).or_else(|_| Future::ready(0));
    assert!(end.cancel());
    assert!(promise.set_result(1).is_err());
}

#[test]
fn the_function_runs_in_the_thread_that_ends_the_source_after_its_callbacks() {
    timely(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let (promise, future) = Promise::pair();
        let log = Arc::clone(&order);
        future.add_done_callback(move |_| log.lock().unwrap().push("callback"));
        let log = Arc::clone(&order);
        let mapped = future.map(move |()| {
            log.lock().unwrap().push("map");
            thread::current().id()
        });
        let log = Arc::clone(&order);
        mapped.add_done_callback(move |_| log.lock().unwrap().push("callback of map"));
        let executor = thread::spawn(move || {
            promise.set_result(()).unwrap();
            thread::current().id()
        });
        let id = executor.join().unwrap();
        assert_eq!(mapped.into_result().unwrap(), id);
        assert_eq!(*order.lock().unwrap(), ["callback", "map", "callback of map"]);
    });
}

#[test]
fn a_function_may_complete_and_await_other_chains() {
    timely(|| {
        let (inner_promise, inner) = Promise::pair();
        let inner = inner.map(|n: u8| n + 1);
        let (promise, future) = Promise::pair();
        let end = future.map(move |n: u8| {
            inner_promise.set_result(n).unwrap();
            inner.into_result().unwrap() + 1 // would hang if its chain waited for this one
        });
        promise.set_result(1).unwrap();
        assert_eq!(end.into_result().unwrap(), 3);
    });
}

#[test]
fn a_dropped_chain_runs_all_the_same() {
    let (sender, receiver) = channel();
    let (promise, future) = Promise::pair();
    drop(future.map(move |n: u8| sender.send(n).unwrap()));
    promise.set_result(4).unwrap();
    assert_eq!(receiver.try_recv(), Ok(4));
}

#[test]
fn values_that_share_nothing_may_be_chained() {
    let chained = Future::ready(std::cell::Cell::new(1)).map(|cell| cell.get() + 1);
    assert_eq!(chained.into_result().unwrap(), 2);
}

#[test]
fn a_hundred_thousand_links_are_completed_at_once() {
    timely(|| {
        let (promise, mut future) = Promise::pair();
        for _ in 0..LINKS {
            future = future.map(|n: usize| n + 1);
        }
        assert!(!future.running() && !future.cancelled());
        promise.set_running_or_notify_cancel().unwrap();
        assert!(future.running() && !future.cancel());
        promise.set_result(0).unwrap();
        assert_eq!(future.into_result().unwrap(), LINKS);
    });
}

#[test]
fn a_hundred_thousand_calls_follow_one_another() {
    timely(|| {
        let (promise, mut future) = Promise::pair();
        for n in 0..LINKS {
            future = match n % 3 {
                0 => future.and_then(|n: usize| Future::ready(n + 1)),
                1 => future.or_else(|_| Future::ready(0)),
                _ => future.map(|n| Ok::<_, Error>(n + 1)).flatten(),
            };
        }
        promise.set_result(0).unwrap();
        assert_eq!(future.into_result().unwrap(), LINKS - LINKS / 3);
    });
}

#[test]
fn a_hundred_thousand_links_are_cancelled_at_once() {
    timely(|| {
        let drops = Counter::new();
        let (promise, mut future) = Promise::<()>::pair();
        for _ in 0..LINKS {
            let token = drops.one();
            future = future.and_then(move |()| {
                drop(token);
                Future::ready(())
            });
        }
        assert!(future.cancel());
        assert!(future.cancelled());
        assert_eq!(drops.dropped(), LINKS);
        assert!(promise.set_result(()).is_err());
    });
}

#[test]
fn a_hundred_thousand_links_are_dropped_at_once() {
    timely(|| {
        let drops = Counter::new();
        for promise_first in [false, true] {
            let (promise, mut future) = Promise::<()>::pair();
            for _ in 0..LINKS {
                let token = drops.one();
                future = future.map(move |()| drop(token));
            }
            if promise_first {
                drop(promise);
                assert!(matches!(future.into_result(), Err(Error::BrokenPromise)));
            } else {
                drop(future);
                drop(promise);
            }
        }
        assert_eq!(drops.dropped(), 2 * LINKS);
    });
}

#[test]
fn a_call_that_follows_a_hundred_thousand_inside_each_other() {
    timely(|| {
        // Each second call is itself composed: and_then(and_then(and_then(...))).
        let (promise, mut inner) = Promise::pair();
        let mut firsts = Vec::new();
        for _ in 0..LINKS {
            let (first, future) = Promise::pair();
            inner = future.and_then(move |n: usize| inner.map(move |m| n + m));
            firsts.push(first);
        }
        firsts.iter().rev().for_each(|first| first.set_result(1).unwrap());
        assert!(!inner.running() && !inner.done());
        promise.set_result(0).unwrap();
        assert_eq!(inner.into_result().unwrap(), LINKS);
    });
}
