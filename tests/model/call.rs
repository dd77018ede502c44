//! The two ends of one call: transitions, the outcome's visibility, who may move it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::Error;
use concurrent::futures::Promise;

use crate::{
    Outcomes, Watched,
    checker::{self, thread},
    reads_of_nine,
};

// F11, F13, F33
#[test]
fn cancel_against_completion_has_one_winner_on_which_readers_agree() {
    Outcomes::with_bound(Some(3), || {
        let (promise, future) = Promise::pair();
        let future = Arc::new(future);
        let executor = thread::spawn(move || {
            promise.set_running_or_notify_cancel().unwrap()
                && promise.set_result(Watched::new(7)).is_ok()
        });
        let canceller = {
            let future = Arc::clone(&future);
            thread::spawn(move || future.cancel())
        };
        let seen = match future.result() {
            Ok(value) => value.get() == 7,
            Err(error) => !error.is_cancelled(),
        };
        let completed = executor.join().unwrap();
        let cancelled = canceller.join().unwrap();
        assert_ne!(completed, cancelled);
        assert_eq!(seen, completed);
        completed
    })
    .assert([false, true]);
}

// F33: two executors complete the same promise
#[test]
fn of_two_completions_the_first_stays() {
    Outcomes::of(|| {
        let (promise, future) = Promise::pair();
        let promise = Arc::new(promise);
        let other = {
            let promise = Arc::clone(&promise);
            thread::spawn(move || promise.set_result(Watched::new(1)).is_ok())
        };
        let mine = promise.set_result(Watched::new(2)).is_ok();
        let value = future.into_result().unwrap().get();
        assert_ne!(other.join().unwrap(), mine);
        assert_eq!(value, if mine { 2 } else { 1 });
        mine
    })
    .assert([false, true]);
}

#[test]
fn a_dropped_promise_releases_the_one_who_waits() {
    Outcomes::of(|| {
        let (promise, future) = Promise::<()>::pair();
        let executor = thread::spawn(move || drop(promise));
        let cancelled = future.cancel();
        let broken = matches!(future.result(), Err(Error::BrokenPromise));
        executor.join().unwrap();
        assert_ne!(cancelled, broken);
        cancelled
    })
    .assert([false, true]);
}

// F22, F24, F25
#[test]
fn a_callback_runs_once_whether_added_before_or_after_the_end() {
    Outcomes::of(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let (promise, future) = Promise::pair();
        let executor = thread::spawn(move || promise.set_result(Watched::new(3)).unwrap());
        let (counter, adder) = (Arc::clone(&calls), thread::current().id());
        let elsewhere = Arc::new(AtomicUsize::new(0));
        let flag = Arc::clone(&elsewhere);
        future.add_done_callback(move |future| {
            assert_eq!(future.result().unwrap().get(), 3);
            counter.fetch_add(1, Ordering::Relaxed);
            flag.store(usize::from(thread::current().id() != adder), Ordering::Relaxed);
        });
        executor.join().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        elsewhere.load(Ordering::Relaxed)
    })
    .assert([0, 1]);
}

// into_result waits for callbacks that borrow the value
#[test]
fn a_value_is_moved_out_only_after_the_callbacks_that_borrow_it() {
    Outcomes::of(|| {
        let (promise, future) = Promise::<Watched>::pair();
        let calls = reads_of_nine(&future);
        let executor = thread::spawn(move || promise.set_result(Watched::new(9)).unwrap());
        let value = future.into_result().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(value.get(), 9);
        drop(value);
        executor.join().unwrap();
    })
    .assert([()]);
}

#[test]
fn a_detached_result_is_dropped_by_whoever_comes_last() {
    Outcomes::of(|| {
        let (promise, future) = Promise::pair();
        let executor = thread::spawn(move || promise.set_result(Watched::new(1)).unwrap());
        drop(future);
        executor.join().unwrap();
    })
    .assert([()]);
}

#[test]
fn an_awaiting_task_is_woken() {
    Outcomes::of(|| {
        let (promise, future) = Promise::pair();
        let executor = thread::spawn(move || promise.set_result(Watched::new(5)).unwrap());
        let value = checker::future::block_on(async { future.await }).unwrap();
        assert_eq!(value.get(), 5);
        executor.join().unwrap();
    })
    .assert([()]);
}

#[test]
fn a_flattened_call_ends_with_its_source_or_its_cancel() {
    Outcomes::with_bound(Some(3), || {
        let (promise, future) = Promise::<Result<u32, String>>::pair();
        let executor = thread::spawn(move || {
            promise.set_running_or_notify_cancel().unwrap() && promise.set_result(Ok(4)).is_ok()
        });
        let flat = future.flatten();
        let cancelled = flat.cancel();
        let result = flat.into_result();
        assert_ne!(executor.join().unwrap(), cancelled);
        assert_eq!(result.is_ok(), !cancelled);
        cancelled
    })
    .assert([false, true]);
}
