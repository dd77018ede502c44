//! A cancel against a completion, very often: one of the two wins, and both know who.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Instant;

use concurrent::futures::{Future, Promise};

const BATCH: u64 = 4_096;

pub(crate) fn run(races: u64) {
    let begin = Instant::now();
    let batches = races.div_ceil(BATCH);
    let start = Arc::new(Barrier::new(2));
    let told = Arc::new(AtomicU64::new(0));
    let (to_canceller, futures) = mpsc::sync_channel::<Vec<Future<u64>>>(1);
    let (to_completer, promises) = mpsc::sync_channel::<Vec<Promise<u64>>>(1);
    let (cancels, completions) = std::thread::scope(|scope| {
        let own = Arc::clone(&start);
        let canceller = scope.spawn(move || {
            let mut wins = 0;
            for (batch, futures) in futures.iter().enumerate() {
                own.wait();
                let cancel = |future: Future<u64>| {
                    let won = future.cancel();
                    assert_eq!(future.cancelled(), won);
                    // A completion that has won is being written, at most.
                    let result = future.into_result();
                    assert_eq!(result.is_err_and(|error| error.is_cancelled()), won);
                    u64::from(won)
                };
                // From the same end they chase each other, from both ends they meet once.
                wins += if batch % 2 == 0 {
                    futures.into_iter().map(cancel).sum::<u64>()
                } else {
                    futures.into_iter().rev().map(cancel).sum::<u64>()
                };
            }
            wins
        });
        let completer = scope.spawn(move || {
            let mut wins = 0;
            for promises in promises {
                start.wait();
                for promise in promises {
                    wins += u64::from(promise.set_result(7).is_ok());
                }
            }
            wins
        });
        for _ in 0..batches {
            let pair = |_| {
                let (promise, future) = Promise::<u64>::pair();
                let told = Arc::clone(&told);
                future.add_done_callback(move |_| {
                    told.fetch_add(1, Ordering::Relaxed);
                });
                (promise, future)
            };
            let (promises, futures) = (0..BATCH).map(pair).unzip();
            to_canceller.send(futures).unwrap();
            to_completer.send(promises).unwrap();
        }
        drop((to_canceller, to_completer));
        (canceller.join().unwrap(), completer.join().unwrap())
    });
    let races = batches * BATCH;
    assert_eq!(cancels + completions, races, "each race has one winner");
    assert_eq!(told.load(Ordering::Relaxed), races, "each callback ran once");
    println!(
        "{races} races: {cancels} cancelled, {completions} completed, {:.1} s",
        begin.elapsed().as_secs_f64()
    );
}
