//! The bounded queue: blocked submitters are let in, or released with the call back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::Error;
use concurrent::futures::{FullQueue, ThreadPoolExecutor};

use crate::{Outcomes, Watched, checker::thread};

/// One worker, room for one call.
fn pool(full: FullQueue) -> ThreadPoolExecutor {
    let builder = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("w");
    builder.queue_capacity(1).when_full(full).build().unwrap()
}

#[test]
fn a_blocked_submitter_is_let_in_by_the_worker() {
    Outcomes::with_bound(Some(3), || {
        let pool = pool(FullQueue::Block);
        let calls: Vec<_> = (0..3).map(|n| pool.spawn(move || Watched::new(n)).unwrap()).collect();
        for (n, call) in (0..3).zip(calls) {
            assert_eq!(call.into_result().unwrap().get(), n);
        }
    })
    .assert([()]);
}

// The captures of a refused call are dropped once, in its submitter
#[test]
fn a_blocked_submitter_against_shutdown_runs_the_call_or_gets_its_error() {
    Outcomes::with_bound(Some(2), || {
        let pool = Arc::new(pool(FullQueue::Block));
        let drops = Arc::new(AtomicUsize::new(0));
        // Its worker is about to take one of them, and the other fills the queue.
        let first = [pool.spawn(|| ()).unwrap(), pool.spawn(|| ()).unwrap()];
        let submitter = {
            let pool = Arc::clone(&pool);
            let captured = Counted(Watched::new(1), Arc::clone(&drops));
            thread::spawn(move || match pool.spawn(move || captured.0.get()) {
                Ok(call) => {
                    assert_eq!(call.into_result().unwrap(), 1);
                    true
                }
                Err(error) => {
                    assert!(matches!(error, Error::Shutdown));
                    false
                }
            })
        };
        pool.shutdown();
        first.into_iter().for_each(|call| call.into_result().unwrap());
        let ran = submitter.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        ran
    })
    .assert([false, true]);
}

#[test]
fn two_blocked_submitters_and_a_worker_strand_no_call() {
    Outcomes::with_bound(Some(1), || {
        let pool = Arc::new(pool(FullQueue::Block));
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let calls = [pool.spawn(|| 1).unwrap(), pool.spawn(|| 2).unwrap()];
                calls.map(|call| call.into_result().unwrap())
            })
        };
        let calls = [pool.spawn(|| 3).unwrap(), pool.spawn(|| 4).unwrap()];
        assert_eq!(calls.map(|call| call.into_result().unwrap()), [3, 4]);
        assert_eq!(other.join().unwrap(), [1, 2]);
        pool.shutdown();
    })
    .assert([()]);
}

// A cancel gives the place back at once, to one who is blocked or comes later
#[test]
fn a_cancel_makes_room_for_a_blocked_submitter() {
    Outcomes::with_bound(Some(2), || {
        let pool = Arc::new(pool(FullQueue::Block));
        let first = Arc::new(pool.spawn(|| ()).unwrap());
        let canceller = {
            let first = Arc::clone(&first);
            thread::spawn(move || first.cancel())
        };
        let second = pool.spawn(|| 2).unwrap();
        assert_eq!(second.into_result().unwrap(), 2);
        let cancelled = canceller.join().unwrap();
        assert_eq!(first.cancelled(), cancelled);
        pool.shutdown();
        cancelled
    })
    .assert([false, true]);
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    Outcomes::with_bound(Some(3), || {
        let pool = pool(FullQueue::Refuse);
        // Its worker is about to take one of them, and one may wait.
        let first = [pool.spawn(|| 1).unwrap(), pool.spawn(|| 1).unwrap()];
        let refused = match pool.try_spawn(|| Watched::new(2)) {
            Ok(call) => {
                assert_eq!(call.into_result().unwrap().get(), 2);
                false
            }
            Err(refused) => {
                assert_eq!(refused.into_call()().get(), 2);
                true
            }
        };
        first.into_iter().for_each(|call| assert_eq!(call.into_result().unwrap(), 1));
        refused
    })
    .assert([false, true]);
}

// Each of two workers submits to the full queue of the other: one of them runs its call itself
#[test]
fn a_circle_of_two_full_pools_is_opened() {
    Outcomes::with_bound(Some(1), || {
        let pools = [(); 2].map(|()| Arc::new(pool(FullQueue::Block)));
        let submits_to = |other: usize| {
            let other = Arc::clone(&pools[other]);
            move || [other.spawn(|| 1).unwrap(), other.spawn(|| 2).unwrap()]
        };
        let calls =
            [pools[0].spawn(submits_to(1)).unwrap(), pools[1].spawn(submits_to(0)).unwrap()];
        for call in calls {
            let [one, two] = call.into_result().unwrap();
            assert_eq!((one.into_result().unwrap(), two.into_result().unwrap()), (1, 2));
        }
        pools.iter().for_each(|pool| pool.shutdown());
    })
    .assert([()]);
}

struct Counted(Watched, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}
