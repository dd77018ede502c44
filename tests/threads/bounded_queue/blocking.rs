//! A full queue: who blocks, in which order they are let in, and who releases them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use concurrent::Error;
use concurrent::futures::{FullQueue, ShutdownOptions, ThreadPoolExecutor};

use super::submitter;
use crate::support::{Busy, blocked, bounded, builder, timely, until};

/// Whether `pool` holds `calls` calls that wait, queued or with a blocked submitter.
fn holds(pool: &ThreadPoolExecutor, calls: usize) -> bool {
    format!("{pool:?}").contains(&format!("pending: {calls},"))
}

#[test]
fn a_submitter_blocks_until_a_worker_makes_room() {
    timely(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let busy = Busy::on(&pool);
        let first = pool.spawn(|| 1).unwrap();
        let blocked = submitter(&pool, || 2);
        assert!(pool.try_spawn(|| 3).is_err());
        busy.finish();
        assert_eq!(first.into_result().unwrap(), 1);
        assert_eq!(blocked.join().unwrap().unwrap(), 2);
        assert!(holds(&pool, 0));
    });
}

#[test]
fn at_no_time_do_more_calls_wait_than_the_capacity() {
    timely(|| {
        const CAPACITY: usize = 3;
        let pool = Arc::new(builder(2).queue_capacity(CAPACITY).build().unwrap());
        pool.prestart().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    for _ in 0..500 {
                        drop(pool.spawn(|| ()).unwrap());
                        let stats = pool.stats();
                        // Idle workers are about to take one each.
                        assert!(stats.queued <= CAPACITY + stats.idle, "{stats:?}");
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        pool.shutdown();
        assert_eq!(pool.stats().finished, 2000);
    });
}

#[test]
fn calls_that_idle_workers_are_about_to_take_need_no_room() {
    timely(|| {
        for prestarted in [true, false] {
            for _ in 0..50 {
                let pool = builder(4).queue_capacity(2).build().unwrap();
                if prestarted {
                    pool.prestart().unwrap();
                }
                let (open, gate) = mpsc::channel::<()>();
                let gate = Arc::new(Mutex::new(gate));
                let accepted = (0..20)
                    .filter(|_| {
                        let gate = Arc::clone(&gate);
                        pool.try_spawn(move || gate.lock().unwrap().recv().is_ok()).is_ok()
                    })
                    .count();
                assert_eq!(accepted, 6, "four run, or are about to, and two wait");
                drop(open);
            }
        }
    });
}

#[test]
fn blocked_submitters_are_let_in_in_the_order_in_which_they_came() {
    timely(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let order = Arc::new(Mutex::new(Vec::new()));
        let busy = Busy::on(&pool);
        let _fills = pool.spawn(|| ()).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let order = Arc::clone(&order);
                let thread = submitter(&pool, move || {
                    order.lock().unwrap().push(n);
                    n
                });
                until(|| blocked(&pool) == n + 1);
                thread
            })
            .collect();
        busy.finish();
        for (n, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap().unwrap(), n);
        }
        assert!(order.lock().unwrap().iter().copied().eq(0..8));
    });
}

#[test]
fn a_shutdown_releases_blocked_submitters_with_its_error() {
    timely(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let busy = Busy::on(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let threads: Vec<_> = (0..3).map(|_| submitter(&pool, || 2)).collect();
        until(|| blocked(&pool) == 3);
        pool.shutdown_with(ShutdownOptions::new().wait(false));
        for thread in threads {
            assert!(matches!(thread.join().unwrap(), Err(Error::Shutdown)));
        }
        busy.finish();
        assert_eq!(waits.into_result().unwrap(), 1);
    });
}

#[test]
fn a_pool_that_breaks_releases_blocked_submitters_with_the_cause() {
    timely(|| {
        let (fail, failing) = mpsc::channel::<()>();
        let failing = Mutex::new(failing);
        let pool = bounded(1).initializer(move || {
            let _ = failing.lock().unwrap().recv();
            Err::<(), _>("no licence")
        });
        let pool = Arc::new(pool.build().unwrap());
        // The worker that starts takes one of them.
        let queued = [pool.spawn(|| 1).unwrap(), pool.spawn(|| 1).unwrap()];
        let thread = submitter(&pool, || 2);
        until(|| blocked(&pool) == 1);
        drop(fail);
        let error = thread.join().unwrap().unwrap_err();
        assert!(error.is_broken_executor() && error.to_string().contains("no licence"));
        for queued in queued {
            assert!(queued.into_result().unwrap_err().is_broken_executor());
        }
    });
}

#[test]
fn a_cancelled_call_gives_its_place_back_at_once() {
    timely(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let busy = Busy::on(&pool);
        let cancelled = pool.spawn(|| 0).unwrap();
        let thread = submitter(&pool, || 1);
        until(|| blocked(&pool) == 1);
        assert!(cancelled.cancel());
        until(|| blocked(&pool) == 0);
        assert!(pool.try_spawn(|| ()).is_err());
        busy.finish();
        assert_eq!(thread.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn submitting_and_cancelling_for_ever_does_not_fill_the_queue() {
    timely(|| {
        let pool = bounded(2).when_full(FullQueue::Refuse).build().unwrap();
        let busy = Busy::on(&pool);
        for _ in 0..10_000 {
            assert!(pool.spawn(|| ()).unwrap().cancel());
        }
        busy.finish();
    });
}

#[test]
fn two_producers_through_a_small_queue_lose_nothing() {
    timely(|| {
        let pool = Arc::new(builder(2).queue_capacity(2).build().unwrap());
        let sum = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (pool, sum) = (Arc::clone(&pool), Arc::clone(&sum));
                thread::spawn(move || {
                    for n in 0..2_000 {
                        let sum = Arc::clone(&sum);
                        drop(pool.spawn(move || sum.fetch_add(n, Ordering::Relaxed)).unwrap());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        pool.shutdown();
        assert_eq!(sum.load(Ordering::Relaxed), 2 * 1999 * 1000);
    });
}

#[test]
fn a_shutdown_that_cancels_releases_everybody() {
    timely(|| {
        let pool = Arc::new(bounded(2).build().unwrap());
        let busy = Busy::on(&pool);
        let calls = [pool.spawn(|| 1).unwrap(), pool.spawn(|| 2).unwrap()];
        let thread = submitter(&pool, || 3);
        until(|| blocked(&pool) == 1);
        let options = ShutdownOptions::new().cancel_futures(true).wait(false);
        assert_eq!(pool.shutdown_with(options).cancelled, 2);
        assert!(matches!(thread.join().unwrap(), Err(Error::Shutdown)));
        assert!(calls.iter().all(|call| call.cancelled()));
        busy.finish();
    });
}
