//! `cancel`: which calls it takes, who sees it, and races with the start and the end of a call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use concurrent::futures::ReturnWhen::AllCompleted;
use concurrent::futures::{
    Future, Promise, ThreadPoolExecutor, as_completed, as_completed_timeout, wait,
};

use crate::support::{Busy, Counter, Gate, pool, rounds, six, timely, within};

// F8, F14, F45, F54: a cancelled future is seen at once, also by those who already wait
#[test]
fn a_cancelled_future_is_seen_by_waiters_at_once() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool); // so that no worker can notice the cancel
        let call = Arc::new(pool.spawn(|| ()).unwrap());
        let waiters: Vec<_> = (0..2)
            .map(|kind| {
                let call = Arc::clone(&call);
                std::thread::spawn(move || match kind {
                    0 => wait([&*call], None, AllCompleted).done.len(),
                    _ => as_completed([&*call]).count(),
                })
            })
            .collect();
        (0..500).for_each(|_| std::thread::yield_now());
        assert!(call.cancel());
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 1);
        }
        assert_eq!(wait([&*call], Duration::ZERO, AllCompleted).done.len(), 1);
        assert_eq!(as_completed_timeout([&*call], Duration::ZERO).map(Result::unwrap).count(), 1);
        drop(busy);
    });
}

// F55, F71: `submit` does not wait until a worker has begun; Python's often gets that far by chance
#[test]
fn right_after_submit_a_call_can_be_cancelled() {
    timely(|| {
        let slow = Gate::new(); // the start of the workers
        let pass = slow.clone();
        let pool = ThreadPoolExecutor::builder()
            .max_workers(2)
            .initializer(move || pass.pass())
            .build()
            .unwrap();
        let calls: Vec<_> = (0..3).map(|n| pool.spawn(move || n).unwrap()).collect();
        let cancelled: Vec<_> = calls.iter().map(Future::cancel).collect();
        assert_eq!(cancelled, [true; 3], "(False, False, True) in Python");
        slow.open();
    });
}

// case 21, F11, F12, F13, F6
#[test]
fn cancel_succeeds_unless_the_call_has_started() {
    let after = six().map(|(_promise, future)| {
        let succeeded = future.cancel();
        (succeeded, future.running(), future.cancelled(), future.done())
    });
    let refused = |running: bool| (false, running, false, !running);
    let done = (true, false, true, true);
    assert_eq!(after, [done, refused(true), done, done, refused(false), refused(false)]);
}

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
