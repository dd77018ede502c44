//! The states of a call, and what may be asked in each.

use concurrent::futures::Future;

use crate::support::six;

fn truths(ask: impl Fn(&Future<i32>) -> bool) -> [bool; 6] {
    six().map(|(_promise, future)| ask(&future))
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
