//! Code written against `Executor`, and an executor that is not of this crate.

use std::sync::atomic::{AtomicBool, Ordering};

use concurrent::futures::{
    Executor, Future, MapOptions, Portable, Promise, ShutdownOptions, ShutdownReport,
    ThreadPoolExecutor,
};
use concurrent::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::support::{pool, timely};

/// Runs each call at once, in the caller's thread.
#[derive(Default)]
struct Inline {
    closed: AtomicBool,
}

impl Executor for Inline {
    fn submit<A: Portable, R: Portable>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<Future<R>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Shutdown);
        }
        let (promise, future) = Promise::pair();
        if promise.set_running_or_notify_cancel()? {
            promise.set_result(function(argument))?;
        }
        Ok(future)
    }

    fn shutdown_with(&self, _: ShutdownOptions) -> ShutdownReport {
        self.closed.store(true, Ordering::SeqCst);
        ShutdownReport::default()
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Page {
    url: String,
    sizes: Vec<u32>,
}

fn total(page: Page) -> (String, u32) {
    (page.url, page.sizes.iter().sum())
}

/// The same program for every executor.
fn program(executor: &impl Executor) -> Result<Vec<(String, u32)>> {
    let page = |n: u32| Page { url: format!("/{n}"), sizes: vec![n; 3] };
    let first = executor.submit(total, page(1))?;
    let mut totals = vec![first.into_result()?];
    for result in executor.map(total, (2..4).map(page)) {
        totals.push(result?);
    }
    for chunk in [1, 2] {
        let options = MapOptions::new().buffer_size(2).chunk_size(chunk);
        for result in executor.map_with(options, total, (4..6).map(page))? {
            totals.push(result?);
        }
    }
    executor.shutdown();
    assert!(matches!(executor.submit(total, page(9)), Err(Error::Shutdown)));
    Ok(totals)
}

// F1, F56, F59
#[test]
fn one_program_runs_on_every_executor_and_map_comes_for_free() {
    timely(|| {
        let numbers = [1, 2, 3, 4, 5, 4, 5];
        let expected = numbers.map(|n| (format!("/{n}"), 3 * n));
        assert_eq!(program(&pool(2)).unwrap(), expected);
        assert_eq!(program(&Inline::default()).unwrap(), expected);
    });
}

#[cfg(all(target_os = "linux", not(miri)))] // where its gates are
#[test]
fn every_promise_of_an_executor_is_kept_on_threads() {
    for (_, promise) in crate::common::executor_promises::promises() {
        timely(move || promise(pool(2), 2));
    }
}

// F60, F63: the provided map of a foreign executor that refuses
#[test]
fn a_refusal_of_a_foreign_executor_ends_its_map() {
    let executor = Inline::default();
    executor.shutdown();
    let seen: Vec<_> = executor.map(|n: i32| n, vec![1, 2, 3]).collect();
    assert!(matches!(seen[..], [Err(Error::Shutdown)]));
    let refused = executor.map_with(MapOptions::new(), |n: i32| n, vec![1, 2, 3]);
    assert!(matches!(refused, Err(Error::Shutdown)));
}

#[test]
fn an_unordered_map_of_a_foreign_executor_yields_everything() {
    let executor = Inline::default();
    let options = MapOptions::new().unordered(true).buffer_size(3);
    let map = executor.map_with(options, |n: u32| n * n, 0..10).unwrap();
    let mut squares: Vec<u32> = map.map(Result::unwrap).collect();
    squares.sort_unstable();
    assert_eq!(squares, (0..10).map(|n| n * n).collect::<Vec<_>>());
}

#[test]
fn a_closure_without_captures_is_a_portable_function() {
    timely(|| {
        let pool = ThreadPoolExecutor::default();
        let call = Executor::submit(&pool, |(a, b): (u8, u8)| a.checked_add(b), (200, 100));
        assert_eq!(call.unwrap().into_result().unwrap(), None);
    });
}
