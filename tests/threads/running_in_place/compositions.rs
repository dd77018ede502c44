//! A worker that waits for a composed call runs in place what it depends on.
//!
//! The grid: each way to compose, waited for in the only worker of the pool that its calls are
//! queued in, by each way to wait; what it depends on is known before the wait, or comes up later.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{
    Future, Promise, ReturnWhen, ThreadPoolExecutor, as_completed, first_ok, join_all, wait,
};

use crate::support::{Pool, in_only_worker, shared_pool, timely};

const LATE: Duration = Duration::from_secs(3600);

const LINKS: usize = if cfg!(miri) { 100 } else { 100_000 };

type Wait = fn(Future<usize>) -> Result<usize, Error>;

/// Each way to wait without a time limit.
const WAITS: [Wait; 4] = [
    |call| call.into_result(),
    |call| {
        assert_eq!(wait([&call], None, ReturnWhen::AllCompleted).not_done.len(), 0);
        call.into_result()
    },
    |call| {
        assert_eq!(wait([&call], None, ReturnWhen::FirstCompleted).done.len(), 1);
        call.into_result()
    },
    |call| as_completed([call]).next().unwrap().into_result(),
];

/// A call of `pool` that gives `n`.
fn call(pool: &ThreadPoolExecutor, n: usize) -> Future<usize> {
    pool.spawn(move || n).unwrap()
}

/// Each way to compose; all give 3.
fn compositions(pool: &Pool) -> Vec<(&'static str, Future<usize>)> {
    let fails = || pool.spawn(|| -> usize { panic!("of a test") }).unwrap();
    let (one, two) = (Arc::clone(pool), Arc::clone(pool));
    vec![
        ("map", call(pool, 2).map(|n| n + 1)),
        ("and_then", call(pool, 2).and_then(move |n| one.spawn(move || n + 1))),
        ("or_else", fails().or_else(move |_| two.spawn(|| 3))),
        ("or_else of a success", call(pool, 3).or_else(|_| Future::ready(0))),
        ("flatten", pool.spawn(|| "3".parse::<usize>()).unwrap().flatten()),
        ("join_all", join_all([call(pool, 1), call(pool, 2)]).map(|all| all.iter().sum())),
        ("first_ok", first_ok([fails(), call(pool, 3), call(pool, 4)])),
        ("with_timeout", call(pool, 3).with_timeout(LATE)),
        (
            "groups of groups",
            join_all([first_ok([fails().map(|n| n + 1), call(pool, 1)]), call(pool, 2)])
                .map(|all| all.iter().sum()),
        ),
    ]
}

#[test]
fn every_composition_is_run_in_place_by_every_wait() {
    for (number, waits) in WAITS.into_iter().enumerate() {
        let of_what = in_only_worker(compositions).len();
        for index in 0..of_what {
            in_only_worker(move |pool| {
                let (what, composed) = compositions(pool).swap_remove(index);
                assert_eq!(waits(composed).unwrap(), 3, "{what}, wait number {number}");
            });
        }
    }
}

#[test]
fn what_is_run_in_place_runs_in_this_thread_and_nothing_else_does() {
    in_only_worker(|pool| {
        let here = thread::current().id();
        let other = pool.spawn(|| ()).unwrap();
        let next = Arc::clone(pool);
        let ids = pool
            .spawn(|| thread::current().id())
            .unwrap()
            .and_then(move |first| next.spawn(move || [first, thread::current().id()]));
        assert_eq!(ids.into_result().unwrap(), [here; 2]);
        assert!(!other.done());
    });
}

#[test]
fn what_comes_up_while_the_worker_is_blocked_is_run_in_place() {
    for round in 0..if cfg!(miri) { 4 } else { 400 } {
        timely(move || {
            let pool = shared_pool(1);
            let (first, future) = Promise::pair();
            let next = Arc::clone(&pool);
            let composed = future.and_then(move |n: usize| next.spawn(move || n + 1));
            let (failing, other) = Promise::pair();
            let next = Arc::clone(&pool);
            let other = other.or_else(move |_| next.spawn(|| 10));
            let both = join_all([composed, other]).map(|all| all.iter().sum());
            let (begun, begins) = channel();
            let call = pool.spawn(move || {
                begun.send(()).unwrap();
                WAITS[round % WAITS.len()](both)
            });
            begins.recv().unwrap();
            (0..round).for_each(|_| thread::yield_now());
            first.set_result(1).unwrap();
            failing.set_exception(Error::raised("of a test")).unwrap();
            assert_eq!(call.unwrap().into_result().unwrap().unwrap(), 12);
        });
    }
}

