//! Calls in calls where the system has no more memory for their stack: every call ends.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, ThreadPoolBuilder, ThreadPoolExecutor};

use crate::support::{Pool, timely};

/// Says to a test that it is the child.
const CHILD: &str = "CONCURRENT_TEST_NO_STACK";

/// Whether this is the child that has little memory. If not, has run it: once.
fn has_little_memory(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let script = "ulimit -v 500000 && exec \"$0\" --exact --nocapture \"no_stack::$1\"";
    let mut child = Command::new("sh");
    child.arg("-c").arg(script).arg(std::env::current_exe().unwrap()).arg(test);
    let output = child.env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    false
}

type Calls = Arc<Mutex<Vec<Arc<Future<usize>>>>>;

/// Needs more stack than there is, if it is deep enough.
const DEEP: usize = 20_000;

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

fn pool(builder: ThreadPoolBuilder) -> Pool {
    Arc::new(builder.max_workers(1).build().unwrap())
}

#[test]
fn calls_that_wait_for_calls_end_and_so_does_what_was_not_run_in_place() {
    if !has_little_memory("calls_that_wait_for_calls_end_and_so_does_what_was_not_run_in_place") {
        return;
    }
    timely(|| {
        let (pool, calls) = (pool(ThreadPoolExecutor::builder()), Calls::default());
        let (inner, known) = (Arc::clone(&pool), Arc::clone(&calls));
        let top = pool.spawn(move || level(&inner, &known, DEEP)).unwrap();
        let reached = top.into_result().unwrap();
        assert!((100..DEEP).contains(&reached), "{reached}");
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
    if !has_little_memory("a_call_that_a_full_queue_leaves_to_its_submitter_is_refused") {
        return;
    }
    timely(|| {
        let pool = pool(ThreadPoolExecutor::builder().queue_capacity(1));
        let refused = Arc::default();
        let (inner, tell) = (Arc::clone(&pool), Arc::clone(&refused));
        let top = pool.spawn(move || {
            let fills = inner.spawn(|| 7).unwrap();
            (submits(&inner, &tell, DEEP), fills)
        });
        let (reached, fills) = top.unwrap().into_result().unwrap();
        assert!((100..DEEP).contains(&reached), "{reached}");
        assert!(matches!(*refused.lock().unwrap(), Some(Error::QueueFull)));
        assert_eq!(fills.into_result().unwrap(), 7);
    });
}
