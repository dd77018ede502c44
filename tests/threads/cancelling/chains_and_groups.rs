//! `request_cancel` through chains and groups, and who else is asked to stop.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use concurrent::futures::{
    CancelToken, Future, Promise, ThreadPoolExecutor, first_ok, is_cancel_requested, join_all,
};

use crate::support::{Pool, shared_pool, timely};

/// A call that runs until it is asked to stop. Returns when it does.
fn runs_until_asked(pool: &ThreadPoolExecutor) -> Future<&'static str> {
    let (started, starts) = channel();
    let call = pool.spawn(move || {
        started.send(()).unwrap();
        while !is_cancel_requested() {
            std::hint::spin_loop();
            std::thread::yield_now();
        }
        "asked"
    });
    starts.recv().unwrap();
    call.unwrap()
}

#[test]
fn the_running_source_of_a_chain_is_asked() {
    timely(|| {
        let pool = shared_pool(1);
        let call = runs_until_asked(&pool).map(str::len).and_then(Future::ready);
        assert!(!call.cancel());
        assert!(call.request_cancel());
        assert_eq!(*call.result().unwrap(), 5);
        assert!(!call.request_cancel(), "it was done");
    });
}

#[test]
fn the_pending_source_of_a_chain_is_cancelled() {
    let (promise, future) = Promise::<u8>::pair();
    let call = future.map(|n| n + 1).or_else(|_| Future::ready(0));
    assert!(call.request_cancel());
    assert!(call.cancelled() && call.request_cancel());
    assert!(promise.set_result(1).is_err());
}

#[test]
fn the_second_call_of_a_chain_is_asked() {
    timely(|| {
        let (first, future) = Promise::<()>::pair();
        let pool = shared_pool(1);
        let second = runs_until_asked(&pool);
        let call = future.and_then(move |()| second);
        first.set_result(()).unwrap();
        assert!(call.request_cancel());
        assert_eq!(*call.result().unwrap(), "asked");
    });
}

#[test]
fn a_function_of_a_chain_is_asked() {
    timely(|| {
        let (promise, future) = Promise::<()>::pair();
        let (entered, enters) = channel();
        let call = future.map(move |()| {
            entered.send(CancelToken::current().is_some()).unwrap();
            while !is_cancel_requested() {
                std::thread::yield_now();
            }
            1
        });
        let executor = std::thread::spawn(move || promise.set_result(()));
        assert!(enters.recv().unwrap());
        assert!(call.running() && !call.cancel());
        assert!(call.request_cancel());
        assert_eq!(*call.result().unwrap(), 1);
        executor.join().unwrap().unwrap();
    });
}

/// A pool whose one worker runs a call until that is asked, with the future, and a second, pending
/// one; the receiver tells when the running one has been asked.
fn running_and_pending() -> (Pool, [Future<&'static str>; 2], Receiver<()>) {
    let pool = shared_pool(1);
    let (told, tells) = channel();
    let running = runs_until_asked(&pool);
    let running = running.map(move |text| {
        told.send(()).unwrap();
        text
    });
    let pending = pool.spawn(|| "never").unwrap();
    (pool, [running, pending], tells)
}

#[test]
fn the_members_of_a_group_are_asked_and_the_group_is_cancelled() {
    timely(|| {
        let (_pool, members, told) = running_and_pending();
        let all = join_all([join_all(members)]).map(|all| all.len());
        assert!(all.request_cancel());
        assert!(all.cancelled());
        told.recv().unwrap();
    });
    timely(|| {
        let (_pool, members, told) = running_and_pending();
        let first = first_ok(members);
        assert!(first.request_cancel() && first.cancelled());
        told.recv().unwrap();
    });
}

#[test]
fn cancel_of_a_group_asks_nobody() {
    timely(|| {
        let pool = shared_pool(1);
        let (asked, asks) = channel();
        let (started, starts) = channel();
        let (gate, opens) = channel::<()>();
        let running = pool.spawn(move || {
            started.send(()).unwrap();
            opens.recv().unwrap();
            asked.send(is_cancel_requested()).unwrap();
        });
        starts.recv().unwrap();
        assert!(join_all([running.unwrap()]).cancel());
        gate.send(()).unwrap();
        assert!(!asks.recv().unwrap());
    });
}

#[test]
fn those_that_a_group_does_not_need_any_more_are_asked() {
    timely(|| {
        let (_pool, members, told) = running_and_pending();
        let first = first_ok(members.into_iter().chain([Future::ready("fast")]));
        assert_eq!(first.into_result().unwrap(), "fast");
        told.recv().unwrap();
    });
    timely(|| {
        let (_pool, members, told) = running_and_pending();
        let failed = Future::ready(()).and_then(|()| Err::<Future<_>, _>("no"));
        let all = join_all(members.into_iter().chain([failed]));
        assert!(all.into_result().is_err());
        told.recv().unwrap();
    });
}

type Compose = fn(Future<&'static str>) -> Future<usize>;

#[test]
fn with_timeout_of_every_kind_asks_what_runs_and_cancels_what_is_pending() {
    let kinds: [Compose; 6] = [
        |call| call.map(str::len),
        |call| call.and_then(|text| Future::ready(text.len())),
        |call| Future::ready(()).and_then(|()| call.map(str::len)),
        |call| call.or_else(|_| Future::ready("")).map(str::len),
        |call| join_all([call, Future::ready("")]).map(|all| all.len()),
        |call| first_ok([call]).map(Ok::<_, &str>).flatten().map(str::len),
    ];
    for (index, compose) in kinds.into_iter().enumerate() {
        timely(move || {
            let (pool, [running, pending], told) = running_and_pending();
            for call in [pending, running] {
                let limited = compose(call).with_timeout(Duration::from_millis(1));
                assert!(limited.into_result().unwrap_err().is_timeout(), "kind {index}");
            }
            told.recv().unwrap();
            pool.shutdown();
            assert_eq!(pool.stats().cancelled, 1, "kind {index}");
        });
    }
}
