//! Calls that shut a pool down, or drop it, while others wait: nobody waits for ever.

use std::sync::{Arc, Barrier, mpsc};

use concurrent::Error;
use concurrent::futures::Future;

use crate::support::{Pool, shared_pool, timely, until};

#[test]
fn two_pools_that_are_shut_down_by_calls_of_each_other_both_end() {
    timely(|| {
        for workers in [1, 2] {
            for _ in 0..50 {
                let pools = [shared_pool(workers), shared_pool(workers)];
                let begun = Arc::new(Barrier::new(2));
                let calls = [0, 1].map(|n| {
                    let (begun, other) = (Arc::clone(&begun), Arc::clone(&pools[1 - n]));
                    let shuts_down = move || {
                        begun.wait();
                        other.shutdown();
                    };
                    pools[n].spawn(shuts_down).unwrap()
                });
                calls.into_iter().for_each(|call| call.into_result().unwrap());
                pools.iter().for_each(|pool| pool.shutdown());
                assert!(pools.iter().all(|pool| pool.stats().workers == 0));
            }
        }
    });
}

/// How a call ends the pool that it was given.
type End = fn(Pool);

const ENDS: [(&str, End); 2] = [("shutdown", |pool| pool.shutdown()), ("drop", drop)];

/// A call of `ended` that waits for one which is queued behind a call that ends `ended`; and how that
/// one, in a pool of one worker, is told to do so.
fn circle(ended: &Pool, end: End) -> (mpsc::Sender<Pool>, Future<()>, Future<Result<i32, Error>>) {
    let other = shared_pool(1);
    let (give, given) = mpsc::channel();
    let ends = other.spawn(move || end(given.recv().unwrap())).unwrap();
    let behind = other.spawn(|| 2).unwrap();
    let waits = ended.spawn(move || behind.into_result()).unwrap();
    // Dropped in a thread of its own: that waits for both.
    std::thread::spawn(move || drop(other));
    (give, ends, waits)
}

#[test]
fn who_waits_for_what_waits_for_the_end_of_its_pool_meets_a_deadlock() {
    timely(|| {
        for (name, end) in ENDS {
            for _ in 0..100 {
                let ended = shared_pool(1);
                let (give, ends, waits) = circle(&ended, end);
                until(|| ended.stats().blocked == 1);
                // This closes the circle, but cannot fail: the other one does.
                give.send(ended).unwrap();
                ends.into_result().unwrap();
                let met = waits.into_result().unwrap();
                assert!(matches!(met, Err(Error::Deadlock(_))), "{name}: {met:?}");
            }
        }
    });
}

#[test]
fn who_comes_to_wait_for_the_end_of_its_own_pool_meets_a_deadlock() {
    timely(|| {
        for (name, end) in ENDS {
            for _ in 0..100 {
                let (ended, other) = (shared_pool(1), shared_pool(1));
                let (open, opened) = mpsc::channel::<Future<i32>>();
                let waits = ended.spawn(move || opened.recv().unwrap().into_result()).unwrap();
                let ends = other.spawn(move || end(ended)).unwrap();
                let behind = other.spawn(|| 2).unwrap();
                until(|| other.stats().blocked == 1);
                open.send(behind).unwrap();
                let met = waits.into_result().unwrap();
                assert!(matches!(met, Err(Error::Deadlock(_))), "{name}: {met:?}");
                ends.into_result().unwrap();
            }
        }
    });
}
