//! Threads that the system does not start.

use std::error::Error as _;
use std::sync::Arc;

use concurrent::Error;
use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};

use crate::support::{Busy, Counter, in_own_process, logged, react_to_log, timely};

// F85: Python queues the call before it starts the thread; the tests below show both cases
#[test]
fn a_refused_call_leaves_nothing_in_the_queue() {
    let pool = ThreadPoolExecutor::builder().max_workers(1).stack_size(1 << 46).build().unwrap();
    assert!(pool.spawn(|| ()).is_err());
    assert!(pool.shutdown_with(ShutdownOptions::new()).is_complete());
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

// F85: with one worker a pool goes on, and the logger that hears of it may look at the pool
#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn a_pool_that_has_one_worker_goes_on_with_it() {
    let test = concat!(module_path!(), "::a_pool_that_has_one_worker_goes_on_with_it");
    if !in_own_process(test, Some(3_000_000)) {
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
