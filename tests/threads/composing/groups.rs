//! `join_all` and `first_ok`.
//!
//! The grid: a member succeeds, fails, is cancelled by its executor, or runs on; the group is waited
//! for, cancelled or dropped.

use std::cell::Cell;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use concurrent::Error;
use concurrent::futures::{
    Future, Promise, ShutdownOptions, ThreadPoolExecutor, first_ok, join_all,
};

use crate::support::{Counter, timely};

const MANY: usize = if cfg!(miri) { 200 } else { 100_000 };

fn pairs<T: Send + 'static>(count: usize) -> (Vec<Promise<T>>, Vec<Future<T>>) {
    (0..count).map(|_| Promise::pair()).unzip()
}

/// A call that a worker runs until something is sent.
fn running_call(pool: &ThreadPoolExecutor) -> (Future<bool>, Sender<()>) {
    let (started, starts) = channel();
    let (gate, closed) = channel();
    let call = pool.spawn(move || {
        started.send(()).unwrap();
        closed.recv().is_ok()
    });
    starts.recv().unwrap();
    (call.unwrap(), gate)
}

#[test]
fn join_all_gives_the_values_in_the_order_given() {
    let (promises, futures) = pairs(3);
    let all = join_all(futures);
    for index in [2, 0, 1] {
        assert!(!all.done() && !all.running());
        promises[index].set_result(index).unwrap();
    }
    assert_eq!(all.into_result().unwrap(), [0, 1, 2]);
}

#[test]
fn join_all_of_nothing_and_of_what_is_done() {
    assert!(join_all(Vec::<Future<u8>>::new()).into_result().unwrap().is_empty());
    let done = join_all([Future::ready(1), Future::ready(2)]);
    assert!(done.done());
    assert_eq!(done.into_result().unwrap(), [1, 2]);
}

#[test]
fn join_all_fails_with_the_first_failure_and_cancels_the_rest() {
    let drops = Counter::new();
    let (mut promises, futures) = pairs(4);
    let token = drops.one();
    let mut futures = futures.into_iter();
    let held = futures.next().unwrap().map(move |()| token); // dropped with the map's function
    let rest = futures.map(|call| {
        let drops = drops.clone();
        call.map(move |()| drops.one())
    });
    let all = join_all(std::iter::once(held).chain(rest));
    promises[1].set_running_or_notify_cancel().unwrap();
    promises[3].set_result(()).unwrap();
    assert_eq!(drops.dropped(), 0);
    promises[2].set_exception(Error::raised("the first")).unwrap();
    assert!(all.done());
    assert_eq!(drops.dropped(), 2, "what was gathered, and what the cancelled call captured");
    assert!(!promises[0].set_running_or_notify_cancel().unwrap(), "pending: cancelled");
    assert!(promises[1].set_exception(Error::raised("the second")).is_ok(), "running: goes on");
    assert!(all.into_result().unwrap_err().to_string().contains("the first"));
    promises.clear();
}

#[test]
fn a_member_cancelled_by_its_executor_cancels_join_all() {
    timely(|| {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let (running, gate) = running_call(&pool);
        let pending = pool.spawn(|| true).unwrap();
        let (other, promised) = Promise::pair();
        let all = join_all([running, pending, promised]);
        let options = ShutdownOptions::new().cancel_futures(true).wait(false);
        assert_eq!(pool.shutdown_with(options).cancelled, 1);
        assert!(all.cancelled());
        assert!(other.set_result(true).is_err());
        gate.send(()).unwrap();
    });
}

#[test]
fn cancelling_join_all_cancels_its_members_and_works_while_one_runs() {
    let (promises, futures) = pairs::<u8>(3);
    let all = join_all(futures).map(|values| values.len());
    promises[0].set_result(1).unwrap();
    promises[1].set_running_or_notify_cancel().unwrap();
    assert!(!all.running());
    assert!(all.cancel());
    assert!(all.cancelled());
    assert!(promises[1].set_result(2).is_ok());
    assert!(promises[2].set_result(3).is_err());
}

#[test]
fn first_ok_gives_the_first_success_and_cancels_the_rest() {
    let (promises, futures) = pairs(4);
    let first = first_ok(futures);
    promises[0].set_exception(Error::raised("no")).unwrap();
    promises[1].set_running_or_notify_cancel().unwrap();
    assert!(!first.done());
    promises[2].set_result("yes").unwrap();
    assert!(promises[1].set_result("too late").is_ok());
    assert!(promises[3].set_result("never").is_err());
    assert_eq!(first.into_result().unwrap(), "yes");
}

