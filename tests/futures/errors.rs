//! What comes out when something fails: panics, `Err`s, lost failures, thread starts.

use std::error::Error as StdError;
use std::io;
use std::num::ParseIntError;
use std::process::Command;
use std::sync::Arc;

use concurrent::futures::{Future, Promise, ReturnWhen, ThreadPoolExecutor, wait};
use concurrent::{Cause, Error};

use crate::support::{
    Busy, Counter, Gate, MOMENT, failed, keep_log, logged, pool, react_to_log, running, timely,
};

fn panic_of<T>(future: &Future<T>) -> concurrent::Panic {
    match future.exception().unwrap() {
        Some(Error::Panicked(panic)) => panic.clone(),
        other => panic!("not a panic: {other:?}"),
    }
}

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

// An `Err` is a value until flattened; then it is the failure. F42
#[test]
fn a_flattened_err_is_the_failure_of_its_call() {
    timely(|| {
        let pool = pool(1);
        let plain = pool.submit(str::parse::<u8>, "x").unwrap();
        assert!(plain.exception().unwrap().is_none());
        let flat = plain.flatten();
        let error = flat.result().unwrap_err();
        assert!(error.downcast_ref::<ParseIntError>().is_some());
        assert!(error.is_call_failure() && !error.is_timeout());
        let source = error.source().unwrap().to_string();
        assert_eq!(error.to_string(), format!("the call returned an error: {source}"));
        let (_promise, open) = running();
        let outcome = wait([&open, &flat], None, ReturnWhen::FirstException);
        assert_eq!(outcome.done, [&flat]);
        assert_eq!(*pool.submit(str::parse::<u8>, "7").unwrap().flatten().result().unwrap(), 7);
    });
}

#[test]
fn a_flattened_call_is_cancelled_started_and_broken_as_its_source() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let flat = pool.submit(str::parse::<u8>, "1").unwrap().flatten();
        assert!(!flat.running() && !flat.done());
        assert!(flat.cancel() && flat.cancel());
        assert!(flat.cancelled() && flat.result().unwrap_err().is_cancelled());
        drop(busy);
        let (promise, source) = Promise::<Result<(), String>>::pair();
        let flat = source.flatten();
        assert!(promise.set_running_or_notify_cancel().unwrap());
        assert!(flat.running() && !flat.cancel());
        assert!(flat.result_timeout(MOMENT).unwrap_err().is_timeout());
        drop(promise);
        assert!(matches!(flat.result(), Err(Error::BrokenPromise)));
        let panics = pool.spawn(|| -> Result<(), String> { panic!("in a result") }).unwrap();
        assert_eq!(panic_of(&panics.flatten()).message(), "in a result");
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

// F85: the caller gets an error, and nothing stays queued
#[test]
fn a_thread_that_cannot_be_started_is_an_error_and_the_call_is_dropped() {
    timely(|| {
        for bytes in [1 << 46, usize::MAX / 2] {
            let builder = ThreadPoolExecutor::builder().max_workers(1).stack_size(bytes);
            let pool = builder.build().unwrap();
            let counter = Counter::new();
            let captured = counter.one();
            let error = pool.spawn(move || drop(captured)).unwrap_err();
            assert!(matches!(error, Error::ThreadStart(_)), "{error}");
            assert!(error.to_string().starts_with("can't start new thread: "));
            assert_eq!(counter.dropped(), 1);
            assert!(error.source().is_some());
        }
    });
}

/// Says to the test below that it is the child.
const CHILD: &str = "CONCURRENT_TEST_FEW_THREADS";

// F85: with one worker a pool goes on, and the logger that hears of it may look at the pool
#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn a_pool_that_has_one_worker_goes_on_with_it() {
    if std::env::var_os(CHILD).is_none() {
        let test = "errors::a_pool_that_has_one_worker_goes_on_with_it";
        let script = "ulimit -v 3000000 && exec \"$0\" --exact --nocapture \"$1\"";
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new("sh");
        child.arg("-c").arg(script).arg(program).arg(test);
        let output = child.env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        return;
    }
    timely(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(2).stack_size(2_000_000_000);
        let pool = Arc::new(builder.build().unwrap());
        let weak = Arc::downgrade(&pool);
        react_to_log(move |line| {
            if line.starts_with("can't start new thread, going on with 1") {
                assert!(format!("{:?}", weak.upgrade().unwrap()).contains("max_workers: 2"));
            }
        });
        let busy = Busy::on(&pool);
        let second = pool.spawn(|| 2).unwrap();
        assert_eq!(logged("going on with 1").len(), 1);
        drop(busy);
        assert_eq!(second.into_result().unwrap(), 2);
    });
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
