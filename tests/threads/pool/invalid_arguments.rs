//! Settings that make no sense are refused, and the largest and smallest that make sense are taken.

use concurrent::Error;
use concurrent::futures::{MapOptions, ThreadPoolExecutor};

use crate::support::{Busy, builder, pool, timely};

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
        #[cfg(feature = "process")]
        {
            use concurrent::futures::Executor;
            let map = Executor::map_with(&pool, options, |n: i32| n, [1]);
            assert_eq!(message(&map.unwrap_err()), text);
        }
    }
}

#[test]
fn a_tiny_stack_is_raised_to_what_the_system_needs() {
    timely(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(1).stack_size(0);
        assert_eq!(builder.build().unwrap().spawn(|| 1).unwrap().into_result().unwrap(), 1);
    });
}

// case 54, F66, F65
#[test]
fn sizes_of_zero_are_refused() {
    let pool = pool(1);
    let message = |options| pool.map_with(options, |n: i32| n, 0..3).unwrap_err().to_string();
    assert_eq!(message(MapOptions::new().buffer_size(0)), "buffersize must be None or > 0");
    assert_eq!(message(MapOptions::new().chunk_size(0)), "chunksize must be >= 1.");
}

// case 64, F77
#[test]
fn no_workers_are_refused() {
    let error = ThreadPoolExecutor::new(0).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)));
    assert_eq!(error.to_string(), "max_workers must be greater than 0");
}

#[test]
fn capacity_0_is_an_invalid_argument() {
    let error = builder(1).queue_capacity(0).build().unwrap_err();
    assert_eq!(error.to_string(), "queue_capacity must be greater than 0");
    assert!(matches!(error, Error::InvalidArgument(_)));
}
