//! Models that are too large for every interleaving: more threads, more calls, all at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::Error;
use concurrent::futures::{
    FullQueue, Future, Promise, ReturnWhen, ShutdownOptions, ThreadPoolExecutor, as_completed, wait,
};

use crate::Outcomes;
use crate::checker::thread;

fn pool(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::builder().max_workers(workers).thread_name_prefix("w").build().unwrap()
}

/// How a call ended, in a model where it can only succeed with `n` or be cancelled.
fn has_run(call: Future<usize>, n: usize) -> usize {
    match call.into_result() {
        Ok(value) => {
            assert_eq!(value, n);
            1
        }
        Err(error) => {
            assert!(error.is_cancelled(), "{error}");
            0
        }
    }
}

// Each call that was not cancelled runs, once
#[test]
fn submitters_and_cancellers_agree_with_the_workers() {
    Outcomes::with_bound(Some(3), || {
        let pool = Arc::new(pool(3));
        let ran = Arc::new(AtomicUsize::new(0));
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                thread::spawn(move || {
                    let calls: Vec<_> = (0..4)
                        .map(|n| {
                            let ran = Arc::clone(&ran);
                            let run = move || {
                                ran.fetch_add(1, Ordering::Relaxed);
                                n
                            };
                            pool.spawn(run).unwrap()
                        })
                        .collect();
                    calls[1].cancel();
                    calls[3].cancel();
                    (0..4).zip(calls).map(|(n, call)| has_run(call, n)).sum::<usize>()
                })
            })
            .collect();
        let seen: usize = submitters.into_iter().map(|thread| thread.join().unwrap()).sum();
        pool.shutdown();
        assert_eq!(ran.load(Ordering::Relaxed), seen);
        assert!((6..=12).contains(&seen));
    })
    .assert([()]);
}

// Whoever is blocked at a full queue is let in or sent away; nothing is lost or left
#[test]
fn a_full_queue_that_is_shut_down_ends_every_call() {
    Outcomes::with_bound(Some(3), || {
        let builder = ThreadPoolExecutor::builder().max_workers(2).thread_name_prefix("w");
        let pool = builder.queue_capacity(1).when_full(FullQueue::Block).build().unwrap();
        let pool = Arc::new(pool);
        let ran = Arc::new(AtomicUsize::new(0));
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                thread::spawn(move || {
                    let submit = |n: usize| {
                        let ran = Arc::clone(&ran);
                        let run = move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                            n
                        };
                        match pool.spawn(run) {
                            Ok(call) => has_run(call, n),
                            Err(error) => {
                                assert!(matches!(error, Error::Shutdown), "{error}");
                                0
                            }
                        }
                    };
                    (0..3).map(submit).sum::<usize>()
                })
            })
            .collect();
        let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
        assert!(report.is_complete());
        let seen: usize = submitters.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(ran.load(Ordering::Relaxed), seen);
    })
    .assert([()]);
}

// Everybody who waits for the same calls sees all of them, each once
#[test]
fn several_waits_see_every_call_once() {
    Outcomes::with_bound(Some(3), || {
        let (promises, futures): (Vec<_>, Vec<_>) = (0..6).map(|_| Promise::pair()).unzip();
        let futures: Arc<Vec<Future<usize>>> = Arc::new(futures);
        let iterating = {
            let futures = Arc::clone(&futures);
            thread::spawn(move || {
                let places: BTreeSet<_> = as_completed(futures.iter())
                    .map(|future| std::ptr::from_ref(future).addr())
                    .collect();
                assert_eq!(places.len(), 6);
            })
        };
        let waiting: Vec<_> =
            [ReturnWhen::AllCompleted, ReturnWhen::FirstCompleted, ReturnWhen::FirstException]
                .into_iter()
                .map(|return_when| {
                    let futures = Arc::clone(&futures);
                    thread::spawn(move || wait(futures.iter(), None, return_when).done.len())
                })
                .collect();
        let mut promises = promises.into_iter();
        let completing: Vec<_> = (0..2)
            .map(|k| {
                let mine: Vec<_> = promises.by_ref().take(3).collect();
                thread::spawn(move || {
                    for (n, promise) in mine.into_iter().enumerate() {
                        match n {
                            0 => promise.set_result(k).unwrap(),
                            1 => drop(promise.set_exception(Error::raised("no"))), // or cancelled
                            _ => drop(promise),
                        }
                    }
                })
            })
            .collect();
        futures[1].cancel();
        futures[4].cancel();
        let done: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(done[0], 6);
        assert!(done[1] >= 1 && done[2] >= 1);
        completing.into_iter().for_each(|thread| thread.join().unwrap());
        iterating.join().unwrap();
    })
    .assert([()]);
}

// A tree of calls that wait for their children, on fewer workers than it is deep
#[test]
fn a_tree_of_waiting_calls_ends_on_two_workers() {
    fn leaves(pool: &Arc<ThreadPoolExecutor>, depth: usize) -> usize {
        if depth == 0 {
            return 1;
        }
        let child = |_| {
            let inner = Arc::clone(pool);
            pool.spawn(move || leaves(&inner, depth - 1)).unwrap()
        };
        let children: Vec<_> = (0..2).map(child).collect();
        children.into_iter().map(|call| call.into_result().unwrap()).sum()
    }

    Outcomes::with_bound(Some(3), || {
        let pool = Arc::new(pool(2));
        assert_eq!(leaves(&pool, 3), 8);
        pool.shutdown();
    })
    .assert([()]);
}
