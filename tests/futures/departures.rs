//! DESIGN 7: where it departs from Python on purpose, as far as threads are concerned.
//!
//! Nested waits are not here yet: part 3 of the project brings them.

use std::cell::Cell;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use concurrent::futures::ReturnWhen::AllCompleted;
use concurrent::futures::{
    Future, Promise, ShutdownOptions, ThreadPoolExecutor, as_completed, as_completed_timeout, wait,
};

use crate::support::{Busy, Gate, MOMENT, pending, pool, timely};

// F8, F14, F45, F54: a cancelled future is seen at once, also by those who already wait
#[test]
fn a_cancelled_future_is_seen_by_waiters_at_once() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool); // so that no worker can notice the cancel
        let call = Arc::new(pool.spawn(|| ()).unwrap());
        let waiters: Vec<_> = (0..2)
            .map(|kind| {
                let call = Arc::clone(&call);
                std::thread::spawn(move || match kind {
                    0 => wait([&*call], None, AllCompleted).done.len(),
                    _ => as_completed([&*call]).count(),
                })
            })
            .collect();
        (0..500).for_each(|_| std::thread::yield_now());
        assert!(call.cancel());
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 1);
        }
        assert_eq!(wait([&*call], Duration::ZERO, AllCompleted).done.len(), 1);
        assert_eq!(as_completed_timeout([&*call], Duration::ZERO).map(Result::unwrap).count(), 1);
        drop(busy);
    });
}

// F71: what a shutdown cancels is seen at once as well
#[test]
fn what_a_shutdown_cancels_is_seen_at_once() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let calls: Vec<_> = (0..5).map(|_| pool.spawn(|| ()).unwrap()).collect();
        pool.shutdown_with(ShutdownOptions::new().wait(false).cancel_futures(true));
        assert_eq!(as_completed(&calls).filter(|call| call.cancelled()).count(), 5);
        drop(busy);
    });
}

// F50: `as_completed` takes its futures, and starts its clock, when it is called
#[test]
fn as_completed_starts_when_it_is_called() {
    let (promise, future) = pending();
    let calls = Cell::new(0);
    let counted = [&future].into_iter().inspect(|_| calls.set(calls.get() + 1));
    let mut iterator = as_completed_timeout(counted, Duration::from_nanos(1));
    assert_eq!(calls.get(), 1, "collected before the first next");
    let other = Promise::<i32>::pair().1;
    assert!(other.result_timeout(Duration::from_millis(1)).is_err()); // time passes
    assert!(iterator.next().unwrap().unwrap_err().is_timeout());
    promise.set_result(1).unwrap();
}

// F51: what is done is yielded, as by a map, however late it is asked for
#[test]
fn a_call_that_was_done_after_time_was_up_is_yielded() {
    let (first, second, third) = (pending(), pending(), pending());
    let futures = [&first.1, &second.1, &third.1];
    let mut calls = as_completed_timeout(futures, Duration::ZERO);
    second.0.set_result(2).unwrap();
    assert_eq!(calls.next().unwrap().unwrap(), &second.1, "Python raises here");
    assert!(first.1.cancel());
    assert_eq!(calls.next().unwrap().unwrap(), &first.1);
    assert_eq!(calls.next().unwrap().unwrap_err().to_string(), "1 (of 3) futures unfinished");
    third.0.set_result(3).unwrap();
    assert!(calls.next().is_none());
}

// F55, F71: `submit` does not wait until a worker has begun; Python's often gets that far by chance
#[test]
fn right_after_submit_a_call_can_be_cancelled() {
    timely(|| {
        let slow = Gate::new(); // the start of the workers
        let pass = slow.clone();
        let pool = ThreadPoolExecutor::builder()
            .max_workers(2)
            .initializer(move || pass.pass())
            .build()
            .unwrap();
        let calls: Vec<_> = (0..3).map(|n| pool.spawn(move || n).unwrap()).collect();
        let cancelled: Vec<_> = calls.iter().map(Future::cancel).collect();
        assert_eq!(cancelled, [true; 3], "(False, False, True) in Python");
        slow.open();
    });
}

// F74: a pool that goes out of use runs what was submitted; Python's executor does not wait for it
#[test]
fn the_drop_of_a_pool_waits_for_its_calls() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let last = pool.spawn(|| 1).unwrap();
        let (done, dropped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            drop(pool);
            done.send(last.done()).unwrap();
        });
        assert!(dropped.recv_timeout(MOMENT).is_err(), "while a call runs");
        busy.let_go();
        assert!(dropped.recv().unwrap());
        thread.join().unwrap();
    });
}

// F63, F62: a map goes on after an error
#[test]
fn a_map_goes_on_after_an_error() {
    timely(|| {
        let pool = pool(2);
        let odd = |n: i32| if n % 2 == 0 { panic!("even") } else { n };
        let good: Vec<i32> = pool.map(odd, 0..50).filter_map(Result::ok).collect();
        assert_eq!(good, (0..50).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    });
}

// F64: dropping a map that was never advanced cancels it
#[test]
fn a_map_always_cancels_on_drop() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        drop(pool.map(|_: i32| panic!("must not run"), 0..20));
        let report = pool.shutdown_with(ShutdownOptions::new().wait(false));
        assert_eq!(report.pending, 0);
        drop(busy);
    });
}

// F27, F29, F30: a callback can neither deadlock nor kill a worker
#[test]
fn a_callback_can_neither_deadlock_nor_kill_a_worker() {
    timely(|| {
        let pool = Arc::new(pool(1));
        let busy = Busy::on(&pool);
        let inner = Arc::clone(&pool);
        let told = Gate::new();
        let tell = told.clone();
        busy.call.add_done_callback(move |_| {
            assert!(inner.spawn(|| ()).is_ok());
            inner.shutdown();
            tell.open();
            panic!("and then it panics");
        });
        let queued = pool.spawn(|| 3).unwrap();
        busy.let_go();
        told.pass();
        assert_eq!(queued.into_result().unwrap(), 3);
        pool.shutdown();
    });
}

// F85: Python queues the call before it starts the thread; see errors.rs for both cases
#[test]
fn a_refused_call_leaves_nothing_in_the_queue() {
    let pool = ThreadPoolExecutor::builder().max_workers(1).stack_size(1 << 46).build().unwrap();
    assert!(pool.spawn(|| ()).is_err());
    assert!(pool.shutdown_with(ShutdownOptions::new()).is_complete());
}

static ENDLESS: LazyLock<ThreadPoolExecutor> = LazyLock::new(|| pool(1));

/// Says to the test below that it is the child.
const CHILD: &str = "CONCURRENT_TEST_EXIT";

// F82, F58, case 75: process exit waits for no pool that was not dropped
#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn process_exit_waits_for_no_pool_in_a_static() {
    if std::env::var_os(CHILD).is_some() {
        let _busy = Busy::on(&ENDLESS); // never let go
        std::process::exit(0);
    }
    timely(|| {
        let program = std::env::current_exe().unwrap();
        let test = "departures::process_exit_waits_for_no_pool_in_a_static";
        let mut child = Command::new(program);
        let output = child.args(["--exact", test]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success());
    });
}

// F34, F35: there is no "exception None" and no exception that is false
#[test]
fn an_exception_is_always_a_failure() {
    let (promise, future): (_, Future<()>) = pending();
    promise.set_exception(concurrent::Error::raised("")).unwrap();
    assert!(future.exception().unwrap().is_some());
    assert!(future.result().is_err());
}
