//! Workers that are stopped, by a signal, a debugger or the freezer, while they have nothing to do.

use concurrent::futures::{Future, ProcessPoolExecutor};
use rustix::process::Signal;

use crate::fault_injection::{is_stopped, send};
use crate::support::{ProcessGate, eventually, replacing, trials};

trials![
    calls_that_a_stopped_worker_has_not_begun_go_to_another,
    a_worker_is_started_for_a_call_that_a_stopped_one_has_not_begun,
    a_stopped_worker_that_is_alone_keeps_its_calls_until_it_goes_on,
    a_stopped_worker_that_was_passed_over_does_not_hold_up_a_shutdown,
    workers_that_are_stopped_are_terminated,
];

fn double(n: u64) -> u64 {
    n * 2
}

fn stop(worker: u32) {
    send(worker, Signal::STOP);
    eventually("a halt", || is_stopped(worker));
}

/// Two workers, both ready; the first is stopped.
fn one_of_two() -> (ProcessPoolExecutor, u32) {
    let pool = replacing(2);
    let gates = [ProcessGate::new(), ProcessGate::new()];
    let pass = |gate: &ProcessGate| {
        pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap()
    };
    let calls = gates.each_ref().map(pass);
    let workers = gates.each_ref().map(ProcessGate::wait_begun);
    gates.iter().for_each(ProcessGate::open);
    calls.into_iter().for_each(|call| call.into_result().unwrap());
    stop(workers[0]);
    (pool, workers[0])
}

fn calls_that_a_stopped_worker_has_not_begun_go_to_another() {
    let (pool, stopped) = one_of_two();
    for _ in 0..3 {
        let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
        let results = calls.into_iter().map(Future::into_result).map(Result::unwrap);
        assert!(results.eq((0..20).map(double)));
    }
    // It skips what was taken from it, and is as good as before.
    send(stopped, Signal::CONT);
    eventually("two idle workers", || pool.stats().idle == 2);
    let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
    assert!(calls.into_iter().all(|call| call.into_result().is_ok()));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.answered, stats.died, stats.started), (82, 82, 0, 2));
}

fn a_worker_is_started_for_a_call_that_a_stopped_one_has_not_begun() {
    let pool = replacing(2);
    let worker = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    stop(worker);
    let other = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    assert_ne!(worker, other);
    send(worker, Signal::KILL);
}

fn a_stopped_worker_that_is_alone_keeps_its_calls_until_it_goes_on() {
    let pool = replacing(1);
    let worker = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    stop(worker);
    let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
    assert!(
        calls[0].result_timeout(std::time::Duration::from_millis(300)).unwrap_err().is_timeout()
    );
    assert!(!calls.iter().any(Future::running));
    assert_eq!((pool.stats().pending, pool.stats().running), (20, 0));
    send(worker, Signal::CONT);
    assert!(calls.into_iter().map(Future::into_result).map(Result::unwrap).eq((0..20).map(double)));
    assert_eq!(pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap(), worker);
}

fn a_stopped_worker_that_was_passed_over_does_not_hold_up_a_shutdown() {
    let (pool, stopped) = one_of_two();
    let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
    assert!(calls.into_iter().all(|call| call.into_result().is_ok()));
    pool.shutdown();
    assert!(!crate::support::lives(stopped));
}

fn workers_that_are_stopped_are_terminated() {
    for end in [ProcessPoolExecutor::terminate_workers, ProcessPoolExecutor::kill_workers] {
        let (pool, _idle) = one_of_two();
        let gate = ProcessGate::new();
        let call = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
        stop(gate.wait_begun());
        end(&pool);
        assert!(call.into_result().unwrap_err().is_broken_executor());
        pool.shutdown();
    }
}
