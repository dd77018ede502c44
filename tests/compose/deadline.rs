//! `Future::with_timeout`.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use concurrent::Error;
use concurrent::futures::{Future, Promise, ThreadPoolExecutor, first_ok, join_all};

use crate::{Drops, within};

const SOON: Duration = Duration::from_millis(2);
const LATE: Duration = Duration::from_secs(3600);

#[test]
fn a_call_that_is_not_done_in_time_fails_and_is_cancelled() {
    within(|| {
        let drops = Drops::default();
        let (promise, future) = Promise::<u8>::pair();
        let token = drops.token();
        let begin = Instant::now();
        let limited = future.map(move |_| drop(token)).with_timeout(SOON);
        let error = limited.result().unwrap_err();
        assert!(begin.elapsed() >= SOON);
        assert!(matches!(error, Error::Timeout { unfinished: 1, total: 1 }));
        assert!(limited.done() && !limited.cancelled());
        assert_eq!(drops.count(), 1, "gone before the failure was seen");
        assert!(promise.set_result(1).is_err());
    });
}

#[test]
fn a_call_that_ends_in_time_takes_its_deadline_with_it() {
    within(|| {
        let (promise, future) = Promise::pair();
        let limited = future.with_timeout(LATE);
        assert!(!limited.done() && !limited.running());
        promise.set_running_or_notify_cancel().unwrap();
        assert!(limited.running() && !limited.cancel());
        promise.set_result(5).unwrap();
        assert_eq!(limited.into_result().unwrap(), 5);
    });
}

#[test]
fn failures_and_cancels_pass_through() {
    let (promise, future) = Promise::<u8>::pair();
    let limited = future.with_timeout(LATE);
    promise.set_exception(Error::raised("its own")).unwrap();
    assert!(limited.into_result().unwrap_err().to_string().contains("its own"));

    let (promise, future) = Promise::<u8>::pair();
    let limited = future.with_timeout(LATE);
    assert!(limited.cancel() && limited.cancelled());
    assert!(promise.set_result(1).is_err());
}

#[test]
fn a_running_call_goes_on_and_its_result_is_dropped() {
    within(|| {
        let drops = Drops::default();
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let (started, starts) = channel();
        let (gate, closed) = channel::<()>();
        let token = drops.token();
        let running = pool.spawn(move || {
            started.send(()).unwrap();
            closed.recv().unwrap();
            token
        });
        starts.recv().unwrap();
        let limited = running.unwrap().with_timeout(SOON);
        assert!(limited.result().unwrap_err().is_timeout());
        assert_eq!(drops.count(), 0);
        gate.send(()).unwrap();
        pool.shutdown();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn zero_is_up_at_once_and_the_longest_is_never() {
    let (promise, future) = Promise::<u8>::pair();
    let limited = future.with_timeout(Duration::ZERO);
    assert!(limited.done());
    assert!(limited.into_result().unwrap_err().is_timeout());
    assert!(promise.set_result(1).is_err());

    let (promise, future) = Promise::pair();
    let limited = future.with_timeout(Duration::MAX);
    promise.set_result(1).unwrap();
    assert_eq!(limited.into_result().unwrap(), 1);
    assert_eq!(Future::ready(2).with_timeout(Duration::ZERO).into_result().unwrap(), 2);
}

#[test]
fn the_earliest_of_two_deadlines_counts() {
    within(|| {
        let (promise, future) = Promise::<u8>::pair();
        let limited = future.with_timeout(SOON).with_timeout(LATE);
        assert!(limited.into_result().unwrap_err().is_timeout());
        assert!(promise.set_result(1).is_err());
        let (promise, future) = Promise::<u8>::pair();
        let limited = future.with_timeout(LATE).with_timeout(SOON);
        assert!(limited.into_result().unwrap_err().is_timeout());
        assert!(promise.set_result(1).is_err());
    });
}

#[test]
fn a_deadline_is_a_failure_like_any_other() {
    within(|| {
        let (_slow, future) = Promise::<u8>::pair();
        let (_other, pending) = Promise::<u8>::pair();
        let either = first_ok([future.with_timeout(SOON), Future::ready(1)]);
        assert_eq!(either.into_result().unwrap(), 1);
        let both = join_all([Future::ready(1), pending]).with_timeout(SOON);
        assert!(both.into_result().unwrap_err().is_timeout());
    });
}

#[test]
fn what_a_deadline_sets_off_runs_in_the_timer_thread() {
    within(|| {
        // On a slow machine the time may be up before the function is added; then it runs here.
        for doublings in 0.. {
            let (_promise, future) = Promise::<()>::pair();
            let limited = future.with_timeout(SOON * (1 << doublings));
            let here = thread::current().id();
            let thread = limited
                .map(|()| thread::current())
                .or_else(|_| Future::ready(thread::current()))
                .into_result()
                .unwrap();
            if thread.id() != here {
                assert_eq!(thread.name(), Some("concurrent-timer"));
                break;
            }
        }
    });
}

#[test]
fn a_panic_in_what_a_deadline_sets_off_harms_no_other_deadline() {
    within(|| {
        let (_promise, future) = Promise::<u8>::pair();
        let limited = future.with_timeout(SOON);
        limited.add_done_callback(|_| panic!("in the timer thread"));
        let failed = limited.or_else(|_| -> Future<u8> { panic!("there too") });
        assert!(failed.into_result().unwrap_err().to_string().contains("there too"));
        let (_promise, future) = Promise::<u8>::pair();
        assert!(future.with_timeout(SOON).into_result().unwrap_err().is_timeout());
    });
}

#[test]
fn completion_against_the_deadline_has_one_winner() {
    within(|| {
        let rounds = if cfg!(miri) { 5 } else { 300 };
        for round in 0..rounds {
            let drops = Drops::default();
            let (promise, future) = Promise::pair();
            let limited = future.with_timeout(Duration::from_micros(round));
            let token = drops.token();
            let executor = thread::spawn(move || promise.set_result(token).is_ok());
            let result = limited.into_result();
            let completed = executor.join().unwrap();
            assert!(completed || result.is_err());
            drop(result);
            assert_eq!(drops.count(), 1);
        }
    });
}

#[test]
fn many_deadlines_at_once() {
    within(|| {
        let count = if cfg!(miri) { 50 } else { 10_000 };
        let (promises, futures): (Vec<_>, Vec<_>) = (0..count).map(|_| Promise::pair()).unzip();
        let limited = futures.into_iter().map(|future| future.with_timeout(LATE));
        let all = join_all(limited.collect::<Vec<_>>());
        promises.iter().for_each(|promise| promise.set_result(1).unwrap());
        assert_eq!(all.into_result().unwrap().len(), count);
    });
}
