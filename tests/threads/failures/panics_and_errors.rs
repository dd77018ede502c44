//! The failures of calls: panics, `Err`s, and failures that are not looked at.

use std::io;
use std::num::ParseIntError;

use concurrent::futures::{ReturnWhen, ThreadPoolExecutor, wait};
use concurrent::{Cause, Error};

use crate::support::{Gate, failed, keep_log, logged, panic_of, pool, timely};

// F20, F10: payload, message and place are kept
#[test]
fn a_panic_keeps_its_payload_message_and_place() {
    timely(|| {
        let pool = pool(1);
        let number = pool.max_workers() + 6;
        let line = line!() + 1;
        let call = pool.spawn(move || -> () { panic!("no disk {number}") }).unwrap();
        let panic = panic_of(&call);
        assert_eq!(panic.message(), "no disk 7");
        let place = panic.location().unwrap();
        assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place}");
        assert_eq!(
            call.result().unwrap_err().to_string(),
            format!("panicked at {place}: no disk 7")
        );
        let payload = panic.take_payload().unwrap();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "no disk 7");
        assert!(panic.take_payload().is_none(), "moved out");
    });
}

// F20: anything can be thrown
#[test]
fn a_payload_of_any_type_comes_back() {
    timely(|| {
        let pool = pool(1);
        let call = pool.spawn(|| -> () { std::panic::panic_any(vec![1, 2]) }).unwrap();
        let panic = panic_of(&call);
        assert_eq!(panic.message(), "Box<dyn Any>");
        assert_eq!(*panic.take_payload().unwrap().downcast::<Vec<i32>>().unwrap(), [1, 2]);
        let call = pool.spawn(|| -> () { std::panic::resume_unwind(Box::new("quiet")) }).unwrap();
        assert_eq!(panic_of(&call).message(), "quiet");
        assert_eq!(panic_of(&call).location(), None, "of no panic that was reported");
        assert!(call.result().unwrap_err().is_call_failure());
    });
}

// The place is the panic's own, not that of one that the call caught before.
#[test]
fn a_caught_panic_leaves_no_place_behind() {
    timely(|| {
        let pool = pool(1);
        let call = pool.spawn(|| drop(std::panic::catch_unwind(|| panic!("caught")))).unwrap();
        call.result().unwrap();
        let call = pool.spawn(|| -> () { std::panic::resume_unwind(Box::new("next")) }).unwrap();
        assert_eq!(panic_of(&call).location(), None);
    });
}

#[test]
fn an_error_of_the_crate_is_not_wrapped_again() {
    let error = Error::raised(Error::Shutdown);
    assert!(matches!(error, Error::Shutdown));
    let nested = Error::raised(io::Error::other("deep"));
    assert!(nested.downcast_ref::<io::Error>().is_some());
    assert!(nested.downcast_ref::<ParseIntError>().is_none());
}

// F2, F3, F21: Python's class tree as questions
#[test]
fn the_questions_tell_errors_apart() {
    let timeout = Error::Timeout { unfinished: 1, total: 2 };
    let broken = Error::BrokenThreadPool(Cause::new(Error::raised("x")));
    let ask = |error: &Error| {
        [
            error.is_timeout(),
            error.is_cancelled(),
            error.is_broken_executor(),
            error.is_call_failure(),
        ]
    };
    assert_eq!(ask(&timeout), [true, false, false, false]);
    assert_eq!(ask(&Error::Cancelled), [false, true, false, false]);
    assert_eq!(ask(&broken), [false, false, true, false]);
    let inside = Error::raised(io::Error::from(io::ErrorKind::TimedOut));
    assert_eq!(ask(&inside), [false, false, false, true], "a call's own timeout is none of ours");
    assert_eq!(ask(&Error::Shutdown), [false; 4]);
}

// A failure that nobody looked at is logged, exactly once.
#[test]
fn a_lost_failure_is_logged_once() {
    keep_log();
    timely(|| {
        let pool = pool(1);
        drop(pool.spawn(|| -> () { panic!("lost before") }).unwrap());
        let gate = Gate::new();
        let entry = gate.clone();
        let call = pool.spawn(move || -> () {
            entry.pass();
            panic!("lost after")
        });
        gate.open();
        let call = call.unwrap();
        assert_eq!(wait([&call], None, ReturnWhen::AllCompleted).done.len(), 1);
        assert!(logged("nobody looked: panicked").iter().all(|l| !l.1.contains("lost after")));
        drop(call);
        drop(failed::<()>("lost by a promise"));
        pool.execute(|| panic!("lost by nobody")).unwrap();
        drop(pool);
    });
    for text in ["lost before", "lost after", "lost by a promise", "lost by nobody"] {
        let lines = logged(text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].1.contains("failed and nobody looked"));
        assert_eq!(lines[0].0, log::Level::Error);
    }
}

/// A call that was made of another one has its name.
#[test]
fn a_lost_failure_of_a_composed_call_names_the_first_of_its_chain() {
    fn first_of_the_chain(_: ()) {}
    keep_log();
    timely(|| {
        let pool = pool(1);
        let call = pool.submit(first_of_the_chain, ()).unwrap();
        drop(call.map(|()| -> u8 { panic!("lost in a map") }).map(|n| n));
        drop(pool);
    });
    let lines = logged("lost in a map");
    assert!(lines.len() == 1 && lines[0].1.contains("::first_of_the_chain failed"), "{lines:?}");
}

#[test]
fn a_failure_that_was_looked_at_is_not_logged() {
    keep_log();
    timely(|| {
        let pool = pool(1);
        let fails = || pool.spawn(|| -> () { panic!("looked at") }).unwrap();
        assert!(fails().result().is_err());
        assert!(fails().exception().unwrap().is_some());
        assert!(fails().into_result().is_err());
        let in_callback = fails();
        in_callback.add_done_callback(|call| assert!(call.result().is_err()));
        drop(in_callback);
        drop(pool);
    });
    assert!(logged("looked at").is_empty(), "{:?}", logged("looked at"));
}

// F83: a source chain can be walked and asked for types
#[test]
fn the_source_is_the_error_itself() {
    use std::error::Error as _;

    let pool =
        ThreadPoolExecutor::builder().max_workers(1).initializer(|| Err::<(), _>("x")).build();
    let pool = pool.unwrap();
    let error = pool.spawn(|| ()).and_then(|call| call.into_result()).unwrap_err();
    assert!(error.source().unwrap().is::<Error>());
    let raised = Error::raised("x".parse::<u8>().unwrap_err());
    assert!(raised.source().unwrap().is::<std::num::ParseIntError>());
}