#[test]
fn first_ok_fails_as_the_last_one_that_failed() {
    let (promises, futures) = pairs::<u8>(3);
    let first = first_ok(futures);
    for index in [1, 2, 0] {
        promises[index].set_exception(Error::raised(format!("number {index}"))).unwrap();
    }
    assert!(first.into_result().unwrap_err().to_string().contains("number 0"));
}

#[test]
fn first_ok_of_failed_and_cancelled_calls_fails_and_of_cancelled_ones_is_cancelled() {
    timely(|| {
        for with_failure in [false, true] {
            let pool = ThreadPoolExecutor::new(1).unwrap();
            let (running, gate) = running_call(&pool);
            let mut calls = vec![pool.spawn(|| true).unwrap(), pool.spawn(|| true).unwrap()];
            if with_failure {
                let failed = Future::ready(()).and_then(|()| Err::<Future<bool>, _>("it failed"));
                calls.insert(1, failed);
            }
            let first = first_ok(calls);
            pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
            assert!(first.done());
            assert_eq!(first.cancelled(), !with_failure);
            if let Some(error) = first.exception().ok().flatten() {
                assert!(error.to_string().contains("it failed"));
            }
            gate.send(()).unwrap();
            running.result().unwrap();
        }
    });
}

#[test]
fn first_ok_of_nothing_is_an_invalid_argument() {
    let error = first_ok(Vec::<Future<u8>>::new()).into_result().unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)));
    assert_eq!(error.to_string(), "first_ok needs at least one future");
}

#[test]
fn cancelling_first_ok_cancels_all() {
    let (promises, futures) = pairs::<u8>(2);
    let first = first_ok(futures);
    assert!(first.cancel() && first.cancelled());
    assert!(promises.iter().all(|promise| promise.set_result(1).is_err()));
}

#[test]
fn a_dropped_group_goes_on() {
    let (sender, receiver) = channel();
    let (promises, futures) = pairs::<u8>(2);
    drop(join_all(futures).map(move |values| sender.send(values).unwrap()));
    promises.iter().for_each(|promise| promise.set_result(1).unwrap());
    assert_eq!(receiver.try_recv(), Ok(vec![1, 1]));
}

#[test]
fn groups_of_values_that_share_nothing() {
    let all = join_all([Future::ready(Cell::new(1)), Future::ready(Cell::new(2))]);
    assert_eq!(all.into_result().unwrap().iter().map(Cell::get).sum::<i32>(), 3);
}

#[test]
fn exactly_one_of_two_threads_decides() {
    timely(|| {
        for _ in 0..if cfg!(miri) { 10 } else { 1_000 } {
            let drops = Counter::new();
            let (promises, futures) = pairs(2);
            let first = first_ok(futures);
            let threads = promises.into_iter().map(|promise| {
                let token = drops.one();
                thread::spawn(move || promise.set_result(token).is_ok())
            });
            let completed: usize = threads
                .collect::<Vec<_>>()
                .into_iter()
                .map(|t| usize::from(t.join().unwrap()))
                .sum();
            assert!(completed >= 1);
            let token = first.into_result().unwrap();
            assert_eq!(drops.dropped(), 1);
            drop(token);
            assert_eq!(drops.dropped(), 2);
        }
    });
}

#[test]
fn many_members_of_one_group() {
    timely(|| {
        let (promises, futures) = pairs(MANY);
        let all = join_all(futures);
        promises.iter().enumerate().for_each(|(n, promise)| promise.set_result(n).unwrap());
        assert!(all.into_result().unwrap().into_iter().eq(0..MANY));

        let (promises, futures) = pairs::<()>(MANY);
        let all = join_all(futures);
        promises[MANY / 2].set_exception(Error::raised("one")).unwrap();
        assert!(all.exception().unwrap().is_some());
        assert!(promises.iter().all(|promise| promise.set_result(()).is_err()));
    });
}

#[test]
fn groups_nested_deeply_are_completed_cancelled_and_dropped() {
    timely(|| {
        for fate in ["complete", "cancel", "drop"] {
            let (promise, mut future) = Promise::pair();
            for _ in 0..MANY {
                future = first_ok([future]);
            }
            match fate {
                "complete" => {
                    promise.set_result(1).unwrap();
                    assert_eq!(future.into_result().unwrap(), 1);
                }
                "cancel" => {
                    assert!(future.cancel());
                    assert!(promise.set_result(1).is_err());
                }
                _ => {
                    drop(future);
                    drop(promise);
                }
            }
        }
    });
}
