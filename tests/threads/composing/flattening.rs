//! `flatten`: an `Err` becomes the failure of the call.

use std::error::Error as _;
use std::num::ParseIntError;

use concurrent::Error;
use concurrent::futures::{Promise, ReturnWhen, wait};

use crate::support::{Busy, MOMENT, panic_of, pool, running, timely};

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
