//! The pool as an `Executor` like any other, and what it shows of itself.

use concurrent::Error;
use concurrent::futures::process::SharedBytes;
use concurrent::futures::{Executor, MapOptions, ProcessPoolExecutor, ShutdownOptions};

use crate::support::trials;

trials![
    a_program_for_any_executor_runs_on_processes,
    every_promise_of_an_executor_is_kept_on_processes,
    a_pool_and_shared_bytes_show_what_they_are,
];

fn every_promise_of_an_executor_is_kept_on_processes() {
    for (_, promise) in crate::common::executor_promises::promises() {
        promise(ProcessPoolExecutor::new(2).unwrap(), 2);
    }
}

fn total(executor: &impl Executor) -> u32 {
    let square = |n: u32| n * n;
    let one = executor.submit(square, 1).unwrap().into_result().unwrap();
    let two = executor.map(square, [2]).next().unwrap().unwrap();
    let options = MapOptions::new().buffer_size(1).chunk_size(2);
    let rest: u32 = executor.map_with(options, square, 3..=5).unwrap().map(Result::unwrap).sum();
    let report = executor.shutdown_with(ShutdownOptions::new());
    assert!(report.is_complete());
    assert!(matches!(executor.submit(square, 9), Err(Error::Shutdown)));
    one + two + rest
}

// F1, F56, F58, F59
fn a_program_for_any_executor_runs_on_processes() {
    assert_eq!(total(&ProcessPoolExecutor::new(2).unwrap()), 1 + 4 + 9 + 16 + 25);
}

fn a_pool_and_shared_bytes_show_what_they_are() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    assert_eq!(pool.max_workers(), 2);
    assert!(format!("{pool:?}").starts_with("ProcessPoolExecutor { max_workers: 2, stats: "));
    let bytes = SharedBytes::copy_from(b"abc").unwrap();
    assert_eq!(
        (bytes.as_ref(), format!("{bytes:?}")),
        (&b"abc"[..], "SharedBytes { len: 3 }".into())
    );
}
