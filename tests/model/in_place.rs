//! Running in place: when a waiting worker does, and when it leaves the call to another one.

use std::sync::Arc;
use std::time::Duration;

use concurrent::futures::{Future, Promise, ReturnWhen, RunInPlace, ThreadPoolExecutor, wait};

use crate::{Outcomes, checker::thread};

fn pool(workers: usize) -> Arc<ThreadPoolExecutor> {
    let builder = ThreadPoolExecutor::builder().max_workers(workers).thread_name_prefix("w");
    Arc::new(builder.build().unwrap())
}

// By the rule, against a worker that becomes free at any moment: who is known to be free gets the call.
#[test]
fn an_awaited_call_is_left_to_a_worker_that_has_become_free() {
    Outcomes::with_bound(Some(1), || {
        let pool = pool(2);
        let (gate, opened) = Promise::pair();
        let busy = Arc::new(pool.spawn(move || opened.into_result().unwrap()).unwrap());
        let (inner, other) = (Arc::clone(&pool), Arc::clone(&busy));
        let call = pool.spawn(move || {
            let awaited = inner.spawn(|| thread::current().id()).unwrap();
            let is_free = other.done();
            let in_place = awaited.into_result().unwrap() == thread::current().id();
            (is_free, in_place)
        });
        gate.set_result(()).unwrap();
        let seen = call.unwrap().into_result().unwrap();
        pool.shutdown();
        seen
    })
    .assert([(false, false), (false, true), (true, false)]);
}

/// A wait that may end early runs nothing as long as something can move. When nothing can any more, it
/// is the other thread that finds that out, by what it `awaits`, and this one that has the call.
///
/// One forced switch is enough: each of the two threads sleeps of its own accord, either first.
fn is_told(awaits: fn(Future<u32>) -> Future<u32>) {
    Outcomes::with_bound(Some(1), move || {
        let (own, other) = (pool(1), pool(1));
        let (tell, told) = Promise::pair();
        let (end, ended) = Promise::pair();
        let waits = other.spawn(move || {
            let outer: Future<u32> = told.into_result().unwrap();
            awaits(outer).into_result().unwrap()
        });
        let inner = Arc::clone(&own);
        let outer = own.spawn(move || {
            let calls = [inner.spawn(|| 1).unwrap(), waits.unwrap()];
            let outcome = wait(&calls, None, ReturnWhen::FirstCompleted);
            assert!(calls[0].done() && outcome.done.len() == 1);
            end.set_result(()).unwrap();
            2
        });
        assert!(tell.set_result(outer.unwrap()).is_ok());
        ended.into_result().unwrap();
        own.shutdown();
        other.shutdown();
    })
    .assert([()]);
}

#[test]
fn who_has_a_call_to_run_is_told_by_the_one_that_closes_the_circle() {
    is_told(|outer| outer);
}

// The circle would be opened by the deadline, but nobody need sit that out: in a model it never passes.
#[test]
fn who_has_a_call_to_run_is_told_by_the_one_that_waits_past_a_deadline() {
    is_told(|outer| outer.with_timeout(Duration::from_secs(3600)));
}

/// How a pool of two runs a call that another one waits for, while both come.
fn of_two(when: RunInPlace) -> Outcomes<bool> {
    Outcomes::with_bound(Some(1), move || {
        let pool = ThreadPoolExecutor::builder().max_workers(2).run_in_place(when);
        let pool = Arc::new(pool.build().unwrap());
        let inner = Arc::clone(&pool);
        let call = pool.spawn(move || {
            let other = inner.spawn(|| thread::current().id()).unwrap();
            other.into_result().unwrap() == thread::current().id()
        });
        let in_place = call.unwrap().into_result().unwrap();
        pool.shutdown();
        in_place
    })
}

// Running in place against the queue: the call runs once, wherever
#[test]
fn an_awaited_call_is_run_in_place_or_by_another_worker() {
    of_two(RunInPlace::Always).assert([false, true]);
}

// The rule: never while another worker is free, or can be started
#[test]
fn an_awaited_call_is_left_to_a_worker_that_is_free_or_can_be_started() {
    of_two(RunInPlace::IfNobodyIsFree).assert([false]);
    of_two(RunInPlace::IfStuck).assert([false]);
}
