//! Random programs of calls that wait for each other, really run.
//!
//! Whether a graph of waits is stuck is checked against a brute-force oracle next to the code
//! (`src/futures/deadlock/graph.rs`); here whole pools must agree with what any schedule allows.

use concurrent::Error;
use concurrent::futures::{ReturnWhen, as_completed, wait};
use proptest::prelude::*;

use crate::support::{Futures, Pool, shared_pool, timely};

#[derive(Clone, Copy, Debug)]
enum How {
    InTurn,
    All,
    AsCompleted,
}

#[derive(Clone, Debug)]
struct Program {
    workers: Vec<usize>,
    /// The pool of each call, how it waits, and for which calls.
    calls: Vec<(usize, How, Vec<usize>)>,
}

/// Runs it, and returns which calls met a deadlock.
fn run(program: &Program) -> Vec<bool> {
    let pools: Vec<Pool> = program.workers.iter().map(|&workers| shared_pool(workers)).collect();
    let futures = Futures::<bool>::new();
    let calls = program.calls.iter().cloned().map(|(own, how, others)| {
        let futures = futures.clone();
        let body = move || {
            let all = futures.get();
            let awaited = others.iter().map(|&other| &all[other]);
            let is_stuck = |result| matches!(result, Err(Error::Deadlock(_)));
            match how {
                How::InTurn => awaited.filter(|call| is_stuck(call.result())).count() > 0,
                How::All => wait(awaited, None, ReturnWhen::AllCompleted)
                    .not_done
                    .into_iter()
                    .any(|call| is_stuck(call.result())),
                How::AsCompleted => as_completed(awaited).filter(|call| !call.done()).count() > 0,
            }
        };
        pools[own].spawn(body).unwrap()
    });
    let calls = calls.collect();
    futures.fill(calls);
    futures.get().iter().map(|call| *call.result().unwrap()).collect()
}

fn program(calls: usize) -> impl Strategy<Value = Program> {
    let workers = prop::collection::vec(1..4_usize, 1..4);
    (workers, 1..=calls).prop_flat_map(|(workers, calls)| {
        let how = prop_oneof![Just(How::InTurn), Just(How::All), Just(How::AsCompleted)];
        let call = (0..workers.len(), how, prop::collection::vec(0..calls, 0..3));
        let calls = prop::collection::vec(call, calls);
        calls.prop_map(move |calls| Program { workers: workers.clone(), calls })
    })
}

/// Whether some call waits, directly or not, for itself.
fn has_cycle(program: &Program) -> bool {
    let calls = program.calls.len();
    let mut reaches = vec![vec![false; calls]; calls];
    for (call, (_, _, others)) in program.calls.iter().enumerate() {
        others.iter().for_each(|&other| reaches[call][other] = true);
    }
    for via in 0..calls {
        for from in 0..calls {
            for to in 0..calls {
                reaches[from][to] |= reaches[from][via] && reaches[via][to];
            }
        }
    }
    (0..calls).any(|call| reaches[call][call])
}

#[test]
fn random_programs_end_and_a_circle_is_always_found() {
    // CONCURRENT_PROGRAMS=100000 for the long run.
    let cases = std::env::var("CONCURRENT_PROGRAMS").ok().and_then(|n| n.parse().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(1_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = prop::test_runner::TestRunner::new(config);
    runner
        .run(&program(8), |program| {
            let ran = program.clone();
            let met = timely(move || run(&ran));
            if has_cycle(&program) {
                prop_assert!(met.contains(&true), "a circle of waits ended without an error");
            }
            Ok(())
        })
        .unwrap();
}

/// Waits without circles, enough workers for all calls at once: no schedule can get stuck.
#[test]
fn programs_without_circles_and_with_workers_for_all_meet_no_deadlock() {
    let config =
        ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = prop::test_runner::TestRunner::new(config);
    runner
        .run(&program(8), |mut program| {
            for (call, (_, _, others)) in program.calls.iter_mut().enumerate() {
                others.retain(|&other| other < call);
            }
            let enough = program.calls.len();
            program.workers.iter_mut().for_each(|workers| *workers = enough);
            let met = timely(move || run(&program));
            prop_assert!(!met.contains(&true));
            Ok(())
        })
        .unwrap();
}
