//! Senseless settings, handles of the wrong kind, the largest and the smallest of everything.

use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{
    Executor, MapOptions, ReturnWhen, ShutdownOptions, ThreadPoolExecutor, as_completed_timeout,
    wait,
};

use crate::support::{Busy, finished, pool, timely};

fn message(error: &Error) -> String {
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    error.to_string()
}

// F77
#[test]
fn a_pool_of_no_workers_is_refused_by_every_way_to_make_one() {
    let text = "max_workers must be greater than 0";
    assert_eq!(message(&ThreadPoolExecutor::new(0).unwrap_err()), text);
    let builder = ThreadPoolExecutor::builder().max_workers(0);
    assert_eq!(message(&builder.build().unwrap_err()), text);
}

// F77: no upper limit
#[test]
fn any_number_of_workers_is_accepted() {
    timely(|| {
        let pool = pool(usize::MAX);
        assert_eq!(pool.max_workers(), usize::MAX);
        let busy: Vec<_> = (0..8).map(|_| Busy::on(&pool)).collect();
        drop(busy);
        assert_eq!(*pool.spawn(|| 1).unwrap().result().unwrap(), 1);
    });
}

// F81
#[test]
fn a_thread_name_with_a_nul_byte_is_refused() {
    let error = ThreadPoolExecutor::builder().thread_name_prefix("a\0b").build().unwrap_err();
    assert!(message(&error).contains("thread_name_prefix"));
    let long = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("ü".repeat(500));
    assert_eq!(long.build().unwrap().spawn(|| 1).unwrap().into_result().unwrap(), 1);
}

// F65, F66: by the trait as well
#[test]
fn sizes_of_zero_are_refused_by_every_map_with() {
    let pool = pool(1);
    let sizes = [MapOptions::new().chunk_size(0), MapOptions::new().buffer_size(0)];
    let texts = ["chunksize must be >= 1.", "buffersize must be None or > 0"];
    for (options, text) in sizes.into_iter().zip(texts) {
        assert_eq!(message(&pool.map_with(options, |n: i32| n, [1]).unwrap_err()), text);
        let map = Executor::map_with(&pool, options, |n: i32| n, [1]);
        assert_eq!(message(&map.unwrap_err()), text);
    }
}

#[test]
fn a_tiny_stack_is_raised_to_what_the_system_needs() {
    timely(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(1).stack_size(0);
        assert_eq!(builder.build().unwrap().spawn(|| 1).unwrap().into_result().unwrap(), 1);
    });
}

// F18, F50, F61: the longest time there is never overflows
#[test]
fn the_longest_timeout_is_accepted_everywhere() {
    timely(|| {
        let pool = pool(2);
        let call = || pool.spawn(|| 5).unwrap();
        assert_eq!(*call().result_timeout(Duration::MAX).unwrap(), 5);
        assert!(call().exception_timeout(Duration::MAX).unwrap().is_none());
        let calls = [call(), call()];
        assert_eq!(wait(&calls, Duration::MAX, ReturnWhen::AllCompleted).done.len(), 2);
        assert_eq!(as_completed_timeout(&calls, Duration::MAX).map(Result::unwrap).count(), 2);
        let options = MapOptions::new().timeout(Duration::MAX);
        assert_eq!(
            pool.map_with(options, |n: i32| n, 0..3).unwrap().map(Result::unwrap).count(),
            3
        );
        let report = pool.shutdown_with(ShutdownOptions::new().timeout(Duration::MAX));
        assert!(report.is_complete());
    });
}

// F18: also on what is done
#[test]
fn no_time_at_all_is_a_poll() {
    let (_promise, done) = finished(1);
    assert_eq!(*done.result_timeout(Duration::ZERO).unwrap(), 1);
    assert_eq!(*done.result_timeout(Duration::from_nanos(1)).unwrap(), 1);
}

// F61: a timeout of nothing on a map of nothing
#[test]
fn an_empty_map_ends_before_its_timeout() {
    let options = MapOptions::new().timeout(Duration::ZERO);
    assert!(pool(1).map_with(options, |n: i32| n, 0..0).unwrap().next().is_none());
}

#[test]
fn a_chunk_larger_than_the_input_is_one_call() {
    timely(|| {
        let pool = pool(1);
        let map = pool.map_with(MapOptions::new().chunk_size(usize::MAX), |n: i32| n, 0..10);
        assert_eq!(map.unwrap().map(Result::unwrap).sum::<i32>(), 45);
    });
}
