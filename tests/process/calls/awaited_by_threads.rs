//! Calls of threads that wait for calls of processes: never a false deadlock.

use std::sync::mpsc;

use concurrent::Error;
use concurrent::futures::{
    ProcessPoolExecutor, ReturnWhen, ThreadPoolExecutor, as_completed, join_all, wait,
};

use crate::support::{ProcessGate, replacing, trials};

trials![
    a_wait_for_a_process_counts_as_able_to_move,
    a_chain_of_waits_that_ends_in_a_process,
    a_process_pool_used_by_all_workers_of_a_thread_pool,
    a_running_call_in_a_process_cannot_be_asked_to_stop,
    the_calls_that_another_is_made_of_are_killed_with_it,
];

fn double(n: u64) -> u64 {
    n * 2
}

fn a_wait_for_a_process_counts_as_able_to_move() {
    let processes = ProcessPoolExecutor::new(1).unwrap();
    let threads = ThreadPoolExecutor::new(1).unwrap();
    let gate = ProcessGate::new();
    let running = processes.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    gate.wait_begun();
    let queued = processes.submit(double, 4).unwrap();
    let (begun, begins) = mpsc::channel();
    let call = threads.spawn(move || {
        begun.send(()).unwrap();
        let done = wait([&queued], None, ReturnWhen::AllCompleted);
        assert_eq!(done.not_done.len(), 0);
        running.into_result()?;
        let mut results = as_completed([queued]).map(concurrent::futures::Future::into_result);
        results.next().expect("one call was given")
    });
    begins.recv().unwrap();
    gate.open();
    assert_eq!(call.unwrap().into_result().unwrap().unwrap(), 8);
}

fn a_chain_of_waits_that_ends_in_a_process() {
    let processes = ProcessPoolExecutor::new(1).unwrap();
    let threads = ThreadPoolExecutor::new(3).unwrap();
    let gate = ProcessGate::new();
    let end = processes.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    gate.wait_begun();
    let first = threads.spawn(move || end.into_result()).unwrap();
    let second = threads.spawn(move || first.into_result()).unwrap();
    let third = threads.spawn(move || second.into_result()).unwrap();
    gate.open();
    third.into_result().unwrap().unwrap().unwrap().unwrap();
}

fn a_process_pool_used_by_all_workers_of_a_thread_pool() {
    let processes = std::sync::Arc::new(ProcessPoolExecutor::new(2).unwrap());
    let threads = ThreadPoolExecutor::new(4).unwrap();
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let processes = std::sync::Arc::clone(&processes);
            threads.spawn(move || processes.submit(double, n)?.into_result()).unwrap()
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.into_result().unwrap().unwrap(), n as u64 * 2);
    }
}

fn a_running_call_in_a_process_cannot_be_asked_to_stop() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let gate = ProcessGate::new();
    let running = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    gate.wait_begun();
    let pending = pool.submit(double, 1).unwrap();
    assert!(pending.request_cancel() && pending.cancelled());
    assert!(!running.request_cancel());
    let made_of_it = running.map(|()| 1);
    assert!(!made_of_it.request_cancel());
    gate.open();
    made_of_it.into_result().unwrap();
}

fn the_calls_that_another_is_made_of_are_killed_with_it() {
    let pool = replacing(1);
    let run = |gate: &ProcessGate| {
        let running = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
        gate.wait_begun();
        running
    };
    let gate = ProcessGate::new();
    let chain = run(&gate).map(|()| 1);
    assert!(chain.kill());
    let error = chain.into_result().unwrap_err();
    assert!(matches!(error, Error::Killed { .. }), "{error}");

    let gate = ProcessGate::new();
    let running = run(&gate);
    let started = pool.stats().started;
    let group = join_all([running, pool.submit(|()| (), ()).unwrap()]);
    assert!(group.kill() && group.cancelled());
    // The worker of the first is gone: the next call runs in another one.
    pool.submit(double, 1).unwrap().into_result().unwrap();
    assert_eq!(pool.stats().started, started + 1);
}
