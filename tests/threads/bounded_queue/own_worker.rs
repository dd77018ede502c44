//! A worker that submits to its own full queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use concurrent::futures::{FullQueue, ThreadPoolExecutor};

use crate::support::{bounded, builder, timely, until};

#[test]
fn a_worker_that_submits_to_its_own_full_queue_runs_the_call_in_place() {
    timely(|| {
        for full in [FullQueue::Block, FullQueue::BlockFor(Duration::MAX)] {
            let pool = Arc::new(bounded(1).when_full(full).build().unwrap());
            let own = Arc::clone(&pool);
            let outer = pool.spawn(move || {
                let queued = own.spawn(|| 1).unwrap();
                let in_place = own.spawn(|| thread::current().id()).unwrap();
                assert_eq!(in_place.into_result().unwrap(), thread::current().id());
                queued
            });
            let queued = outer.unwrap().into_result().unwrap();
            assert_eq!(queued.into_result().unwrap(), 1);
        }
    });
}

#[test]
fn workers_that_all_submit_to_their_own_full_queue_come_to_an_end() {
    timely(|| {
        fn tree(pool: &Arc<ThreadPoolExecutor>, depth: u32, leaves: &Arc<AtomicUsize>) {
            if depth == 0 {
                leaves.fetch_add(1, Ordering::Relaxed);
                return;
            }
            for _ in 0..2 {
                let (own, leaves) = (Arc::clone(pool), Arc::clone(leaves));
                drop(pool.spawn(move || tree(&own, depth - 1, &leaves)).unwrap());
            }
        }
        let pool = Arc::new(builder(3).queue_capacity(2).build().unwrap());
        let leaves = Arc::new(AtomicUsize::new(0));
        tree(&pool, 10, &leaves);
        until(|| leaves.load(Ordering::Relaxed) == 1 << 10);
        until(|| Arc::strong_count(&pool) == 1);
    });
}

#[test]
fn map_in_a_worker_of_the_full_pool_comes_to_an_end() {
    timely(|| {
        let pool = Arc::new(bounded(2).build().unwrap());
        let own = Arc::clone(&pool);
        // With one worker, whoever waits for queued calls would wait for ever: only submit them.
        let outer = pool.spawn(move || drop(own.map(|n| n, 0..100)));
        outer.unwrap().into_result().unwrap();
        until(|| Arc::strong_count(&pool) == 1);
    });
}

#[test]
fn try_spawn_in_a_worker_of_the_full_pool_refuses() {
    timely(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let own = Arc::clone(&pool);
        let refused = pool.spawn(move || {
            let _fills = own.try_spawn(|| ()).unwrap();
            own.try_spawn(|| ()).is_err()
        });
        assert!(refused.unwrap().into_result().unwrap());
        pool.shutdown();
    });
}

#[test]
fn a_call_that_runs_in_place_gives_its_place_back_and_no_other_does() {
    timely(|| {
        let pool = Arc::new(bounded(2).build().unwrap());
        let own = Arc::clone(&pool);
        let call = pool.spawn(move || {
            for _ in 0..10 {
                own.spawn(|| ()).unwrap().into_result().unwrap();
            }
            let waiting = [own.try_spawn(|| ()).unwrap(), own.try_spawn(|| ()).unwrap()];
            assert!(own.try_spawn(|| ()).is_err());
            waiting
        });
        for waiting in call.unwrap().into_result().unwrap() {
            waiting.into_result().unwrap();
        }
    });
}
