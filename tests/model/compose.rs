//! Chains and groups of calls against completion and cancel.

use concurrent::futures::{Future, Promise, first_ok, join_all};
use loom::thread;

use crate::{Outcomes, Watched};

#[test]
fn a_chain_ends_with_its_source_or_its_cancel() {
    Outcomes::with_bound(Some(3), || {
        let (promise, future) = Promise::pair();
        let executor = thread::spawn(move || {
            promise.set_running_or_notify_cancel().unwrap()
                && promise.set_result(Watched::new(4)).is_ok()
        });
        let chain = future.and_then(Future::ready).map(|value| value.get());
        let cancelled = chain.cancel();
        let result = chain.into_result();
        assert_ne!(executor.join().unwrap(), cancelled);
        assert_eq!(result.is_ok(), !cancelled);
        cancelled
    })
    .assert([false, true]);
}

#[test]
fn a_call_follows_the_second_one_while_that_ends_or_is_cancelled() {
    Outcomes::with_bound(Some(3), || {
        let (first, future) = Promise::pair();
        let (second, inner) = Promise::<Watched>::pair();
        let chain = future.and_then(move |()| inner);
        let a = thread::spawn(move || first.set_result(()).is_ok());
        let b = thread::spawn(move || {
            second.set_running_or_notify_cancel().unwrap()
                && second.set_result(Watched::new(4)).is_ok()
        });
        let cancelled = chain.cancel();
        assert_eq!(chain.into_result().is_ok(), !cancelled);
        (cancelled, a.join().unwrap(), b.join().unwrap())
    })
    // The cancel came before the first call's end, after it, or too late.
    .assert([(false, true, true), (true, false, true), (true, true, false)]);
}

#[test]
fn of_two_successes_first_ok_takes_one_and_drops_the_other() {
    Outcomes::with_bound(Some(3), || {
        let (first, a) = Promise::pair();
        let (second, b) = Promise::pair();
        let either = first_ok([a, b]);
        let a = thread::spawn(move || first.set_result(Watched::new(1)).is_ok());
        let b = thread::spawn(move || second.set_result(Watched::new(2)).is_ok());
        let value = either.into_result().unwrap().get();
        assert!(a.join().unwrap() || b.join().unwrap());
        value
    })
    .assert([1, 2]);
}

#[test]
fn join_all_against_a_cancel() {
    Outcomes::with_bound(Some(3), || {
        let (first, a) = Promise::pair();
        let (second, b) = Promise::pair();
        let both = join_all([a, b]);
        let a = thread::spawn(move || first.set_result(Watched::new(1)).is_ok());
        let b = thread::spawn(move || second.set_result(Watched::new(2)).is_ok());
        let cancelled = both.cancel();
        match both.into_result() {
            Ok(values) => assert_eq!(values[0].get() + values[1].get(), 3),
            Err(error) => assert!(cancelled && error.is_cancelled()),
        }
        let completed = a.join().unwrap() && b.join().unwrap();
        assert!(completed || cancelled);
        cancelled
    })
    .assert([false, true]);
}
