//! Full queues of several pools whose workers submit to each other: a call for which there would never
//! be room runs in its caller, and no other does.

use std::sync::{Arc, Barrier, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use concurrent::futures::{FullQueue, Future};

use crate::support::{Busy, Pool, blocked, bounded, builder, here, timely, until};

/// A pool of one worker with room for one call.
pub(super) fn pool() -> Pool {
    Arc::new(bounded(1).build().unwrap())
}

/// A call in `pool` that blocks as it submits the second of two calls to `full`, whose workers are
/// busy. Gives where it ran, and those two.
pub(super) fn submits_two(pool: &Pool, full: &Pool) -> Future<(ThreadId, [Future<ThreadId>; 2])> {
    let other = Arc::clone(full);
    let call = pool.spawn(move || {
        let first = other.spawn(here).unwrap();
        (here(), [first, other.spawn(here).unwrap()])
    });
    until(|| pool.stats().blocked == 1);
    assert_eq!(blocked(full), 1);
    call.unwrap()
}

/// A call in `pool` that does `then` when the sender is dropped; returns when it runs.
pub(super) fn waits<R: Send + 'static>(
    pool: &Pool,
    then: impl FnOnce() -> R + Send + 'static,
) -> (mpsc::Sender<()>, Future<R>) {
    let (open, opened) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let call = pool.spawn(move || {
        begin.send(()).unwrap();
        let _ = opened.recv();
        then()
    });
    begun.recv().unwrap();
    (open, call.unwrap())
}

#[test]
fn two_full_pools_whose_workers_submit_to_each_other_come_to_an_end() {
    for (workers, capacity) in [(1, 1), (1, 2), (2, 1), (3, 2)] {
        timely(move || {
            for _ in 0..30 {
                let pool = || Arc::new(builder(workers).queue_capacity(capacity).build().unwrap());
                let pools = [pool(), pool()];
                let begun = Arc::new(Barrier::new(2 * workers));
                let calls: Vec<_> = (0..2 * workers)
                    .map(|n| {
                        let (begun, other) = (Arc::clone(&begun), Arc::clone(&pools[1 - n % 2]));
                        let submits = move || {
                            begun.wait();
                            let calls = (0..8).map(|n| other.spawn(move || n).unwrap());
                            calls.collect::<Vec<_>>()
                        };
                        pools[n % 2].spawn(submits).unwrap()
                    })
                    .collect();
                for call in calls {
                    let values = call.into_result().unwrap().into_iter();
                    assert_eq!(values.map(|call| call.into_result().unwrap()).sum::<i32>(), 28);
                }
            }
        });
    }
}

#[test]
fn a_map_in_a_circle_of_three_full_pools_comes_to_an_end() {
    timely(|| {
        for full in [FullQueue::Block, FullQueue::BlockFor(Duration::MAX), FullQueue::Refuse] {
            for _ in 0..20 {
                let pool = |_| Arc::new(bounded(1).when_full(full).build().unwrap());
                let pools: [Pool; 3] = std::array::from_fn(pool);
                let begun = Arc::new(Barrier::new(3));
                let calls = [0, 1, 2].map(|n| {
                    let (begun, other) = (Arc::clone(&begun), Arc::clone(&pools[(n + 1) % 3]));
                    let submits = move || {
                        begun.wait();
                        drop(other.map(|n| n, 0..6));
                    };
                    pools[n].spawn(submits).unwrap()
                });
                calls.into_iter().for_each(|call| call.into_result().unwrap());
            }
        }
    });
}

#[test]
fn one_of_two_runs_its_call_and_the_other_is_let_in() {
    timely(|| {
        let (left, right) = (pool(), pool());
        let other = Arc::clone(&left);
        let (open, closes) = waits(&right, move || (here(), other.spawn(here).unwrap()));
        let submits = submits_two(&left, &right);
        let fills = left.spawn(here).unwrap();
        drop(open);
        let (of_right, into_left) = closes.into_result().unwrap();
        let (of_left, [queued, into_right]) = submits.into_result().unwrap();
        // Usually that is the one who closes the circle.
        let ran = [into_left, into_right].map(|call| call.into_result().unwrap());
        assert!(
            ran == [of_right; 2] || ran == [of_left; 2],
            "{ran:?} of {of_left:?}, {of_right:?}"
        );
        assert_eq!(queued.into_result().unwrap(), of_right);
        assert_eq!(fills.into_result().unwrap(), of_left);
        assert_eq!((blocked(&left), blocked(&right)), (0, 0));
    });
}

