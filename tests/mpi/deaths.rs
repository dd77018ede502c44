//! Ranks that are killed, with an MPI whose programs outlive that. With any other, none of this runs.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use concurrent::Error;
use concurrent::futures::{Future, MpiPoolExecutor};
use libtest_mimic::Trial;

use crate::common::process_gate::ProcessGate;
use crate::support::{acts, outlives_ranks, run, trial};

acts![
    a_killed_rank_fails_its_call_and_the_rest_goes_on,
    a_killed_rank_is_retried_elsewhere,
    what_a_rank_said_before_it_died_counts,
    no_call_begins_while_the_answer_ahead_can_be_lost,
    a_call_that_kills_ends_after_its_retries,
    without_a_rank_everything_fails,
    a_rank_that_dies_idle_is_missed,
];

pub(crate) fn trials() -> Vec<Trial> {
    macro_rules! on {
        ($($name:ident: $ranks:expr),* $(,)?) => { vec![$(
            trial(concat!("deaths::", stringify!($name)), || survives($ranks, stringify!($name)))
        ),*] };
    }
    on![
        a_killed_rank_fails_its_call_and_the_rest_goes_on: 4,
        a_killed_rank_is_retried_elsewhere: 4,
        what_a_rank_said_before_it_died_counts: 2,
        no_call_begins_while_the_answer_ahead_can_be_lost: 2,
        a_call_that_kills_ends_after_its_retries: 5,
        without_a_rank_everything_fails: 3,
        a_rank_that_dies_idle_is_missed: 3,
    ]
}

fn survives(ranks: usize, act: &str) {
    if !outlives_ranks() {
        println!("skipped: CONCURRENT_MPI_ULFM is not set");
        return;
    }
    let run = run(ranks, &format!("mpi::deaths::{act}"));
    // The launcher may say with its code that a rank has died.
    assert!(run.output.contains("passed "), "{}: {}", run.status, run.output);
    assert_ne!(run.status.code(), Some(124), "it hung at its end: {}", run.output);
    assert!(run.took < Duration::from_secs(60), "{:?}: {}", run.took, run.output);
}

