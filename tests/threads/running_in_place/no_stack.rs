//! Calls in calls where the system has no more memory for their stack: every call ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, ThreadPoolBuilder, ThreadPoolExecutor};

use crate::support::{Pool, in_own_process, timely};

type Calls = Arc<Mutex<Vec<Arc<Future<usize>>>>>;

/// Needs more stack than there is, if it is deep enough.
const DEEP: usize = 20_000;

/// How deep it goes at least: without `deep-stacks` a worker has 2 MiB.
const LEAST: usize = if cfg!(feature = "deep-stacks") { 100 } else { 3 };

fn room() -> [u8; 64 << 10] {
    std::hint::black_box([1; 64 << 10])
}

/// Waits for a call that waits for a call; gives how deep that went.
fn level(pool: &Pool, calls: &Calls, depth: usize) -> usize {
    let room = room();
    let Some(below) = depth.checked_sub(1) else { return 0 };
    let (inner, known) = (Arc::clone(pool), Arc::clone(calls));
    let child = Arc::new(pool.spawn(move || level(&inner, &known, below)).unwrap());
    calls.lock().unwrap().push(Arc::clone(&child));
    let reached = match child.result() {
        Ok(reached) => reached + 1,
        Err(error) => {
            assert!(matches!(error, Error::Deadlock(_)), "{error}");
            assert!(error.to_string().contains("no more stack"), "{error}");
            0
        }
    };
    reached * usize::from(std::hint::black_box(&room)[7])
}

fn only_worker(builder: ThreadPoolBuilder) -> Pool {
    Arc::new(builder.max_workers(1).build().unwrap())
}

#[test]
fn calls_that_wait_for_calls_end_and_so_does_what_was_not_run_in_place() {
    if !in_own_process(
        concat!(
            module_path!(),
            "::calls_that_wait_for_calls_end_and_so_does_what_was_not_run_in_place"
        ),
        Some(500_000),
    ) {
        return;
    }
    timely(|| {
        let (pool, calls) = (only_worker(ThreadPoolExecutor::builder()), Calls::default());
        let (inner, known) = (Arc::clone(&pool), Arc::clone(&calls));
        let top = pool.spawn(move || level(&inner, &known, DEEP)).unwrap();
        let reached = top.into_result().unwrap();
        assert!((LEAST..DEEP).contains(&reached), "{reached}");
        // The last one was left in the queue; now the worker takes it, and it goes on as deep.
        for n in 0.. {
            let Some(call) = calls.lock().unwrap().get(n).cloned() else { break };
            assert!(call.result_timeout(Duration::from_secs(50)).is_ok());
        }
    });
}

/// Submits to its own full queue, so that the call runs within it.
fn submits(pool: &Pool, refused: &Arc<Mutex<Option<Error>>>, depth: usize) -> usize {
    let room = room();
    let Some(below) = depth.checked_sub(1) else { return 0 };
    let (inner, tell) = (Arc::clone(pool), Arc::clone(refused));
    let reached = match pool.spawn(move || submits(&inner, &tell, below)) {
        Ok(call) => call.into_result().unwrap() + 1,
        Err(error) => {
            *refused.lock().unwrap() = Some(error);
            0
        }
    };
    reached * usize::from(std::hint::black_box(&room)[7])
}

#[test]
fn a_call_that_a_full_queue_leaves_to_its_submitter_is_refused() {
    if !in_own_process(
        concat!(module_path!(), "::a_call_that_a_full_queue_leaves_to_its_submitter_is_refused"),
        Some(500_000),
    ) {
        return;
    }
    timely(|| {
        let pool = only_worker(ThreadPoolExecutor::builder().queue_capacity(1));
        let refused = Arc::default();
        let (inner, tell) = (Arc::clone(&pool), Arc::clone(&refused));
        let top = pool.spawn(move || {
            let fills = inner.spawn(|| 7).unwrap();
            (submits(&inner, &tell, DEEP), fills)
        });
        let (reached, fills) = top.unwrap().into_result().unwrap();
        assert!((LEAST..DEEP).contains(&reached), "{reached}");
        assert!(matches!(*refused.lock().unwrap(), Some(Error::QueueFull)));
        assert_eq!(fills.into_result().unwrap(), 7);
    });
}