#[test]
fn a_wait_that_closes_the_circle_has_the_submitter_run_its_call() {
    timely(|| {
        let (left, right) = (pool(), pool());
        let other = Arc::clone(&left);
        let wait = move || (here(), other.spawn(here).unwrap().into_result());
        let (open, closes) = waits(&right, wait);
        let submits = submits_two(&left, &right);
        drop(open);
        let (of_left, [queued, in_place]) = submits.into_result().unwrap();
        assert_eq!(in_place.into_result().unwrap(), of_left);
        let (of_right, awaited) = closes.into_result().unwrap();
        assert_eq!(awaited.unwrap(), of_left, "nobody meets a deadlock");
        assert_eq!(queued.into_result().unwrap(), of_right);
    });
}

#[test]
fn a_shutdown_that_closes_the_circle_has_the_submitter_run_its_call() {
    timely(|| {
        let (left, right) = (pool(), pool());
        let other = Arc::clone(&left);
        let (open, closes) = waits(&right, move || other.shutdown());
        let submits = submits_two(&left, &right);
        drop(open);
        closes.into_result().unwrap();
        let (of_left, [_, in_place]) = submits.into_result().unwrap();
        assert_eq!(in_place.into_result().unwrap(), of_left);
        assert_eq!(left.stats().workers, 0);
    });
}

#[test]
fn as_long_as_a_worker_can_make_room_no_call_runs_in_its_caller() {
    timely(|| {
        let (left, right) = (pool(), Arc::new(builder(2).queue_capacity(1).build().unwrap()));
        let busy = Busy::on(&right);
        let other = Arc::clone(&left);
        let (open, waits_too) = waits(&right, move || other.spawn(here).unwrap());
        let submits = submits_two(&left, &right);
        let fills = left.spawn(here).unwrap();
        drop(open);
        until(|| right.stats().blocked == 1);
        assert_eq!((blocked(&left), blocked(&right)), (1, 1));
        busy.finish();
        let (of_left, let_in) = submits.into_result().unwrap();
        for call in let_in {
            assert_ne!(call.into_result().unwrap(), of_left);
        }
        assert_eq!(waits_too.into_result().unwrap().into_result().unwrap(), of_left);
        assert_eq!(fills.into_result().unwrap(), of_left);
    });
}

#[test]
fn a_pool_that_loses_a_worker_that_could_make_room_closes_the_circle() {
    timely(|| {
        let (left, right) = (pool(), Arc::new(builder(2).queue_capacity(1).build().unwrap()));
        let busy = Busy::on(&right);
        let other = Arc::clone(&left);
        let (open, waits_too) = waits(&right, move || (here(), other.spawn(here).unwrap()));
        let submits = submits_two(&left, &right);
        let _fills = left.spawn(here).unwrap();
        drop(open);
        until(|| right.stats().blocked == 1);
        // The worker in the busy leaves when its call is over, and takes no other.
        right.resize(1).unwrap();
        busy.finish();
        let (of_left, calls) = submits.into_result().unwrap();
        let (of_right, call) = waits_too.into_result().unwrap();
        let ran = calls.map(|call| call.into_result().unwrap());
        // One of the two had to run its own; that was enough for the other.
        let own = [ran[1] == of_left, call.into_result().unwrap() == of_right];
        assert!(own[0] || own[1], "{own:?}");
    });
}

#[test]
fn a_submitter_that_was_let_in_counts_as_able_to_move_before_it_runs() {
    timely(|| {
        for _ in 0..100 {
            let (left, right) = (pool(), pool());
            let (open_left, _ends) = waits(&left, || ());
            let into_left = Arc::clone(&left);
            let (open_right, let_in) = waits(&right, move || into_left.spawn(here).unwrap());
            let _fills = right.spawn(here).unwrap();
            let into_right = Arc::clone(&right);
            let submits = left.spawn(move || (here(), into_right.spawn(here).unwrap())).unwrap();
            drop(open_right);
            until(|| right.stats().blocked == 1);
            // Its worker lets the blocked one in and goes on to a call that waits for that one's pool.
            drop(open_left);
            let (of_left, call) = submits.into_result().unwrap();
            assert_ne!(call.into_result().unwrap(), of_left);
            assert_eq!(let_in.into_result().unwrap().into_result().unwrap(), of_left);
        }
    });
}
