//! Waits that could never end are refused, in one of the calls that make the circle.

use std::sync::Arc;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ReturnWhen, as_completed, wait};

use crate::support::{Futures, Pool, shared_pool, timely};

/// How a call waits for the others.
#[derive(Clone, Copy, Debug)]
enum How {
    Result,
    All,
    First,
    AsCompleted,
}

/// Waits for `calls`, and gives the deadlock if that is what comes of it.
fn wait_for(how: How, calls: &[&Future<Option<String>>]) -> Option<String> {
    let undone = match how {
        How::Result => calls.to_vec(),
        How::All => wait(calls.iter().copied(), None, ReturnWhen::AllCompleted).not_done,
        How::First => {
            let outcome = wait(calls.iter().copied(), None, ReturnWhen::FirstCompleted);
            if outcome.done.is_empty() { outcome.not_done } else { Vec::new() }
        }
        How::AsCompleted => {
            as_completed(calls.iter().copied()).filter(|call| !call.done()).collect()
        }
    };
    undone.into_iter().find_map(|call| match call.result() {
        Err(Error::Deadlock(text)) => Some(text.to_string()),
        _ => None,
    })
}

/// A circle of calls, one for each pool given: each waits for the next. Returns the deadlocks.
fn circle(pools: &[Pool], how: How) -> Vec<String> {
    let futures = Futures::new();
    let length = pools.len();
    let calls = pools
        .iter()
        .enumerate()
        .map(|(index, pool)| {
            let futures = futures.clone();
            pool.spawn(move || wait_for(how, &[&futures.get()[(index + 1) % length]])).unwrap()
        })
        .collect();
    futures.fill(calls);
    futures.get().iter().filter_map(|call| call.result().unwrap().clone()).collect()
}

// F87: the second program of Python's documentation
#[test]
fn circles_of_2_3_and_50_calls_are_broken_in_one_place() {
    for how in [How::Result, How::All, How::First, How::AsCompleted] {
        for length in [2, 3, 50] {
            let errors = timely(move || circle(&vec![shared_pool(length); length], how));
            assert_eq!(errors.len(), 1, "{how:?} {length}: {errors:?}");
        }
    }
}

#[test]
fn a_circle_in_fewer_workers_than_calls_is_broken() {
    for workers in 1..=4 {
        let errors = timely(move || circle(&vec![shared_pool(workers); 5], How::Result));
        assert_eq!(errors.len(), 1, "{workers}: {errors:?}");
    }
}

#[test]
fn circles_across_two_and_three_pools_are_broken() {
    for how in [How::Result, How::All, How::AsCompleted] {
        let errors = timely(move || circle(&[shared_pool(1), shared_pool(1)], how));
        assert_eq!(errors.len(), 1, "{errors:?}");
        let errors = timely(move || circle(&[shared_pool(1), shared_pool(2), shared_pool(1)], how));
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
}

#[test]
fn the_error_names_the_calls_and_the_pools() {
    fn waits_for_itself(futures: Futures<Option<String>>) -> Option<String> {
        wait_for(How::Result, &[&futures.get()[0]])
    }
    let text = timely(|| {
        let futures = Futures::new();
        let builder = concurrent::futures::ThreadPoolExecutor::builder();
        let pool = builder.max_workers(1).thread_name_prefix("solo").build().unwrap();
        let call = pool.submit(waits_for_itself, futures.clone()).unwrap();
        futures.fill(vec![call]);
        futures.get()[0].result().unwrap().clone().unwrap()
    });
    assert!(text.contains("waits_for_itself"), "{text}");
    assert!(text.contains("running in solo"), "{text}");
}

// A pool whose workers are all blocked on calls queued in another such pool
#[test]
fn two_pools_whose_workers_wait_for_calls_queued_in_the_other_are_freed() {
    let errors = timely(|| {
        let (left, right) = (shared_pool(2), shared_pool(2));
        let begun = Arc::new(std::sync::Barrier::new(4));
        // All four workers begin, then queue a call in the other pool and wait for it.
        let calls: Vec<_> = [(&left, &right), (&left, &right), (&right, &left), (&right, &left)]
            .into_iter()
            .map(|(own, other)| {
                let (begun, other) = (Arc::clone(&begun), Arc::clone(other));
                own.spawn(move || {
                    begun.wait();
                    let queued = other.spawn(|| 1).unwrap();
                    queued.into_result()
                })
                .unwrap()
            })
            .collect();
        calls.into_iter().map(|call| call.into_result().unwrap()).collect::<Vec<_>>()
    });
    let deadlocks = errors.iter().filter(|result| matches!(result, Err(Error::Deadlock(_))));
    assert!((1..=2).contains(&deadlocks.count()), "{errors:?}");
}

#[test]
fn an_and_with_one_stuck_branch_is_refused_and_an_or_is_not() {
    let (all, any) = timely(|| {
        let pool = shared_pool(2);
        let futures = Futures::new();
        let (there, good) = (futures.clone(), pool.spawn(|| None).unwrap());
        good.result().unwrap();
        let call = pool.spawn(move || {
            let calls = there.get();
            let all = wait_for(How::All, &[&calls[0], &calls[1]]);
            let any = wait_for(How::First, &[&calls[0], &calls[1]]);
            Some(format!("{} {}", all.is_some(), any.is_some()))
        });
        futures.fill(vec![call.unwrap(), good]);
        let text = futures.get()[0].result().unwrap().clone().unwrap();
        let (all, any) = text.split_once(' ').unwrap();
        (all == "true", any == "true")
    });
    assert!(all && !any);
}

#[test]
fn waiting_for_a_failure_goes_on_until_only_stuck_calls_are_left() {
    timely(|| {
        let pool = shared_pool(3);
        let futures = Futures::<Option<String>>::new();
        let there = futures.clone();
        let gate = Arc::new(std::sync::Barrier::new(2));
        let other = Arc::clone(&gate);
        let good = pool
            .spawn(move || {
                other.wait();
                None
            })
            .unwrap();
        let call = pool
            .spawn(move || {
                let calls = there.get();
                gate.wait();
                let both = [&calls[0], &calls[1]];
                let outcome = wait(both, None, ReturnWhen::FirstException);
                Some(format!("{} {}", outcome.done.len(), outcome.not_done.len()))
            })
            .unwrap();
        futures.fill(vec![call, good]);
        assert_eq!(futures.get()[0].result().unwrap().as_deref(), Some("1 1"));
    });
}

#[test]
fn a_wait_for_all_is_stuck_by_one_of_them_though_another_may_come() {
    timely(|| {
        let pool = shared_pool(2);
        let (promise, pending) = Promise::<Option<String>>::pair();
        let futures = Futures::new();
        let there = futures.clone();
        let all = pool.spawn(move || wait_for(How::All, &[&there.get()[1], &pending])).unwrap();
        let there = futures.clone();
        let one = pool.spawn(move || wait_for(How::Result, &[&there.get()[0]])).unwrap();
        futures.fill(vec![all, one]);
        // One of them ends while nobody keeps the promise.
        let ended = wait(futures.get(), None, ReturnWhen::FirstCompleted).done;
        let deadlock = ended[0].result().unwrap().clone();
        promise.set_result(None).unwrap();
        assert!(deadlock.is_some());
    });
}
