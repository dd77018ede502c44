//! The end of a pool.

use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, ProcessPoolExecutor, ShutdownOptions};

use crate::support::{LIMIT, ProcessGate, children, eventually, lives, trials};

trials![
    py_run_after_shutdown,
    py_hang_issue12364,
    py_cancel_futures,
    py_hang_gh94440,
    py_processes_terminate,
    py_del_shutdown,
    py_shutdown_no_wait,
    py_shutdown_gh_132969,
    py_shutdown_deadlock,
    py_shutdown_deadlock_pickle,
    py_force_shutdown_workers,
    workers_that_refuse_to_end_are_killed,
    py_force_shutdown_workers_dead_workers,
    py_force_shutdown_workers_not_started_yet,
    py_max_tasks_early_shutdown,
    shutdown_gives_up_waiting,
    shutdown_in_a_callback_does_not_wait_for_itself,
    drop_while_a_panic_unwinds_cancels,
];

fn double(n: u64) -> u64 {
    n * 2
}

// case 74
fn py_run_after_shutdown() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    pool.shutdown();
    assert!(matches!(pool.submit(double, 1), Err(Error::Shutdown)));
    assert!(matches!(pool.map(double, [1]).next(), Some(Err(Error::Shutdown))));
    pool.shutdown();
}

// case 77
fn py_hang_issue12364() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let calls: Vec<_> = (0..50).map(|n| pool.submit(double, n).unwrap()).collect();
    pool.shutdown();
    assert!(calls.into_iter().all(|call| call.done() && call.into_result().is_ok()));
}

// case 78
fn py_cancel_futures() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let gate = ProcessGate::new();
    let running = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    gate.wait_begun();
    let second = ProcessGate::new();
    let also = pool.submit(|g: String| ProcessGate::pass(&g), second.name()).unwrap();
    second.wait_begun();
    let waiting: Vec<_> = (0..48).map(|n| pool.submit(double, n).unwrap()).collect();
    let options = ShutdownOptions::new().cancel_futures(true).wait(false);
    let report = pool.shutdown_with(options);
    assert_eq!((report.cancelled, report.pending, report.running), (48, 0, 2));
    assert!(waiting.iter().all(|call| call.cancelled()));
    gate.open();
    second.open();
    pool.shutdown();
    assert!(running.into_result().is_ok() && also.into_result().is_ok());
}

// case 80
fn py_hang_gh94440() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let call = pool.submit(double, 1).unwrap();
    call.cancel();
    pool.shutdown();
    assert!(call.done());
}

// case 88, case 89
fn py_processes_terminate() {
    let gates = [ProcessGate::new(), ProcessGate::new(), ProcessGate::new()];
    let pids = {
        let pool = ProcessPoolExecutor::new(3).unwrap();
        let enter = |gate: &ProcessGate| {
            pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap()
        };
        let calls = gates.each_ref().map(enter);
        let pids = gates.each_ref().map(ProcessGate::wait_begun);
        assert_eq!(pool.stats().workers, 3);
        gates.iter().for_each(ProcessGate::open);
        drop(calls);
        pids
    };
    let own = children(std::process::id());
    assert!(pids.iter().all(|pid| !own.contains(pid)), "reaped");
}

// case 90
fn py_del_shutdown() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
    drop(pool);
    assert!(calls.into_iter().all(|call| call.done() && call.into_result().is_ok()));
}

// case 91, F107
fn py_shutdown_no_wait() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let pid = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
    pool.shutdown_with(ShutdownOptions::new().wait(false));
    drop(pool);
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.into_result().unwrap(), n as u64 * 2);
    }
    eventually("the end of the worker", || !lives(pid));
}

// case 92, case 93, case 127, case 128
fn py_shutdown_gh_132969() {
    for workers in [1, 4] {
        let pool =
            ProcessPoolExecutor::builder().max_workers(workers).max_tasks_per_child(1).build();
        let pool = pool.unwrap();
        let fails = pool.submit(|()| -> () { panic!("one, on purpose") }, ()).unwrap();
        let more: Vec<_> = (0..3).map(|n| pool.submit(double, n).unwrap()).collect();
        pool.shutdown_with(ShutdownOptions::new().wait(false));
        drop(pool);
        assert!(fails.into_result().is_err());
        assert!(more.into_iter().all(|call| call.into_result().is_ok()));
    }
}

// case 110
fn py_shutdown_deadlock() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let gate = ProcessGate::new();
    let crash = |gate: String| -> () {
        ProcessGate::pass(&gate);
        std::process::abort()
    };
    let call = pool.submit(crash, gate.name()).unwrap();
    gate.wait_begun();
    pool.shutdown_with(ShutdownOptions::new().wait(false));
    gate.open();
    assert!(call.into_result().unwrap_err().is_broken_executor());
    pool.shutdown();
}

