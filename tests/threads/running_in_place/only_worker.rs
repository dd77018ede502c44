//! The only worker that waits runs the awaited call in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use concurrent::Error;
use concurrent::futures::{Future, MapOptions, ReturnWhen, as_completed, wait};

use crate::support::{OnceSlot, Pool, shared_pool, timely};

// F87: the first program of Python's documentation
#[test]
fn a_call_that_waits_for_one_queued_behind_it_gets_its_result() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let outer = pool.spawn(move || inner.spawn(|| thread::current().id())?.into_result());
        let result = outer.unwrap().into_result().unwrap().unwrap();
        assert_eq!(result, pool.spawn(|| thread::current().id()).unwrap().into_result().unwrap());
    });
}

fn chain(pool: &Pool, length: usize) -> Result<usize, Error> {
    let Some(rest) = length.checked_sub(1) else { return Ok(0) };
    let inner = Arc::clone(pool);
    Ok(pool.spawn(move || chain(&inner, rest))?.into_result()?? + 1)
}

/// Without `deep-stacks` it goes as deep as the stack of the worker allows.
#[test]
fn a_chain_of_a_hundred_thousand_waits_on_one_worker_returns() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let length = pool.spawn(move || chain(&inner, 100_000)).unwrap().into_result().unwrap();
        if cfg!(any(feature = "deep-stacks", miri)) {
            assert_eq!(length.unwrap(), 100_000);
        } else {
            let error = length.unwrap_err();
            assert!(matches!(error, Error::Deadlock(_)), "{error}");
            assert!(error.to_string().contains("a larger `stack_size`"), "{error}");
        }
    });
}

/// Each result lets another call in, which must not have all that wait looked at again: that would
/// be five thousand million looks.
#[test]
fn a_window_of_a_long_unordered_map_is_looked_at_once() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let call = pool.spawn(move || {
            let options = MapOptions::new().unordered(true).buffer_size(50_000);
            inner.map_with(options, |n: u64| n, 0..100_000)?.sum::<Result<u64, Error>>()
        });
        assert_eq!(call.unwrap().into_result().unwrap().unwrap(), 100_000 * 99_999 / 2);
    });
}

#[test]
fn wait_as_completed_and_map_run_in_place_on_one_worker() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let call = pool.spawn(move || {
            let calls = || (0..20).map(|n| inner.spawn(move || n).unwrap()).collect::<Vec<_>>();
            let all = wait(calls(), None, ReturnWhen::AllCompleted);
            assert_eq!((all.done.len(), all.not_done.len()), (20, 0));
            let first = wait(calls(), None, ReturnWhen::FirstCompleted);
            assert_eq!((first.done.len(), first.not_done.len()), (1, 19));
            let failed = wait(calls(), None, ReturnWhen::FirstException);
            assert_eq!(failed.done.len(), 20);
            let sum: i32 = as_completed(calls()).map(|call| call.into_result().unwrap()).sum();
            assert_eq!(sum, 190);
            let mapped: Vec<i32> = inner.map(|n| n * 2, 0..20).map(Result::unwrap).collect();
            assert_eq!(mapped, (0..20).map(|n| n * 2).collect::<Vec<_>>());
            for options in [
                MapOptions::new().unordered(true),
                MapOptions::new().unordered(true).buffer_size(3),
                MapOptions::new().chunk_size(7),
            ] {
                let map = inner.map_with(options, |n| n, 0..20).unwrap();
                assert_eq!(map.map(Result::unwrap).sum::<i32>(), 190);
            }
        });
        call.unwrap().into_result().unwrap();
    });
}

#[test]
fn only_the_awaited_call_is_run_in_place() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let order = Arc::new(AtomicUsize::new(0));
        let (other, awaited) = (Arc::clone(&order), Arc::clone(&order));
        let call = pool.spawn(move || {
            let other = inner.spawn(move || other.fetch_add(1, Ordering::Relaxed)).unwrap();
            let awaited = inner.spawn(move || awaited.fetch_add(1, Ordering::Relaxed)).unwrap();
            assert_eq!(awaited.into_result().unwrap(), 0);
            assert!(!other.done());
            other
        });
        assert_eq!(call.unwrap().into_result().unwrap().into_result().unwrap(), 1);
    });
}

