//! Two threads at the same spot, very often.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use concurrent::Error;
use concurrent::futures::{Future, Promise, ThreadPoolExecutor};

use crate::support::{Counter, pool, rounds, timely, within};
use std::time::Duration;

// F13, F33, F6: exactly one of the two wins, and both sides agree on who
#[test]
fn cancel_against_complete_has_one_winner_in_a_million_pairs() {
    within(Duration::from_secs(120), || {
        const BATCH: usize = 1_000;
        let batches = rounds(1_000_000).div_ceil(BATCH);
        let (to_canceller, futures) = mpsc::sync_channel::<Vec<Future<usize>>>(1);
        let (to_completer, promises) = mpsc::sync_channel::<Vec<Promise<usize>>>(1);
        let start = Arc::new(Barrier::new(2));
        let canceller = {
            let start = Arc::clone(&start);
            std::thread::spawn(move || {
                let mut cancels = 0;
                for (batch, futures) in futures.iter().enumerate() {
                    start.wait();
                    let backwards = batch % 2 == 1;
                    let cancel = |future: &Future<usize>| {
                        let won = future.cancel();
                        assert_eq!(future.cancelled(), won);
                        assert_eq!(future.result().is_ok(), !won);
                        usize::from(won)
                    };
                    // From the same end they chase each other, from both ends they meet once.
                    cancels += if backwards {
                        futures.iter().rev().map(cancel).sum::<usize>()
                    } else {
                        futures.iter().map(cancel).sum::<usize>()
                    };
                }
                cancels
            })
        };
        let completer = std::thread::spawn(move || {
            let mut completions = 0;
            for promises in promises {
                start.wait();
                for (n, promise) in promises.iter().enumerate() {
                    completions += usize::from(promise.set_result(n).is_ok());
                }
            }
            completions
        });
        for _ in 0..batches {
            let (promises, futures) = (0..BATCH).map(|_| Promise::pair()).unzip();
            to_canceller.send(futures).unwrap();
            to_completer.send(promises).unwrap();
        }
        drop((to_canceller, to_completer));
        let (cancels, completions) = (canceller.join().unwrap(), completer.join().unwrap());
        assert_eq!(cancels + completions, batches * BATCH);
        assert!(cancels > 0 && completions > 0, "{cancels} cancelled, {completions} completed");
    });
}

// F11, F13: on a pool, a call either runs or was cancelled
#[test]
fn a_call_runs_or_was_cancelled_never_both() {
    timely(|| {
        let pool = pool(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let counter = Counter::new();
        let mut cancelled = 0;
        for _ in 0..rounds(100_000) {
            let (ran, captured) = (Arc::clone(&ran), counter.one());
            let call = pool.spawn(move || {
                drop(captured);
                ran.fetch_add(1, Ordering::Relaxed);
            });
            cancelled += usize::from(call.unwrap().cancel());
        }
        drop(pool);
        assert_eq!(ran.load(Ordering::Relaxed) + cancelled, counter.made());
        assert_eq!(counter.dropped(), counter.made());
    });
}

// case 62, F58, F70: what submit accepted is run, what it refused is not
#[test]
fn a_submit_that_races_shutdown_is_run_or_refused() {
    timely(|| {
        for _ in 0..rounds(1_000) {
            let pool = Arc::new(pool(2));
            let ran = Arc::new(AtomicUsize::new(0));
            let start = Arc::new(Barrier::new(3));
            let submitters: Vec<_> = (0..2)
                .map(|_| {
                    let (pool, ran, start) = (pool.clone(), ran.clone(), start.clone());
                    std::thread::spawn(move || {
                        start.wait();
                        let mut accepted = Vec::new();
                        for _ in 0..50 {
                            let ran = Arc::clone(&ran);
                            match pool.spawn(move || ran.fetch_add(1, Ordering::SeqCst)) {
                                Ok(call) => accepted.push(call),
                                Err(Error::Shutdown) => break,
                                Err(error) => panic!("{error}"),
                            }
                        }
                        accepted
                    })
                })
                .collect();
            start.wait();
            pool.shutdown();
            let accepted: Vec<_> =
                submitters.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            assert!(accepted.iter().all(Future::done));
            assert_eq!(ran.load(Ordering::SeqCst), accepted.len());
        }
    });
}

// F57: a million calls of eight submitters, none lost
#[test]
fn a_million_calls_of_eight_submitters_are_all_run() {
    within(Duration::from_secs(120), || {
        let pool = Arc::new(pool(2));
        let each = rounds(1_000_000) / 8;
        let submitters: Vec<_> = (0..8_u64)
            .map(|submitter| {
                let pool = Arc::clone(&pool);
                let submit = move || {
                    let calls: Vec<_> = (0..each)
                        .map(|n| pool.spawn(move || n as u64 ^ submitter).unwrap())
                        .collect();
                    let right = |(n, call): (usize, Future<u64>)| {
                        call.into_result().unwrap() == n as u64 ^ submitter
                    };
                    calls
                        .into_iter()
                        .enumerate()
                        .filter_map(|pair| right(pair).then_some(()))
                        .count()
                };
                std::thread::spawn(submit)
            })
            .collect();
        for submitter in submitters {
            assert_eq!(submitter.join().unwrap(), each);
        }
    });
}

// F22, F25: a callback added while the call ends runs exactly once
#[test]
fn a_callback_that_races_the_end_runs_once() {
    timely(|| {
        let counter = Counter::new();
        for _ in 0..rounds(3_000) {
            let (promise, future) = Promise::pair();
            let thread = std::thread::spawn(move || promise.set_result(1).unwrap());
            for _ in 0..4 {
                let captured = counter.one();
                future.add_done_callback(move |_| drop(captured));
            }
            thread.join().unwrap();
            assert_eq!(counter.dropped(), counter.made());
        }
    });
}

// F16: a timeout that expires while the call ends is one or the other, never a hang
#[test]
fn a_timeout_that_races_the_end_is_one_or_the_other() {
    timely(|| {
        let pool = pool(1);
        for round in 0..rounds(5_000) {
            let call = pool.spawn(move || round).unwrap();
            match call.result_timeout(Duration::from_nanos(100 * (round as u64 % 200))) {
                Ok(value) => assert_eq!(*value, round),
                Err(error) => assert!(error.is_timeout()),
            }
            assert_eq!(call.into_result().unwrap(), round);
        }
    });
}

// F70: pools that are made, used and dropped all the time
#[test]
fn pools_that_come_and_go_lose_nothing() {
    timely(|| {
        for round in 0..rounds(1_000) {
            let pool = ThreadPoolExecutor::new(1 + round % 4).unwrap();
            let calls: Vec<_> = (0..round % 7).map(|n| pool.spawn(move || n).unwrap()).collect();
            drop(pool);
            assert!(calls.iter().all(Future::done));
        }
    });
}
