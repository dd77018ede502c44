//! Asking a running call to stop: `request_cancel` and cancel tokens.

use std::sync::mpsc;

use concurrent::futures::{CancelToken, is_cancel_requested};

use crate::support::{shared_pool, timely};

#[test]
fn a_running_call_learns_that_it_should_stop() {
    timely(|| {
        let pool = shared_pool(1);
        let (begun, begins) = mpsc::channel();
        let call = pool
            .spawn(move || {
                begun.send(is_cancel_requested()).unwrap();
                while !is_cancel_requested() {
                    std::thread::yield_now();
                }
                "stopped"
            })
            .unwrap();
        assert!(!begins.recv().unwrap());
        assert!(call.request_cancel());
        assert_eq!(*call.result().unwrap(), "stopped");
        assert!(!call.cancelled());
        assert!(!call.request_cancel(), "it is over");
    });
}

#[test]
fn a_pending_call_is_cancelled_by_the_request() {
    timely(|| {
        let pool = shared_pool(1);
        let (release, gate) = mpsc::channel::<()>();
        let blocker = pool.spawn(move || gate.recv().is_ok()).unwrap();
        let pending = pool.spawn(|| ()).unwrap();
        assert!(pending.request_cancel());
        assert!(pending.cancelled());
        release.send(()).unwrap();
        assert!(blocker.into_result().unwrap());
    });
}

#[test]
fn a_token_outlives_its_call_and_keeps_the_answer() {
    timely(|| {
        let pool = shared_pool(1);
        let (give, take) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let call = pool
            .spawn(move || {
                let early = CancelToken::current().unwrap();
                give.send(early).unwrap();
                gate.recv().unwrap();
                CancelToken::current().unwrap()
            })
            .unwrap();
        let early = take.recv().unwrap();
        assert!(!early.is_cancel_requested());
        call.request_cancel();
        assert!(early.is_cancel_requested());
        release.send(()).unwrap();
        let late = call.into_result().unwrap();
        assert!(late.is_cancel_requested(), "made after the request");
        assert!(early.is_cancel_requested(), "after the call");
        let untouched = pool.spawn(|| CancelToken::current().unwrap()).unwrap();
        assert!(!untouched.into_result().unwrap().is_cancel_requested());
    });
}

#[test]
fn there_is_no_token_outside_of_calls() {
    assert!(CancelToken::current().is_none());
    assert!(!is_cancel_requested());
}

#[test]
fn the_token_of_a_call_run_in_place_is_its_own() {
    timely(|| {
        let pool = shared_pool(1);
        let inner = std::sync::Arc::clone(&pool);
        let (begun, begins) = mpsc::channel();
        let (go, goes) = mpsc::channel::<()>();
        let outer = pool
            .spawn(move || {
                begun.send(()).unwrap();
                goes.recv().unwrap();
                let nested = inner.spawn(is_cancel_requested).unwrap().into_result().unwrap();
                (nested, is_cancel_requested())
            })
            .unwrap();
        begins.recv().unwrap();
        outer.request_cancel();
        go.send(()).unwrap();
        assert_eq!(outer.into_result().unwrap(), (false, true));
    });
}