#[test]
fn a_wait_with_a_timeout_runs_nothing_in_place() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let call = pool.spawn(move || {
            let queued = inner.spawn(|| ()).unwrap();
            let timeout = std::time::Duration::from_millis(2);
            queued.result_timeout(timeout).unwrap_err().is_timeout()
        });
        assert!(call.unwrap().into_result().unwrap());
    });
}

#[test]
fn a_panic_of_a_call_run_in_place_is_its_own() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let call = pool.spawn(move || {
            let failing = inner.spawn(|| -> () { panic!("inner") }).unwrap();
            failing.into_result().unwrap_err().to_string()
        });
        assert!(call.unwrap().into_result().unwrap().contains("inner"));
    });
}

#[test]
fn a_flattened_call_is_run_in_place() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let call = pool
            .spawn(move || inner.submit(str::parse::<u8>, "12").unwrap().flatten().into_result());
        assert_eq!(call.unwrap().into_result().unwrap().unwrap(), 12);
    });
}

/// A sum over a binary tree: every call waits for its two children.
fn tree(pool: &Pool, depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let child = || -> Future<u64> {
        let inner = Arc::clone(pool);
        pool.spawn(move || tree(&inner, depth - 1)).unwrap()
    };
    let (left, right) = (child(), child());
    left.into_result().unwrap() + right.into_result().unwrap()
}

#[test]
fn a_tree_of_waiting_calls_works_with_any_number_of_workers() {
    for workers in [1, 2, 3, 8] {
        timely(move || {
            let pool = shared_pool(workers);
            let inner = Arc::clone(&pool);
            assert_eq!(pool.spawn(move || tree(&inner, 12)).unwrap().into_result().unwrap(), 4096);
        });
    }
}

#[test]
fn the_place_of_a_call_that_ran_elsewhere_is_skipped() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&runs);
        let place = OnceSlot::new();
        let there = place.clone();
        let outer = pool.spawn(move || {
            let call = inner.spawn(move || counter.fetch_add(1, Ordering::Relaxed)).unwrap();
            call.result().unwrap();
            there.fill(call);
        });
        outer.unwrap().into_result().unwrap();
        assert!(place.get().done());
        pool.shutdown();
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    });
}

/// How the next call follows one that was run in place.
#[derive(Clone, Copy, Debug)]
enum After {
    Callback,
    Map,
    AndThen,
    OrElse,
}

/// Has a call of its own run in place, after which it goes on so, `depth` times.
fn after_each_other(pool: &Pool, after: After, depth: usize) -> usize {
    let frame = std::hint::black_box([1_u8; 1024]);
    let Some(rest) = depth.checked_sub(1) else { return 0 };
    let inner = Arc::clone(pool);
    let next = move || after_each_other(&inner, after, rest) + 1;
    let call = pool.spawn(move || assert!(!matches!(after, After::OrElse))).unwrap();
    let reached = match after {
        After::Callback => {
            let place = OnceSlot::new();
            let there = place.clone();
            call.add_done_callback(move |_| there.fill(next()));
            call.result().unwrap();
            *place.get()
        }
        After::Map => call.map(move |()| next()).into_result().unwrap(),
        After::AndThen => call.and_then(move |()| Future::ready(next())).into_result().unwrap(),
        After::OrElse => {
            let call = call.map(|()| 0).or_else(move |_| Future::ready(next()));
            call.into_result().unwrap()
        }
    };
    reached * usize::from(std::hint::black_box(&frame)[7])
}

#[test]
fn what_follows_calls_run_in_place_nests_as_deep_as_it_pleases() {
    for after in [After::Callback, After::Map, After::AndThen, After::OrElse] {
        timely(move || {
            let pool = shared_pool(1);
            let inner = Arc::clone(&pool);
            let depth = if cfg!(all(feature = "deep-stacks", not(miri))) { 3_000 } else { 5 };
            let call = pool.spawn(move || after_each_other(&inner, after, depth)).unwrap();
            assert_eq!(call.into_result().unwrap(), depth, "{after:?}");
        });
    }
}