/// Waits until the pool knows that it has lost so many.
fn wait_lost(pool: &MpiPoolExecutor, ranks: usize) {
    let begun = Instant::now();
    while pool.stats().lost < ranks {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody misses it");
        std::thread::yield_now();
    }
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

fn pass(name: String) -> u32 {
    ProcessGate::pass(&name);
    std::process::id()
}

fn a_killed_rank_fails_its_call_and_the_rest_goes_on() {
    let pool = MpiPoolExecutor::builder().credit(2).build().unwrap();
    let gate = ProcessGate::new();
    let calls: Vec<_> = (0..3).map(|_| pool.submit(pass, gate.name()).unwrap()).collect();
    let others: Vec<_> = (0..40).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
    let pids = [gate.wait_begun(), gate.wait_begun(), gate.wait_begun()];
    let begun = Instant::now();
    kill(pids[0]);
    // All at the gate but for the one that is dead.
    let failed = loop {
        if let Some(failed) = calls.iter().position(Future::done) {
            break failed;
        }
        std::thread::yield_now();
    };
    println!("noticed after {:?}", begun.elapsed());
    gate.open();
    gate.open();
    for (index, call) in calls.into_iter().enumerate() {
        let result = call.into_result();
        if index == failed {
            let error = result.unwrap_err();
            let death = error.worker_death().unwrap();
            assert!(matches!(error, Error::WorkerDied(_)) && death.pid == pids[0], "{error}");
            assert!(death.call.as_ref().unwrap().contains("deaths.rs"), "{error}");
        } else {
            assert!(pids[1..].contains(&result.unwrap()));
        }
    }
    assert!(
        others.into_iter().enumerate().all(|(n, call)| call.into_result().unwrap() == n as u64)
    );
    assert_eq!((pool.workers(), pool.stats().lost), (2, 1));
}

fn a_killed_rank_is_retried_elsewhere() {
    let pool = MpiPoolExecutor::builder().retries(1).build().unwrap();
    let gate = ProcessGate::new();
    let calls: Vec<_> = (0..3).map(|_| pool.submit(pass, gate.name()).unwrap()).collect();
    let pids = [gate.wait_begun(), gate.wait_begun(), gate.wait_begun()];
    kill(pids[2]);
    wait_lost(&pool, 1); // it cannot go through the gate any more
    (0..2).for_each(|_| gate.open());
    gate.wait_begun(); // the same call once more
    gate.open();
    assert!(calls.into_iter().all(|call| pids[..2].contains(&call.into_result().unwrap())));
}

fn what_a_rank_said_before_it_died_counts() {
    let gate = ProcessGate::new();
    let waits = |gate: String| ProcessGate::pass(&gate);
    let builder = MpiPoolExecutor::builder().initializer(waits, gate.name()).credit(16);
    let pool = builder.build().unwrap();
    // In one message, since the rank cannot be sent any before.
    let large = pool.submit(|()| vec![7_u8; 1 << 20], ()).unwrap();
    let killer = pool.submit(|()| -> u32 { std::process::abort() }, ()).unwrap();
    gate.wait_begun();
    gate.open();
    assert_eq!(large.into_result().unwrap().len(), 1 << 20);
    let error = killer.into_result().unwrap_err();
    assert!(matches!(error, Error::WorkerDied(_)), "{error}");
    assert_eq!(pool.stats().lost, 1);
}

/// Else the death would be charged to a call that had ended.
fn no_call_begins_while_the_answer_ahead_can_be_lost() {
    let (start, middle) = (ProcessGate::new(), ProcessGate::new());
    let waits = |gate: String| ProcessGate::pass(&gate);
    let builder = MpiPoolExecutor::builder().initializer(waits, start.name()).credit(16);
    let pool = builder.build().unwrap();
    // In one message, since the rank cannot be sent any before.
    let first = pool.submit(|n: u64| n, 1).unwrap();
    let second = pool.submit(pass, middle.name()).unwrap();
    let kills = |gate: String| -> u64 {
        std::fs::write(format!("{gate}/begun-last"), "").unwrap();
        std::process::abort()
    };
    let killer = pool.submit(kills, middle.name()).unwrap();
    // Rank 0 receives nothing while this runs.
    let (entered, enters) = channel();
    let (leave, leaves) = channel::<()>();
    first.add_done_callback(move |_: &Future<u64>| {
        entered.send(()).unwrap();
        let _ = leaves.recv();
    });
    start.wait_begun();
    start.open();
    enters.recv().unwrap();
    let pid = middle.wait_begun();
    middle.open();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        let last = std::path::Path::new(&middle.name()).join("begun-last");
        assert!(!last.exists(), "an answer was on its way");
        std::thread::yield_now();
    }
    drop(leave);
    assert_eq!((first.into_result().unwrap(), second.into_result().unwrap()), (1, pid));
    let error = killer.into_result().unwrap_err();
    assert!(matches!(error, Error::WorkerDied(_)), "{error}");
    let death = error.worker_death().unwrap();
    assert!(death.pid == pid && death.call.as_ref().unwrap().contains("-> u64"), "{error}");
}

fn a_call_that_kills_ends_after_its_retries() {
    let pool = MpiPoolExecutor::builder().retries(2).build().unwrap();
    let others: Vec<_> = (0..20).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
    let killer = pool.submit(|()| -> u32 { std::process::abort() }, ()).unwrap();
    let more: Vec<_> = (0..20).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
    let error = killer.into_result().unwrap_err();
    assert!(matches!(error, Error::WorkerDied(_)), "{error}");
    for call in others.into_iter().chain(more) {
        call.into_result().unwrap();
    }
    assert_eq!((pool.workers(), pool.stats().lost), (1, 3));
}

fn without_a_rank_everything_fails() {
    let pool = MpiPoolExecutor::builder().retries(9).credit(1).build().unwrap();
    let calls: Vec<_> =
        (0..6).map(|_| pool.submit(|()| -> u32 { std::process::abort() }, ()).unwrap()).collect();
    for call in calls {
        let error = call.into_result().unwrap_err();
        assert!(matches!(error, Error::BrokenMpiPool { accepted: true, .. }), "{error}");
    }
    let error = pool.submit(|n: u32| n, 1).unwrap_err();
    assert!(error.to_string().contains("no rank is left"), "{error}");
}

fn a_rank_that_dies_idle_is_missed() {
    let pool = MpiPoolExecutor::new().unwrap();
    let victim = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    kill(victim);
    let begun = Instant::now();
    wait_lost(&pool, 1);
    assert_eq!(pool.workers(), 1);
    println!("missed after {:?}", begun.elapsed());
    let sum: u64 = pool.map(|n: u64| n, 0..100).map(Result::unwrap).sum();
    assert_eq!(sum, 4950);
}