#[test]
fn what_comes_up_behind_a_deadline_is_run_in_place() {
    for round in 0..if cfg!(miri) { 4 } else { 100 } {
        timely(move || {
            let pool = shared_pool(1);
            let (first, future) = Promise::pair();
            let next = Arc::clone(&pool);
            let composed =
                future.and_then(move |n: usize| next.spawn(move || n + 1)).with_timeout(LATE);
            let call = pool.spawn(move || WAITS[round % WAITS.len()](composed)).unwrap();
            while pool.stats().blocked == 0 {
                thread::yield_now();
            }
            first.set_result(1).unwrap();
            assert_eq!(call.into_result().unwrap().unwrap(), 2);
        });
    }
}

#[test]
fn a_wait_with_a_time_limit_runs_nothing_in_place() {
    in_only_worker(|pool| {
        for (what, composed) in compositions(pool) {
            let waited = composed.result_timeout(Duration::from_millis(1));
            assert!(waited.unwrap_err().is_timeout(), "{what}");
            assert!(!composed.done(), "{what}");
        }
    });
}

#[test]
fn a_function_of_a_chain_may_wait_for_calls_of_its_pool() {
    in_only_worker(|pool| {
        let (one, two) = (Arc::clone(pool), Arc::clone(pool));
        let end = call(pool, 1)
            .map(move |n| n + call(&one, 2).into_result().unwrap())
            .and_then(move |n| call(&two, n + 3).map(|n| n + 4));
        assert_eq!(end.into_result().unwrap(), 10);
    });
}

#[test]
fn a_callback_in_a_worker_may_wait_for_calls_that_come_up() {
    timely(|| {
        let pool = shared_pool(1);
        let (gate, opens) = channel::<()>();
        let (sender, receiver) = channel();
        let call = pool.spawn(move || opens.recv().is_ok()).unwrap();
        let next = Arc::clone(&pool);
        let (first, future) = Promise::pair();
        let composed = future.and_then(move |n: usize| next.spawn(move || n + 1));
        let (begun, begins) = channel();
        call.add_done_callback(move |_| {
            begun.send(()).unwrap();
            sender.send(composed.into_result()).unwrap();
        });
        gate.send(()).unwrap();
        begins.recv().unwrap();
        first.set_result(1).unwrap();
        assert_eq!(receiver.recv().unwrap().unwrap(), 2);
        pool.shutdown();
    });
}

#[test]
fn a_hundred_thousand_calls_one_after_the_other_in_one_worker() {
    in_only_worker(|pool| {
        let mut end = call(pool, 0);
        for _ in 0..LINKS {
            let next = Arc::clone(pool);
            end = end.and_then(move |n| next.spawn(move || n + 1));
        }
        assert_eq!(end.into_result().unwrap(), LINKS);
    });
}

#[test]
fn a_group_of_a_hundred_thousand_in_one_worker() {
    in_only_worker(|pool| {
        let all = join_all((0..LINKS).map(|n| call(pool, n)));
        assert!(all.into_result().unwrap().into_iter().eq(0..LINKS));
    });
}

#[test]
fn a_worker_waits_for_a_large_group_of_another_pool() {
    let count = if cfg!(miri) { 20 } else { 20_000 };
    timely(move || {
        let (own, other) = (shared_pool(1), shared_pool(2));
        let sum = own.spawn(move || {
            let all = join_all((0..count).map(|n| call(&other, n)));
            all.into_result().unwrap().into_iter().sum::<usize>()
        });
        assert_eq!(sum.unwrap().into_result().unwrap(), count * (count - 1) / 2);
    });
}

#[test]
fn groups_nested_deeply_are_run_in_place() {
    in_only_worker(|pool| {
        let mut future = call(pool, 1);
        for _ in 0..LINKS {
            future = first_ok([future]);
        }
        assert_eq!(future.into_result().unwrap(), 1);
    });
}

#[test]
fn first_ok_runs_no_more_members_than_it_needs() {
    in_only_worker(|pool| {
        let (sender, receiver) = channel();
        let calls = (0..5).map(|n| {
            let sender = sender.clone();
            pool.spawn(move || {
                sender.send(n).unwrap();
                assert!(n >= 2, "of a test");
                n
            })
        });
        let first = first_ok(calls.map(Result::unwrap).collect::<Vec<_>>());
        assert_eq!(first.into_result().unwrap(), 2);
        drop(sender);
        assert_eq!(receiver.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    });
}
