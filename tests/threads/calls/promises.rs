//! Calls that are completed by hand.

use concurrent::Error;
use concurrent::futures::Promise;

use crate::support::{cancelled, failed, finished, running, text_of};

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

#[test]
fn a_borrowing_promise_needs_no_static_type() {
    let text = String::from("local");
    let (promise, future) = Promise::pair();
    promise.set_result(text.as_str()).unwrap();
    assert_eq!(*future.result().unwrap(), "local");
}
