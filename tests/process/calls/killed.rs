//! `kill`: calls and workers that are ended or stopped by the program.

use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;

use crate::support::{ProcessGate, children, replacing, signal, trials};

trials![
    kill_ends_one_call_and_its_worker,
    kill_of_a_call_that_its_worker_is_about_to_begin,
    kill_of_what_does_not_run,
    what_kill_says_is_what_becomes_of_the_call,
    a_deadline_ends_a_call_that_loops,
    a_stopped_worker_goes_on,
    workers_kill_each_other,
];

fn double(n: u64) -> u64 {
    n * 2
}

fn kill_ends_one_call_and_its_worker() {
    let pool = ProcessPoolExecutor::new(2).unwrap(); // the policy does not matter
    let gate = ProcessGate::new();
    let innocent = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    gate.wait_begun();
    let other = ProcessGate::new();
    let victim = pool.submit(|g: String| ProcessGate::pass(&g), other.name()).unwrap();
    let pid = other.wait_begun();
    assert!(!victim.cancel());
    assert!(victim.kill());
    assert!(matches!(victim.result(), Err(Error::Killed { pid: p }) if p == pid));
    assert!(!victim.kill(), "it is done");
    gate.open();
    innocent.into_result().unwrap();
    assert_eq!(pool.submit(double, 2).unwrap().into_result().unwrap(), 4);
    assert_eq!((pool.stats().killed, pool.stats().died), (1, 0));
}

fn kill_of_a_call_that_its_worker_is_about_to_begin() {
    let pool = replacing(1);
    for _ in 0..200 {
        assert_eq!(pool.submit(double, 2).unwrap().into_result().unwrap(), 4);
        let for_ever = |()| loop {
            std::thread::park();
        };
        let call = pool.submit::<(), ()>(for_ever, ()).unwrap();
        while !call.running() {
            std::hint::spin_loop();
        }
        assert!(call.kill());
        match call.result_timeout(Duration::from_secs(30)) {
            Err(Error::Killed { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pool.stats().died, 0);
}

fn kill_of_what_does_not_run() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let gate = ProcessGate::new();
    let first = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    let pending = pool.submit(double, 1).unwrap();
    gate.wait_begun();
    assert!(pending.kill() && pending.cancelled());
    gate.open();
    first.result().unwrap();
    assert!(!first.kill());
    let threads = concurrent::futures::ThreadPoolExecutor::new(1).unwrap();
    let call = threads.spawn(|| 1).unwrap();
    call.result().unwrap();
    assert!(!call.kill());
}

fn what_kill_says_is_what_becomes_of_the_call() {
    let pool = replacing(1);
    let brief = |n: u64| {
        (0..n % 13 * 300).for_each(|_| std::hint::spin_loop());
        n * 2
    };
    // Kills come at about the time when the calls end, however fast the machine is.
    let (least, most) = (Duration::from_micros(1), Duration::from_millis(20));
    let mut moment = Duration::from_micros(100);
    for round in 0..150 {
        assert_eq!(pool.submit(double, round).unwrap().into_result().unwrap(), round * 2);
        let call = pool.submit(brief, round).unwrap();
        let behind = pool.submit(double, round).unwrap();
        let begin = std::time::Instant::now();
        while begin.elapsed() < moment {
            std::hint::spin_loop();
        }
        let killed = call.kill();
        moment = if killed { moment * 5 / 4 } else { moment * 3 / 4 }.clamp(least, most);
        match call.into_result() {
            Ok(value) => assert!(!killed && value == round * 2, "{round}: {killed} {value}"),
            Err(error) => {
                let is_right = matches!(error, Error::Killed { .. }) || error.is_cancelled();
                assert!(killed && is_right, "{round}: {killed} {error}");
            }
        }
        assert_eq!(behind.into_result().unwrap(), round * 2);
    }
    assert_eq!(pool.stats().died, 0);
}

fn a_deadline_ends_a_call_that_loops() {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(2)
        .call_deadline(Duration::from_millis(300))
        .build()
        .unwrap();
    assert_eq!(pool.submit(double, 1).unwrap().into_result().unwrap(), 2);
    let spin = |()| loop {
        std::hint::spin_loop();
    };
    let loops =
        [pool.submit::<(), ()>(spin, ()).unwrap(), pool.submit::<(), ()>(spin, ()).unwrap()];
    let behind: Vec<_> = (0..10).map(|n| pool.submit(double, n).unwrap()).collect();
    for call in loops {
        let error = call.into_result().unwrap_err();
        assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
        assert!(error.to_string().contains("killed.rs"), "{error}");
        assert!(!error.is_timeout(), "that is what waits have");
    }
    for (n, call) in behind.into_iter().enumerate() {
        assert_eq!(call.into_result().unwrap(), n as u64 * 2);
    }
}

fn a_stopped_worker_goes_on() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let gate = ProcessGate::new();
    let call = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    let pid = gate.wait_begun();
    signal(pid, "-STOP");
    let behind: Vec<_> = (0..200).map(|n| pool.submit(double, n).unwrap()).collect();
    let large: Vec<_> =
        (0..3).map(|_| pool.submit(|v: Vec<u8>| v.len(), vec![0; 1 << 20]).unwrap()).collect();
    signal(pid, "-CONT");
    gate.open();
    call.into_result().unwrap();
    assert!(behind.into_iter().all(|call| call.into_result().is_ok()));
    assert!(large.into_iter().all(|call| call.into_result().unwrap() == 1 << 20));
}

fn workers_kill_each_other() {
    let pool = replacing(2);
    let mut victims = Vec::new();
    for _ in 0..5 {
        let gate = ProcessGate::new();
        let victim = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
        let pid = gate.wait_begun();
        let murder = pool.submit(|pid: u32| signal(pid, "-KILL"), pid).unwrap();
        murder.into_result().unwrap();
        assert_eq!(victim.into_result().unwrap_err().worker_death().unwrap().pid, pid);
        victims.push(pid);
    }
    pool.shutdown();
    let own = children(std::process::id());
    assert!(victims.iter().all(|pid| !own.contains(pid)), "reaped");
}
