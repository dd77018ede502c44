//! CPython's tests of `Future` itself: case 12 to case 31.

use std::sync::mpsc;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, Promise};

use crate::support::{
    Pair, at_many_distances, cancelled, cancelled_and_notified, failed, finished, keep_log, logged,
    pending, running, timely,
};

/// One future in each of Python's states, with the promise that keeps it there.
fn six() -> [Pair<i32>; 6] {
    [pending(), running(), cancelled(), cancelled_and_notified(), failed("disk"), finished(42)]
}

fn truths(ask: impl Fn(&Future<i32>) -> bool) -> [bool; 6] {
    six().map(|(_promise, future)| ask(&future))
}

/// Adds a callback that sends what `look` sees.
fn report<R: Send + 'static>(
    future: &Future<i32>,
    look: impl FnOnce(&Future<i32>) -> R + Send + 'static,
) -> mpsc::Receiver<R> {
    let (sender, receiver) = mpsc::channel();
    future.add_done_callback(move |future| sender.send(look(future)).unwrap());
    receiver
}

fn text_of(future: &Future<i32>) -> String {
    future.exception().unwrap().unwrap().to_string()
}

// case 12, F22, F11
#[test]
fn a_callback_sees_the_value() {
    let (promise, future) = running();
    let seen = report(&future, |future| *future.result().unwrap());
    promise.set_result(5).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [5]);
}

// case 13
#[test]
fn a_callback_sees_the_error() {
    let (promise, future) = running();
    let seen = report(&future, text_of);
    promise.set_exception(Error::raised("no disk")).unwrap();
    assert!(seen.recv().unwrap().ends_with("no disk"));
}

// case 14, F11
#[test]
fn a_callback_sees_the_cancel() {
    let (_promise, future) = pending();
    let seen = report(&future, Future::cancelled);
    assert!(future.cancel());
    assert!(seen.try_recv().unwrap());
}

// case 15, F26, F4
#[test]
fn a_callback_that_panics_is_logged_and_the_next_one_runs() {
    keep_log();
    let (promise, future) = running();
    future.add_done_callback(|_| panic!("case fifteen"));
    let seen = report(&future, |future| *future.result().unwrap());
    promise.set_result(5).unwrap();
    assert_eq!(seen.try_recv().unwrap(), 5);
    let lines = logged("case fifteen");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].0, log::Level::Error);
    assert!(lines[0].1.contains("exception calling callback for <Future at 0x"), "{lines:?}");
}

// case 16, F25
#[test]
fn a_callback_on_a_finished_call_runs_at_once() {
    let (_promise, future) = finished(5);
    assert_eq!(report(&future, |future| *future.result().unwrap()).try_recv().unwrap(), 5);
}

// case 17
#[test]
fn a_callback_on_a_failed_call_runs_at_once() {
    let (_promise, future) = failed("no disk");
    assert!(report(&future, text_of).try_recv().unwrap().ends_with("no disk"));
}

// case 18
#[test]
fn a_callback_on_a_cancelled_call_runs_at_once() {
    let (_promise, future) = cancelled();
    assert!(report(&future, Future::cancelled).try_recv().unwrap());
}

// case 19, F26
#[test]
fn a_late_callback_that_panics_is_logged_and_not_propagated() {
    keep_log();
    let (_promise, future) = finished(5);
    future.add_done_callback(|_| panic!("case nineteen"));
    assert_eq!(logged("case nineteen").len(), 1);
    assert_eq!(*future.result().unwrap(), 5);
}

// case 20, F10, F5: both of Python's cancelled states print as "cancelled"
#[test]
fn debug_names_the_state_and_the_outcome() {
    let texts = six().map(|(_promise, future)| format!("{future:?}"));
    let ends = [
        " state=pending>",
        " state=running>",
        " state=cancelled>",
        " state=cancelled>",
        " state=finished raised Raised>",
        " state=finished returned i32>",
    ];
    for (text, end) in texts.iter().zip(ends) {
        assert!(text.starts_with("<Future at 0x"), "{text}");
        assert!(text.ends_with(end), "{text} does not end in {end}");
    }
}

// case 21, F11, F12, F13, F6
#[test]
fn cancel_succeeds_unless_the_call_has_started() {
    let after = six().map(|(_promise, future)| {
        let succeeded = future.cancel();
        (succeeded, future.running(), future.cancelled(), future.done())
    });
    let refused = |running: bool| (false, running, false, !running);
    let done = (true, false, true, true);
    assert_eq!(after, [done, refused(true), done, done, refused(false), refused(false)]);
}

// case 22, F7, F5
#[test]
fn cancelled_is_true_of_cancelled_calls_only() {
    assert_eq!(truths(Future::cancelled), [false, false, true, true, false, false]);
}

// case 23, F7
#[test]
fn done_is_true_of_ended_calls() {
    assert_eq!(truths(Future::done), [false, false, true, true, true, true]);
}

// case 24, F7
#[test]
fn running_is_true_of_running_calls_only() {
    assert_eq!(truths(Future::running), [false, true, false, false, false, false]);
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

// case 30, F33
#[test]
fn a_second_result_is_refused_and_the_first_stays() {
    let (promise, future) = finished(1);
    let error = promise.set_result(2).unwrap_err();
    assert!(matches!(error, Error::InvalidState(_)));
    assert!(error.to_string().starts_with("FINISHED: <Future at 0x"), "{error}");
    assert_eq!(*future.result().unwrap(), 1);
}

// case 31, F33
#[test]
fn a_second_exception_is_refused_and_the_first_stays() {
    let (promise, future) = failed::<i32>("first");
    let error = promise.set_exception(Error::raised("second")).unwrap_err();
    assert!(matches!(error, Error::InvalidState(_)));
    assert!(text_of(&future).ends_with("first"));
}

// F33, F32: a cancelled call takes no outcome, and may be asked about again
#[test]
fn completing_a_cancelled_call_is_refused() {
    let (promise, future) = cancelled::<i32>();
    let error = promise.set_result(1).unwrap_err();
    assert!(error.to_string().starts_with("CANCELLED: <Future"), "{error}");
    assert!(!promise.set_running_or_notify_cancel().unwrap());
    assert!(!promise.set_running_or_notify_cancel().unwrap());
    assert!(future.cancelled());
}

// F32, F6
#[test]
fn starting_a_call_twice_is_an_invalid_state() {
    for (promise, _future) in [running::<i32>(), finished(1), failed("x")] {
        let error = promise.set_running_or_notify_cancel().unwrap_err();
        assert!(error.to_string().starts_with("Future in unexpected state: <Future"), "{error}");
        assert!(matches!(error, Error::InvalidState(_)));
    }
}

// F33, F6: from PENDING as well as from RUNNING
#[test]
fn a_pending_call_can_be_completed() {
    assert_eq!(finished(3).1.into_result().unwrap(), 3);
    assert!(failed::<()>("pending").1.exception().unwrap().is_some());
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
    let error = future.result_timeout(crate::support::MOMENT).unwrap_err();
    assert!(error.is_timeout());
    assert!(future.exception_timeout(crate::support::MOMENT).unwrap_err().is_timeout());
    assert!(future.running());
    promise.set_result(7).unwrap();
    assert_eq!(*future.result().unwrap(), 7);
}
