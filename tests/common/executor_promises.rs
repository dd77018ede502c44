//! What every executor promises: the same functions run on threads, on processes and on ranks.
//!
//! Each gets an executor of its own, and how many calls that runs at the same time.

use std::sync::mpsc;
use std::time::Duration;

use concurrent::futures::{
    Executor, Future, MapOptions, ReturnWhen, ShutdownOptions, as_completed, wait,
};
use concurrent::{Error, Result};
use serde::{Deserialize, Serialize};

use super::process_gate::ProcessGate;

/// One of them.
pub(crate) type Promise<E> = fn(E, usize);

/// All of them, with their names.
pub(crate) fn promises<E: Executor>() -> Vec<(&'static str, Promise<E>)> {
    macro_rules! list {
        ($($name:ident),* $(,)?) => { vec![$((stringify!($name), $name::<E> as Promise<E>)),*] };
    }
    list![
        one_program_runs_everywhere,
        results_come_in_the_order_of_the_items,
        items_of_every_chunk_size_come_back,
        an_unordered_map_yields_everything,
        a_panic_is_the_failure_of_its_call_and_of_nothing_else,
        a_panic_in_a_chunk_is_the_failure_of_its_item,
        many_calls_are_waited_for_at_once,
        calls_are_met_as_they_are_done,
        callbacks_see_the_end_of_their_call,
        calls_follow_calls,
        what_has_not_begun_can_be_cancelled_and_what_runs_cannot,
        a_map_that_is_dropped_cancels_what_has_not_begun,
        a_map_that_is_late_ends,
        a_shutdown_runs_what_was_submitted,
        a_shutdown_that_cancels_says_how_many,
        a_shutdown_with_a_time_limit_says_what_is_left,
        large_values_go_there_and_back,
        a_result_that_came_before_the_shutdown_stays,
    ]
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Page {
    url: String,
    sizes: Vec<u32>,
}

fn total(page: Page) -> (String, u32) {
    (page.url, page.sizes.iter().sum())
}

fn square(n: u64) -> u64 {
    n * n
}

fn one_program_runs_everywhere<E: Executor>(executor: E, _: usize) {
    let program = || -> Result<Vec<(String, u32)>> {
        let page = |n: u32| Page { url: format!("/{n}"), sizes: vec![n; 3] };
        let mut totals = vec![executor.submit(total, page(1))?.into_result()?];
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
    };
    let expected = [1, 2, 3, 4, 5, 4, 5].map(|n| (format!("/{n}"), 3 * n));
    assert_eq!(program().unwrap(), expected);
}

fn results_come_in_the_order_of_the_items<E: Executor>(executor: E, _: usize) {
    let squares: Vec<u64> = executor.map(square, 0..500).map(Result::unwrap).collect();
    assert_eq!(squares, (0..500).map(square).collect::<Vec<_>>());
    assert_eq!(executor.map(square, []).count(), 0);
}

fn items_of_every_chunk_size_come_back<E: Executor>(executor: E, _: usize) {
    for chunk in [1, 2, 7, 100, 101, 1000] {
        let options = MapOptions::new().chunk_size(chunk);
        let map = executor.map_with(options, square, 0..100).unwrap();
        assert_eq!(map.map(Result::unwrap).sum::<u64>(), 328_350, "chunks of {chunk}");
    }
    let none = executor.map_with(MapOptions::new().chunk_size(0), square, 0..9);
    assert!(matches!(none, Err(Error::InvalidArgument(_))));
}

fn an_unordered_map_yields_everything<E: Executor>(executor: E, _: usize) {
    let options = MapOptions::new().unordered(true).buffer_size(3);
    let map = executor.map_with(options, square, 0..50).unwrap();
    let mut squares: Vec<u64> = map.map(Result::unwrap).collect();
    squares.sort_unstable();
    assert_eq!(squares, (0..50).map(square).collect::<Vec<_>>());
}

fn fails_at_two(n: u64) -> u64 {
    assert!(n != 2, "two is too much, on purpose");
    n
}

fn is_two(error: &Error) -> bool {
    matches!(error, Error::Panicked(panic) if panic.message() == "two is too much, on purpose"
        && panic.location().is_some_and(|location| location.contains("executor_promises.rs")))
}

fn a_panic_is_the_failure_of_its_call_and_of_nothing_else<E: Executor>(executor: E, _: usize) {
    let calls: Vec<_> = (0..5).map(|n| executor.submit(fails_at_two, n).unwrap()).collect();
    for (n, call) in calls.into_iter().enumerate() {
        match call.into_result() {
            Ok(value) => assert_eq!(value, n as u64),
            Err(error) => assert!(n == 2 && is_two(&error), "{error}"),
        }
    }
}

fn a_panic_in_a_chunk_is_the_failure_of_its_item<E: Executor>(executor: E, _: usize) {
    let options = MapOptions::new().chunk_size(4);
    let got: Vec<_> = executor.map_with(options, fails_at_two, 0..6).unwrap().collect();
    assert_eq!(got.len(), 6);
    for (n, result) in got.into_iter().enumerate() {
        match result {
            Ok(value) => assert_eq!(value, n as u64),
            Err(error) => assert!(n == 2 && is_two(&error), "{error}"),
        }
    }
}

fn many_calls_are_waited_for_at_once<E: Executor>(executor: E, _: usize) {
    let calls: Vec<_> = (0..50).map(|n| executor.submit(square, n).unwrap()).collect();
    let outcome = wait(&calls, None, ReturnWhen::AllCompleted);
    assert_eq!((outcome.done.len(), outcome.not_done.len()), (50, 0));
    let failing = [executor.submit(fails_at_two, 2).unwrap()];
    assert_eq!(wait(&failing, None, ReturnWhen::FirstException).done.len(), 1);
    assert!(failing[0].result().is_err());
}

fn calls_are_met_as_they_are_done<E: Executor>(executor: E, _: usize) {
    let calls: Vec<_> = (0..50).map(|n| executor.submit(square, n).unwrap()).collect();
    let sum: u64 = as_completed(calls).map(|call| *call.result().unwrap()).sum();
    assert_eq!(sum, 40_425);
}

fn callbacks_see_the_end_of_their_call<E: Executor>(executor: E, _: usize) {
    let (tell, told) = mpsc::channel();
    for n in 0..20 {
        let call = executor.submit(square, n).unwrap();
        let tell = tell.clone();
        call.add_done_callback(move |call: &Future<u64>| {
            tell.send(*call.result().unwrap()).unwrap();
        });
    }
    drop(tell);
    assert_eq!(told.iter().sum::<u64>(), 2470);
}

fn calls_follow_calls<E: Executor>(executor: E, _: usize) {
    let root = executor.submit(square, 7).unwrap();
    assert_eq!(root.map(|n| n + 1).into_result().unwrap(), 50);
}

/// As many calls as run at the same time, all of which have begun.
fn occupy<E: Executor>(executor: &E, gate: &ProcessGate, workers: usize) -> Vec<Future<()>> {
    let pass = |name: String| ProcessGate::pass(&name);
    let calls = (0..workers).map(|_| executor.submit(pass, gate.name()).unwrap()).collect();
    gate.wait_begun_by(workers);
    calls
}

fn release(gate: &ProcessGate, calls: Vec<Future<()>>) {
    calls.iter().for_each(|_| gate.open());
    calls.into_iter().for_each(|call| call.into_result().unwrap());
}

fn what_has_not_begun_can_be_cancelled_and_what_runs_cannot<E: Executor>(
    executor: E,
    workers: usize,
) {
    let gate = ProcessGate::new();
    let running = occupy(&executor, &gate, workers);
    let pending = executor.submit(square, 3).unwrap();
    let kept = executor.submit(square, 4).unwrap();
    assert!(running.iter().all(|call| call.running() && !call.cancel()));
    assert!(!pending.running() && pending.cancel() && pending.cancelled());
    assert!(matches!(pending.result(), Err(Error::Cancelled)));
    release(&gate, running);
    assert_eq!(kept.into_result().unwrap(), 16);
}

fn a_map_that_is_dropped_cancels_what_has_not_begun<E: Executor>(executor: E, workers: usize) {
    let (gate, ran) = (ProcessGate::new(), ProcessGate::new());
    let running = occupy(&executor, &gate, workers);
    drop(executor.map(|name: String| ProcessGate::pass(&name), vec![ran.name(); 3]));
    release(&gate, running);
    executor.shutdown(); // would wait at the gate of the map
}

fn a_map_that_is_late_ends<E: Executor>(executor: E, workers: usize) {
    let gate = ProcessGate::new();
    let running = occupy(&executor, &gate, workers);
    let options = MapOptions::new().timeout(Duration::from_millis(1));
    let mut late = executor.map_with(options, square, 0..3).unwrap();
    assert!(matches!(late.next(), Some(Err(error)) if error.is_timeout()));
    assert!(late.next().is_none());
    release(&gate, running);
}

fn a_shutdown_runs_what_was_submitted<E: Executor>(executor: E, workers: usize) {
    let gate = ProcessGate::new();
    let running = occupy(&executor, &gate, workers);
    let pending: Vec<_> = (0..4).map(|n| executor.submit(square, n).unwrap()).collect();
    running.iter().for_each(|_| gate.open());
    executor.shutdown();
    assert!(running.iter().all(Future::done) && pending.iter().all(Future::done));
    assert_eq!(*pending[3].result().unwrap(), 9);
    executor.shutdown();
    let refused: Vec<_> = executor.map(square, 0..3).collect();
    assert!(matches!(refused[..], [Err(Error::Shutdown)]));
}

fn a_shutdown_that_cancels_says_how_many<E: Executor>(executor: E, workers: usize) {
    let gate = ProcessGate::new();
    let running = occupy(&executor, &gate, workers);
    let pending: Vec<_> = (0..3).map(|n| executor.submit(square, n).unwrap()).collect();
    let options = ShutdownOptions::new().wait(false).cancel_futures(true);
    let report = executor.shutdown_with(options);
    assert_eq!((report.cancelled, report.pending, report.running), (3, 0, workers));
    assert!(pending.iter().all(Future::cancelled));
    release(&gate, running);
    executor.shutdown();
}

fn a_shutdown_with_a_time_limit_says_what_is_left<E: Executor>(executor: E, workers: usize) {
    let gate = ProcessGate::new();
    let running = occupy(&executor, &gate, workers);
    let pending = executor.submit(square, 3).unwrap();
    let options = ShutdownOptions::new().timeout(Duration::from_millis(1));
    let report = executor.shutdown_with(options);
    assert_eq!((report.cancelled, report.pending, report.running), (0, 1, workers));
    release(&gate, running);
    assert_eq!(pending.into_result().unwrap(), 9);
    executor.shutdown();
}

fn large_values_go_there_and_back<E: Executor>(executor: E, _: usize) {
    let reverse = |mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    };
    for len in [0, 1, 5_000, 70_000, 1 << 20, 5 << 20] {
        let bytes: Vec<u8> = (0..len).map(|n: u32| n as u8).collect();
        let mut back = executor.submit(reverse, bytes.clone()).unwrap().into_result().unwrap();
        back.reverse();
        assert!(back == bytes, "{len} bytes");
    }
    let text = executor.submit(|words: Vec<String>| words.concat(), vec!["ab".into(); 50_000]);
    assert_eq!(text.unwrap().into_result().unwrap().len(), 100_000);
}

fn a_result_that_came_before_the_shutdown_stays<E: Executor>(executor: E, _: usize) {
    let call = executor.submit(square, 5).unwrap();
    assert_eq!(*call.result().unwrap(), 25);
    drop(executor);
    assert_eq!(call.into_result().unwrap(), 25);
}
