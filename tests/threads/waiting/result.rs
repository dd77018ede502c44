//! Waiting for one call: `result`, `exception`, and their time limits.

use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{
    Future, MapOptions, Promise, ReturnWhen, ShutdownOptions, as_completed_timeout, wait,
};

use crate::support::{
    MOMENT, at_many_distances, failed, finished, pending, pool, rounds, running, six, timely,
};

// F18, F50, F61: the longest time there is never overflows
#[test]
fn the_longest_timeout_is_accepted_everywhere() {
    timely(|| {
        let pool = pool(2);
        let call = || pool.spawn(|| 5).unwrap();
        assert_eq!(*call().result_timeout(Duration::MAX).unwrap(), 5);
        assert!(call().exception_timeout(Duration::MAX).unwrap().is_none());
        let calls = [call(), call()];
        assert_eq!(wait(&calls, Duration::MAX, ReturnWhen::AllCompleted).done.len(), 2);
        assert_eq!(as_completed_timeout(&calls, Duration::MAX).map(Result::unwrap).count(), 2);
        let options = MapOptions::new().timeout(Duration::MAX);
        assert_eq!(
            pool.map_with(options, |n: i32| n, 0..3).unwrap().map(Result::unwrap).count(),
            3
        );
        let report = pool.shutdown_with(ShutdownOptions::new().timeout(Duration::MAX));
        assert!(report.is_complete());
    });
}

// F18: also on what is done
#[test]
fn no_time_at_all_is_a_poll() {
    let (_promise, done) = finished(1);
    assert_eq!(*done.result_timeout(Duration::ZERO).unwrap(), 1);
    assert_eq!(*done.result_timeout(Duration::from_nanos(1)).unwrap(), 1);
}

// F34, F35: there is no "exception None" and no exception that is false
#[test]
fn an_exception_is_always_a_failure() {
    let (promise, future): (_, Future<()>) = pending();
    promise.set_exception(concurrent::Error::raised("")).unwrap();
    assert!(future.exception().unwrap().is_some());
    assert!(future.result().is_err());
}

// case 25, F16, F18
#[test]
fn result_without_waiting_tells_the_state() {
    let results = six().map(|(_promise, future)| {
        future.result_timeout(Duration::ZERO).copied().map_err(|error| error.to_string())
    });
    let unfinished = || Err("1 (of 1) futures unfinished".to_owned());
    let cancelled = || Err("the call was cancelled".to_owned());
    let raised = Err("the call returned an error: disk".to_owned());
    assert_eq!(results, [unfinished(), unfinished(), cancelled(), cancelled(), raised, Ok(42)]);
}

// case 26, F36
#[test]
fn a_blocked_result_is_woken_by_the_value() {
    timely(|| {
        at_many_distances(
            |future| future.result().copied(),
            |promise| promise.set_result(42).unwrap(),
            |result| assert_eq!(result.unwrap(), 42),
        );
    });
}

// case 27, F11: no executor has to notice the cancel first
#[test]
fn a_blocked_result_is_woken_by_a_cancel() {
    timely(|| {
        for distance in 0..100 {
            let (promise, future) = Promise::<i32>::pair();
            let future = std::sync::Arc::new(future);
            let other = std::sync::Arc::clone(&future);
            let thread = std::thread::spawn(move || other.result().copied());
            (0..distance * 2).for_each(|_| std::thread::yield_now());
            assert!(future.cancel());
            assert!(thread.join().unwrap().unwrap_err().is_cancelled());
            drop(promise);
        }
    });
}

// case 28, F16
#[test]
fn exception_without_waiting_tells_the_state() {
    let seen = six().map(|(_promise, future)| match future.exception_timeout(Duration::ZERO) {
        Ok(None) => "none".to_owned(),
        Ok(Some(error)) => format!("some {error}"),
        Err(error) => error.to_string(),
    });
    let unfinished = "1 (of 1) futures unfinished";
    let cancelled = "the call was cancelled";
    let raised = "some the call returned an error: disk";
    assert_eq!(seen, [unfinished, unfinished, cancelled, cancelled, raised, "none"]);
}

// case 29
#[test]
fn a_blocked_exception_is_woken_by_the_error() {
    timely(|| {
        at_many_distances(
            |future| future.exception().map(|error| error.map(ToString::to_string)),
            |promise| promise.set_exception(Error::raised("no disk")).unwrap(),
            |seen| assert!(seen.unwrap().unwrap().ends_with("no disk")),
        );
    });
}

// F17: any number of times, from any number of threads; the value is shared
#[test]
fn many_threads_borrow_one_result() {
    let (promise, future) = running::<String>();
    let addresses: Vec<usize> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| std::ptr::from_ref(future.result().unwrap()).addr()))
            .collect();
        promise.set_result(String::from("shared")).unwrap();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(addresses.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(future.result().unwrap(), "shared");
}

// F19: asking again changes nothing about the failure
#[test]
fn the_same_failure_comes_back_every_time() {
    let (_promise, future) = failed::<()>("same");
    let texts: Vec<String> = (0..3).map(|_| future.result().unwrap_err().to_string()).collect();
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
    let borrowed = std::ptr::from_ref(future.exception().unwrap().unwrap());
    assert_eq!(borrowed, std::ptr::from_ref(future.exception().unwrap().unwrap()));
}

// F16, F18: the timeout is for the wait only and does not touch the call
#[test]
fn a_wait_that_timed_out_leaves_the_call_alone() {
    let (promise, future) = running();
    let error = future.result_timeout(MOMENT).unwrap_err();
    assert!(error.is_timeout());
    assert!(future.exception_timeout(MOMENT).unwrap_err().is_timeout());
    assert!(future.running());
    promise.set_result(7).unwrap();
    assert_eq!(*future.result().unwrap(), 7);
}

// F16: a timeout that expires while the call ends is one or the other, never a hang
#[test]
fn a_timeout_that_races_the_end_is_one_or_the_other() {
    timely(|| {
        let pool = pool(1);
        for round in 0..rounds(5_000) {
            let call = pool.spawn(move || round).unwrap();
            match call.result_timeout(Duration::from_nanos(100 * (round as u64 % 200))) {
                Ok(value) => assert_eq!(*value, round),
                Err(error) => assert!(error.is_timeout()),
            }
            assert_eq!(call.into_result().unwrap(), round);
        }
    });
}
