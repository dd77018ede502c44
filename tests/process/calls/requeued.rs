//! Calls that return to the queue, because a worker died before it began them, or to be tried again.

use std::io::Write;

use concurrent::Error;
use concurrent::futures::process::OnWorkerDeath;
use concurrent::futures::{Future, ProcessPoolExecutor, ShutdownOptions};
use rustix::process::Signal;

use crate::fault_injection::{is_stopped, send};
use crate::support::{ProcessGate, eventually, replacing, trials};

trials![
    a_call_that_came_back_is_cancelled_by_a_shutdown,
    a_call_that_its_worker_has_not_begun_does_not_run,
    what_comes_back_after_the_workers_were_killed_is_not_run_again,
    a_call_that_is_tried_again_is_pending_meanwhile,
    calls_that_are_taken_back_are_answered_once,
    what_was_not_run_does_not_wear_a_worker_out,
];

fn double(n: u64) -> u64 {
    n * 2
}

type End = fn(&ProcessPoolExecutor);

/// Ways to shut a pool down that cancel what has not started.
const ENDS: [End; 3] = [
    |pool| {
        pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
    },
    ProcessPoolExecutor::terminate_workers,
    ProcessPoolExecutor::kill_workers,
];

/// A pool whose workers wait at the gate before they are ready.
fn held_up(gate: &ProcessGate, policy: OnWorkerDeath) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(1).on_worker_death(policy);
    builder.initializer(|gate: String| ProcessGate::pass(&gate), gate.name()).build().unwrap()
}

/// A call that ends its worker; it is in the queue again, and the next worker waits at the gate.
fn tried_again(gate: &ProcessGate) -> (ProcessPoolExecutor, Future<()>) {
    let pool = held_up(gate, OnWorkerDeath::Retry(5));
    let call = pool.submit(|()| std::process::abort(), ()).unwrap();
    gate.wait_begun();
    gate.open();
    gate.wait_begun();
    (pool, call)
}

fn a_call_that_came_back_is_cancelled_by_a_shutdown() {
    for end in ENDS {
        let gate = ProcessGate::new();
        let (pool, call) = tried_again(&gate);
        end(&pool);
        assert!(call.cancelled(), "{call:?}");
        gate.open();
        pool.shutdown();
    }
}

fn a_call_that_is_tried_again_is_pending_meanwhile() {
    let gate = ProcessGate::new();
    let (pool, call) = tried_again(&gate);
    assert!(!call.running() && !call.done());
    assert_eq!((pool.stats().pending, pool.stats().running), (1, 0));
    assert!(call.cancel());
    gate.open();
    pool.shutdown();
}

fn a_call_that_its_worker_has_not_begun_does_not_run() {
    for end in ENDS {
        let pool = replacing(1);
        let worker = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
        send(worker, Signal::STOP);
        eventually("a halt", || is_stopped(worker));
        let calls = [1, 2].map(|n| pool.submit(double, n).unwrap());
        assert!(!calls.iter().any(Future::running));
        assert_eq!((pool.stats().pending, pool.stats().running), (2, 0));
        assert!(calls[1].cancel());
        assert_eq!((pool.stats().pending, pool.stats().running), (1, 0));
        end(&pool);
        assert!(calls[0].cancelled(), "{:?}", calls[0]);
        send(worker, Signal::KILL);
        pool.shutdown();
    }
}

fn what_comes_back_after_the_workers_were_killed_is_not_run_again() {
    for _ in 0..20 {
        let builder = ProcessPoolExecutor::builder().max_workers(1);
        let pool = builder.on_worker_death(OnWorkerDeath::Retry(u32::MAX)).build().unwrap();
        let call = pool.submit::<(), ()>(|()| std::process::abort(), ()).unwrap();
        eventually("a death", || pool.stats().died > 0);
        pool.kill_workers();
        pool.shutdown();
        assert!(call.done(), "{call:?}");
        match call.into_result() {
            Err(Error::Cancelled | Error::BrokenProcessPool { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Runs for longer than a brief call, and notes that it was run.
fn note((path, n): (String, u64)) -> u64 {
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(&n.to_ne_bytes()).unwrap();
    if n % 50 == 0 {
        let end = std::time::Instant::now() + std::time::Duration::from_millis(4);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
    }
    n
}

fn calls_that_are_taken_back_are_answered_once() {
    const CALLS: u64 = 1000;
    let gate = ProcessGate::new();
    let path = format!("{}/notes", gate.name());
    std::fs::write(&path, "").unwrap();
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let calls: Vec<_> = (0..CALLS).map(|n| pool.submit(note, (path.clone(), n)).unwrap()).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.into_result().unwrap(), n as u64);
    }
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.answered), (CALLS, CALLS));
    assert_eq!((stats.pending, stats.running), (0, 0));
    let bytes = std::fs::read(&path).unwrap();
    let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
    let mut noted: Vec<_> = words.collect();
    noted.sort_unstable();
    assert!(noted.into_iter().eq(0..CALLS), "each was run once");
}

fn what_was_not_run_does_not_wear_a_worker_out() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(2).prefetch(2);
    let pool = builder.build().unwrap();
    let gate = ProcessGate::new();
    let first = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    let worker = gate.wait_begun();
    let second = pool.submit(|()| std::process::id(), ()).unwrap();
    assert!(second.cancel());
    let third = pool.submit(|()| std::process::id(), ()).unwrap();
    gate.open();
    first.into_result().unwrap();
    assert_eq!(third.into_result().unwrap(), worker, "it has run one call only");
}
