//! A shutdown that asks running calls to stop.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use concurrent::futures::{
    CancelToken, FullQueue, ShutdownOptions, ThreadPoolExecutor, is_cancel_requested,
};

use crate::support::{Busy, bounded, builder, timely, until};

fn ask() -> ShutdownOptions {
    ShutdownOptions::new().request_cancel(true)
}

/// Runs until it is asked to stop.
fn endless() -> &'static str {
    until(is_cancel_requested);
    "stopped"
}

#[test]
fn a_shutdown_asks_all_running_calls_to_stop() {
    timely(|| {
        let pool = builder(2).build().unwrap();
        let both_run = Arc::new(Barrier::new(2));
        let calls = [(); 2].map(|()| {
            let both_run = Arc::clone(&both_run);
            let call = move || (both_run.wait(), is_cancel_requested(), endless());
            pool.spawn(call).unwrap()
        });
        assert!(pool.shutdown_with(ask()).is_complete());
        calls.into_iter().for_each(|call| assert_eq!(call.into_result().unwrap().2, "stopped"));
    });
}

#[test]
fn calls_that_start_later_are_asked_as_well() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        let busy = Busy::on(&pool);
        let waiting = pool.spawn(endless).unwrap();
        let report = pool.shutdown_with(ask().wait(false));
        assert_eq!((report.pending, report.running, report.cancelled), (1, 1, 0));
        busy.finish();
        assert_eq!(waiting.into_result().unwrap(), "stopped");
    });
}

#[test]
fn what_does_not_look_is_reported_when_time_is_up() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        let busy = Busy::on(&pool);
        let waiting = pool.spawn(|| ()).unwrap();
        let options = ask().cancel_futures(true).timeout(Duration::from_millis(1));
        let report = pool.shutdown_with(options);
        assert_eq!((report.pending, report.running, report.cancelled), (0, 1, 1));
        assert!(!report.is_complete() && waiting.cancelled());
        busy.finish();
        assert!(pool.shutdown_with(ShutdownOptions::new()).is_complete());
    });
}

#[test]
fn it_may_be_asked_after_a_shutdown_that_did_not() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        let (tell, told) = channel();
        let call = pool.spawn(move || (tell.send(is_cancel_requested()), endless())).unwrap();
        let report = pool.shutdown_with(ShutdownOptions::new().wait(false));
        assert!(!told.recv().unwrap());
        assert_eq!((report.is_complete(), call.done()), (false, false));
        assert!(pool.shutdown_with(ask()).is_complete());
        assert!(call.done());
    });
}

#[test]
fn tokens_hear_of_it() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        let (give, take) = channel();
        let call = pool.spawn(move || (give.send(CancelToken::current().unwrap()), endless()));
        let token = take.recv().unwrap();
        assert!(!token.is_cancel_requested());
        let call = call.unwrap();
        pool.shutdown_with(ask());
        assert!(token.is_cancel_requested());
        drop((pool, call));
        assert!(token.clone().is_cancel_requested(), "it outlives both");
    });
}

#[test]
fn a_call_run_in_place_hears_of_it() {
    timely(|| {
        let pool = Arc::new(builder(1).build().unwrap());
        let (tell, told) = channel();
        let outer = pool.spawn({
            let pool = Arc::downgrade(&pool);
            move || {
                let pool = pool.upgrade().unwrap();
                let inner = pool.spawn(move || (tell.send(()), endless())).unwrap();
                drop(pool);
                inner.into_result().unwrap().1
            }
        });
        told.recv().unwrap();
        pool.shutdown_with(ask().wait(false));
        assert_eq!(outer.unwrap().into_result().unwrap(), "stopped");
    });
}

