//! `{:?}` shows the state, and never a value of the user: it may be written to a log.

use std::time::Duration;

use concurrent::futures::{
    Future, MapOptions, Promise, ThreadPoolExecutor, as_completed, as_completed_timeout,
};
use concurrent::sched::{PriorityOrder, Scheduler};
use concurrent::{Error, Panic};

use crate::support::pool;

/// A call that failed with `error`.
fn failed(error: Error) -> Future<()> {
    let (promise, future) = Promise::pair();
    promise.set_exception(error).unwrap();
    future
}

// F10: the class of the exception is part of the repr
#[test]
fn a_failed_future_names_the_kind_of_its_error() {
    let cases = [
        (Error::Cancelled, "Cancelled"),
        (Error::Timeout { unfinished: 1, total: 2 }, "Timeout"),
        (Error::raised("no"), "Raised"),
        (Error::BrokenPromise, "BrokenPromise"),
        (Error::Encode("no".into()), "Encode"),
        (Error::Decode("no".into()), "Decode"),
        (Error::NotInitialized("no"), "NotInitialized"),
        (Error::QueueFull, "QueueFull"),
        (Error::Shutdown, "Shutdown"),
        (Error::InvalidState("no".into()), "InvalidState"),
        (Error::InvalidArgument("no".into()), "InvalidArgument"),
        (Error::NotQueued, "NotQueued"),
        (Error::Deadlock("no".into()), "Deadlock"),
    ];
    for (error, name) in cases {
        let shown = format!("{:?}", failed(error));
        assert!(shown.ends_with(&format!("state=finished raised {name}>")), "{shown}");
    }
}

#[test]
fn an_error_is_asked_for_what_it_is_not() {
    assert!(Error::Shutdown.worker_death().is_none());
    assert!(Error::Shutdown.downcast_ref::<std::fmt::Error>().is_none());
    assert!(!Error::Shutdown.is_call_failure());
}

#[test]
fn iterators_say_how_far_they_are() {
    let (first, second) = (Promise::<u8>::pair(), Promise::<u8>::pair());
    first.0.set_result(7).unwrap();
    let mut calls = as_completed([&first.1, &second.1]);
    assert_eq!(format!("{calls:?}"), "AsCompleted { ready: 1, unfinished: 1, .. }");
    assert_eq!(calls.len(), 2);
    calls.next().unwrap();
    assert_eq!(calls.size_hint(), (1, Some(1)));

    let mut limited = as_completed_timeout([&first.1, &second.1], Duration::ZERO);
    assert!(format!("{limited:?}").starts_with("AsCompletedTimeout { calls: AsCompleted"));
    assert_eq!(limited.size_hint(), (1, Some(2)));
    assert!(limited.next().unwrap().is_ok());
    assert!(limited.next().unwrap().unwrap_err().is_timeout());
    assert_eq!((limited.size_hint(), limited.next().is_none()), ((0, Some(0)), true));

    let pool = pool(1);
    let map = pool.map_with(MapOptions::new().buffer_size(2), |n: u8| n, 0..9).unwrap();
    assert!(format!("{map:?}").starts_with("Map { submitted: 2, waiting: 2, deadline: None"));
}

#[test]
fn a_panic_shows_its_message_and_place_and_a_cause_what_it_is_of() {
    let pool = pool(1);
    let error = pool.spawn(|| -> () { panic!("no disk") }).unwrap().into_result().unwrap_err();
    let Error::Panicked(panic) = error else { panic!("{error}") };
    let shown = format!("{panic:?}");
    assert!(shown.starts_with("Panic { message: \"no disk\", location: Some("), "{shown}");
    assert_eq!(Panic::message(&panic), "no disk");
    let Error::Raised(cause) = Error::raised("no disk") else { panic!("it was raised") };
    assert_eq!((cause.to_string(), format!("{cause:?}")), ("no disk".into(), "\"no disk\"".into()));
}

#[test]
fn builders_show_their_settings() {
    let builder = Scheduler::builder().priority_order(PriorityOrder::HighestFirst);
    let shown = format!("{:?}", builder.bounded_latency());
    assert!(shown.contains("HighestFirst") && shown.contains("bounded_latency: true"), "{shown}");
    let shown = format!("{:?}", ThreadPoolExecutor::builder().max_workers(3));
    assert!(shown.contains('3'), "{shown}");
}
