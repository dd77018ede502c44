//! Random programs of calls that wait for what was composed of each other, really run.

use concurrent::Error;
use concurrent::futures::{Future, ReturnWhen, as_completed, first_ok, join_all, wait};
use proptest::prelude::*;

use crate::support::{OnceSlot, Pool, shared_pool, timely};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Map,
    AndThen,
    /// Goes on with the next call that is given to it.
    Follow,
    JoinAll,
    FirstOk,
}

#[derive(Clone, Copy, Debug)]
enum How {
    InTurn,
    All,
    Any,
    AsCompleted,
}

#[derive(Clone, Debug)]
struct Program {
    workers: Vec<usize>,
    /// The pool of each call, how it waits, and for which compositions.
    calls: Vec<(usize, How, Vec<usize>)>,
    /// Which composition each call is a part of.
    parts: Vec<usize>,
    kinds: Vec<Kind>,
}

fn compose(kind: Kind, calls: Vec<Future<bool>>) -> Future<bool> {
    match kind {
        Kind::Map => join_all(calls.into_iter().map(|call| call.map(|met| met)))
            .map(|all| all.contains(&true)),
        Kind::AndThen => calls.into_iter().fold(Future::ready(false), |before, call| {
            before.and_then(move |met| call.map(move |too| met || too))
        }),
        Kind::Follow => calls.into_iter().fold(Future::ready(false), |before, call| {
            first_ok([before.and_then(move |met| call.map(move |too| met || too))])
        }),
        Kind::JoinAll => join_all(calls).map(|all| all.contains(&true)),
        Kind::FirstOk if calls.is_empty() => Future::ready(false),
        Kind::FirstOk => first_ok(calls),
    }
}

/// Runs it, and returns whether some call met a deadlock.
fn run(program: &Program) -> bool {
    let pools: Vec<Pool> = program.workers.iter().map(|&workers| shared_pool(workers)).collect();
    let place = OnceSlot::<Vec<Future<bool>>>::new();
    let mut parts: Vec<Vec<_>> = program.kinds.iter().map(|_| Vec::new()).collect();
    let (sender, met) = std::sync::mpsc::channel();
    for (index, (own, how, others)) in program.calls.iter().cloned().enumerate() {
        let (place, sender) = (place.clone(), sender.clone());
        let body = move || {
            let all = place.get();
            let awaited: Vec<_> = others.iter().map(|&other| &all[other]).collect();
            // Those that first_ok does not need are cancelled.
            let is_stuck = |result| matches!(result, Err(Error::Deadlock(_)));
            let met = match how {
                How::InTurn => awaited.iter().filter(|call| is_stuck(call.result())).count() > 0,
                How::All => wait(awaited, None, ReturnWhen::AllCompleted)
                    .not_done
                    .into_iter()
                    .any(|call| is_stuck(call.result())),
                How::Any => {
                    let empty = awaited.is_empty();
                    !empty && wait(awaited, None, ReturnWhen::FirstCompleted).done.is_empty()
                }
                How::AsCompleted => as_completed(awaited).filter(|call| !call.done()).count() > 0,
            };
            sender.send(met).unwrap();
            met
        };
        parts[program.parts[index]].push(pools[own].spawn(body).unwrap());
    }
    drop(sender);
    let composed = program.kinds.iter().zip(parts).map(|(&kind, calls)| compose(kind, calls));
    let composed = composed.collect();
    place.fill(composed);
    place.get().iter().for_each(|call| drop(call.result()));
    met.into_iter().filter(|met| *met).count() > 0
}

fn program(calls: usize) -> impl Strategy<Value = Program> {
    let workers = prop::collection::vec(1..4_usize, 1..4);
    (workers, 1..=calls, 1..5_usize).prop_flat_map(|(workers, calls, compositions)| {
        use How::{All, Any, AsCompleted, InTurn};
        use Kind::{AndThen, FirstOk, Follow, JoinAll, Map};
        let how = prop::sample::select(vec![InTurn, All, Any, AsCompleted]);
        let kind = prop::sample::select(vec![Map, AndThen, Follow, JoinAll, FirstOk]);
        let call = (0..workers.len(), how, prop::collection::vec(0..compositions, 0..3));
        let calls = (
            prop::collection::vec(call, calls),
            prop::collection::vec(0..compositions, calls),
            prop::collection::vec(kind, compositions),
        );
        calls.prop_map(move |(calls, parts, kinds)| {
            let workers = workers.clone();
            Program { workers, calls, parts, kinds }
        })
    })
}

fn runner(cases: u32) -> prop::test_runner::TestRunner {
    // CONCURRENT_PROGRAMS=100000 for the long run.
    let given = std::env::var("CONCURRENT_PROGRAMS").ok().and_then(|n| n.parse().ok());
    let cases = if cfg!(miri) { 5 } else { given.unwrap_or(cases) };
    prop::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

#[test]
fn random_programs_end() {
    runner(1_000)
        .run(&program(8), |program| {
            timely(move || run(&program));
            Ok(())
        })
        .unwrap();
}

/// Nothing waits for what it is a part of, directly or not, and there is one pool: whatever the
/// number of workers, no schedule can get stuck.
#[test]
fn programs_without_circles_meet_no_deadlock() {
    runner(1_000)
        .run(&program(8), |mut program| {
            program.workers.truncate(1);
            for (index, (own, _, others)) in program.calls.iter_mut().enumerate() {
                *own = 0;
                let part = program.parts[index];
                others.retain(|&other| other < part);
            }
            let ran = program.clone();
            prop_assert!(!timely(move || run(&ran)), "{:?}", program);
            Ok(())
        })
        .unwrap();
}