#[test]
fn a_call_that_its_submitter_runs_hears_of_it() {
    timely(|| {
        let pool = Arc::new(bounded(1).when_full(FullQueue::RunInCaller).build().unwrap());
        let busy = Busy::on(&pool);
        let _waiting = pool.spawn(|| ()).unwrap();
        let here = std::thread::current().id();
        let call = pool.spawn({
            let pool: Arc<ThreadPoolExecutor> = Arc::clone(&pool);
            move || {
                assert_eq!(std::thread::current().id(), here);
                let before = is_cancel_requested();
                pool.shutdown_with(ask().wait(false));
                (before, is_cancel_requested())
            }
        });
        assert_eq!(call.unwrap().into_result().unwrap(), (false, true));
        busy.finish();
    });
}

#[test]
fn other_pools_are_not_asked() {
    timely(|| {
        let (one, other) = (builder(1).build().unwrap(), builder(1).build().unwrap());
        one.shutdown_with(ask());
        assert!(!other.spawn(is_cancel_requested).unwrap().into_result().unwrap());
        assert!(!is_cancel_requested(), "no call at all");
    });
}

#[test]
fn a_shutdown_with_a_time_limit_ends_when_all_calls_have() {
    timely(|| {
        let pool = Arc::new(builder(1).build().unwrap());
        let busy = Busy::on(&pool);
        let own = Arc::clone(&pool);
        let hour = ShutdownOptions::new().timeout(Duration::from_secs(3600));
        let shuts_down = std::thread::spawn(move || own.shutdown_with(hour));
        until(|| pool.spawn(|| ()).is_err());
        busy.finish();
        assert!(shuts_down.join().unwrap().is_complete());
        assert_eq!(pool.stats().workers, 0);
    });
}

// Inside of a call of another pool, where a wait without a limit would be in the registry.
#[test]
fn a_shutdown_in_a_call_ends_when_time_is_up() {
    timely(|| {
        let (pool, other) = (Arc::new(builder(1).build().unwrap()), builder(1).build().unwrap());
        let busy = Busy::on(&pool);
        let own = Arc::clone(&pool);
        let soon = ShutdownOptions::new().timeout(Duration::from_millis(1));
        let report = other.spawn(move || own.shutdown_with(soon)).unwrap().into_result().unwrap();
        assert_eq!(report.running, 1);
        busy.finish();
    });
}

// The second of two shutdowns in a circle gives up waiting, and nobody else who waits for that end.
#[test]
fn a_shutdown_that_does_not_wait_takes_nobody_along() {
    timely(|| {
        let [left, right, third] = [(); 3].map(|()| Arc::new(builder(1).build().unwrap()));
        let gates = [channel::<()>(), channel()];
        let [(open_left, left_opened), (open_right, right_opened)] = gates;
        let own = Arc::clone(&right);
        let in_left = left.spawn(move || (left_opened.recv().is_err(), own.shutdown()).0).unwrap();
        let own = Arc::clone(&left);
        let in_right =
            right.spawn(move || (right_opened.recv().is_err(), own.shutdown()).0).unwrap();
        let own = Arc::clone(&left);
        let in_third = third.spawn(move || own.shutdown()).unwrap();
        until(|| third.stats().blocked == 1);
        drop(open_left);
        until(|| left.stats().blocked == 1);
        drop(open_right); // this one closes the circle
        assert!(in_right.into_result().unwrap());
        assert!(in_left.into_result().unwrap());
        in_third.into_result().unwrap();
    });
}

// With a worker to spare in each, and nobody who waits for the calls.
#[test]
fn two_pools_shut_down_by_each_others_calls_end() {
    timely(|| {
        let (left, right) =
            (Arc::new(builder(2).build().unwrap()), Arc::new(builder(2).build().unwrap()));
        let begun = Arc::new(Barrier::new(2));
        let (ended, ends) = channel();
        for (own, other) in [(&left, &right), (&right, &left)] {
            own.prestart().unwrap();
            let (other, begun, ended) = (Arc::clone(other), Arc::clone(&begun), ended.clone());
            own.execute(move || {
                begun.wait();
                other.shutdown();
                ended.send(()).unwrap();
            })
            .unwrap();
        }
        ends.recv().unwrap();
        ends.recv().unwrap();
    });
}