// case 111
fn py_shutdown_deadlock_pickle() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(10).build().unwrap();
    assert!(pool.submit(|text: String| text, "long enough to be refused".into()).is_err());
    pool.shutdown_with(ShutdownOptions::new().wait(false));
}

// case 133, case 134, case 136, case 139, F106
fn py_force_shutdown_workers() {
    for force in [ProcessPoolExecutor::terminate_workers, ProcessPoolExecutor::kill_workers] {
        let pool = ProcessPoolExecutor::new(1).unwrap();
        let gate = ProcessGate::new();
        let call = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
        let waiting = pool.submit(double, 1).unwrap();
        let pid = gate.wait_begun();
        force(&pool);
        assert!(call.into_result().unwrap_err().is_broken_executor());
        assert!(waiting.cancelled());
        assert!(pool.submit(double, 1).is_err());
        pool.shutdown();
        assert!(!lives(pid));
    }
}

// A call that ignores SIGTERM outlives `terminate_workers`, and nothing after that.
fn workers_that_refuse_to_end_are_killed() {
    let ways: [fn(&ProcessPoolExecutor, &Future<()>); 3] =
        [|pool, _| pool.kill_workers(), |_, call| _ = call.kill(), |_, _| ()];
    for (way, limit) in ways.into_iter().zip([LIMIT, LIMIT, Duration::from_millis(200)]) {
        let pool = ProcessPoolExecutor::builder().max_workers(1).call_deadline(limit);
        let pool = pool.build().unwrap();
        let gate = ProcessGate::new();
        let refuses = |gate: String| {
            // SAFETY: to ignore a signal is always allowed.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
            ProcessGate::pass(&gate);
        };
        let call = pool.submit(refuses, gate.name()).unwrap();
        let pid = gate.wait_begun();
        pool.terminate_workers();
        way(&pool, &call);
        assert!(call.into_result().unwrap_err().is_broken_executor());
        pool.shutdown();
        assert!(!lives(pid));
    }
}

// case 137
fn py_force_shutdown_workers_dead_workers() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let call = pool.submit(|()| -> () { std::process::abort() }, ()).unwrap();
    assert!(call.into_result().is_err());
    pool.terminate_workers();
    pool.kill_workers();
    pool.shutdown();
}

// case 138
fn py_force_shutdown_workers_not_started_yet() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    pool.kill_workers();
    assert_eq!(pool.stats().started, 0);
}

// case 129, case 131
fn py_max_tasks_early_shutdown() {
    let pool = ProcessPoolExecutor::builder().max_workers(3).max_tasks_per_child(1).build();
    let pool = pool.unwrap();
    let calls: Vec<_> = (0..6).map(|n| pool.submit(double, n).unwrap()).collect();
    pool.shutdown();
    assert!(calls.into_iter().all(|call| call.into_result().is_ok()));
    assert_eq!(pool.stats().workers, 0);
}

fn shutdown_gives_up_waiting() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let gate = ProcessGate::new();
    let call = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    let behind = pool.submit(double, 1).unwrap();
    gate.wait_begun();
    let options = ShutdownOptions::new().timeout(Duration::from_millis(1));
    let report = pool.shutdown_with(options);
    assert_eq!((report.pending, report.running), (1, 1));
    gate.open();
    assert!(call.into_result().is_ok() && behind.into_result().is_ok());
}

fn shutdown_in_a_callback_does_not_wait_for_itself() {
    let pool = std::sync::Arc::new(ProcessPoolExecutor::new(1).unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    let gate = ProcessGate::new();
    let call = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    let own = std::sync::Arc::clone(&pool);
    call.add_done_callback(move |_| {
        own.shutdown();
        drop(own);
        sender.send(()).unwrap();
    });
    gate.wait_begun();
    drop(pool);
    gate.open();
    receiver.recv().unwrap();
}

fn drop_while_a_panic_unwinds_cancels() {
    let gate = ProcessGate::new();
    let name = gate.name();
    let mut waiting = None;
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let pool = ProcessPoolExecutor::new(1).unwrap();
        let running = pool.submit(|g: String| ProcessGate::pass(&g), name).unwrap();
        waiting = Some(pool.submit(double, 1).unwrap());
        gate.wait_begun();
        gate.open();
        drop(running);
        panic!("unwinds through the pool, on purpose");
    }));
    assert!(caught.is_err());
    assert!(waiting.unwrap().done());
}
