//! Full queues whose workers wait for calls with a deadline: whether a submitter in a call of another
//! pool waits for room, as one outside of calls does, or runs its call.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{FullQueue, Future, Promise};

use super::circles::{pool, submits_two, waits};
use crate::support::{Busy, Pool, blocked, bounded, builder, here, timely, until};

/// Passes in none of these tests.
const LONG: Duration = Duration::from_secs(3600);

/// The outcome of a call that one of another pool submits to `pool` with a deadline, and where it ran.
fn asking(
    pool: &Pool,
    timeout: Duration,
) -> impl FnOnce() -> (ThreadId, Result<ThreadId, Error>) + use<> {
    let pool = Arc::clone(pool);
    move || (here(), pool.spawn(here).unwrap().with_timeout(timeout).into_result())
}

fn value<T>(call: Future<T>) -> T {
    call.into_result().unwrap()
}

// The only worker that could make room waits for a call that waits for this very submitter; without
// that it would have its value soon, so nobody sits out the deadline.
#[test]
fn a_submitter_that_holds_up_the_call_with_the_deadline_runs_its_own() {
    timely(|| {
        let (left, right) = (pool(), pool());
        let (open, closes) = waits(&right, asking(&left, LONG));
        let submits = submits_two(&left, &right);
        drop(open); // the one with the deadline finds that out
        let (of_left, [queued, in_place]) = value(submits);
        assert_eq!(value(in_place), of_left);
        let (of_right, answer) = value(closes);
        assert_eq!(answer.unwrap(), of_left);
        assert_eq!(value(queued), of_right);
    });
}

#[test]
fn a_submitter_that_closes_a_circle_with_a_deadline_runs_its_own_call() {
    timely(|| {
        let (left, right) = (pool(), pool());
        let other = Arc::clone(&right);
        let (open, submits) = waits(&left, move || (here(), other.spawn(here).unwrap()));
        let asks = right.spawn(asking(&left, LONG)).unwrap();
        until(|| right.stats().blocked == 1);
        let queued = right.spawn(here).unwrap();
        drop(open); // the submitter finds that out
        let (of_left, in_place) = value(submits);
        assert_eq!(value(in_place), of_left);
        let (of_right, answer) = value(asks);
        assert_eq!(answer.unwrap(), of_left);
        assert_eq!(value(queued), of_right);
    });
}

/// The worker of a full queue waits for something that does not concern the submitter, and that ends as
/// `end` says: the submitter waits that long, and a worker runs its call.
fn is_let_in(timeout: Duration, end: impl FnOnce(Promise<()>) + Send + 'static) {
    timely(move || {
        let (left, right) = (pool(), pool());
        let (promise, promised) = Promise::pair();
        let (open, waited) = waits(&right, move || {
            let timed_out = promised.with_timeout(timeout).into_result().is_err();
            (here(), timed_out)
        });
        let submits = submits_two(&left, &right);
        drop(open);
        end(promise);
        let (of_left, let_in) = value(submits);
        let (of_right, timed_out) = value(waited);
        assert_eq!(let_in.map(value), [of_right; 2], "not {of_left:?}");
        assert_eq!(timed_out, timeout < LONG);
    });
}

#[test]
fn a_submitter_waits_for_room_that_comes_in_time() {
    is_let_in(LONG, |promise| promise.set_result(()).unwrap());
}

#[test]
fn a_submitter_waits_for_room_that_a_deadline_makes() {
    let (keep, kept) = std::sync::mpsc::channel();
    is_let_in(Duration::from_millis(20), move |promise| keep.send(promise).unwrap());
    drop(kept);
}

// The call behind the deadline moves by another worker of the submitter's pool.
#[test]
fn a_submitter_beside_a_free_worker_waits_for_room() {
    timely(|| {
        let (left, right) = (Arc::new(builder(2).queue_capacity(1).build().unwrap()), pool());
        let busy = Busy::on(&left);
        let (open, closes) = waits(&right, asking(&left, LONG));
        let submits = submits_two(&left, &right);
        drop(open);
        until(|| right.stats().blocked == 1);
        assert_eq!(blocked(&right), 1);
        busy.finish();
        let (of_left, let_in) = value(submits);
        let (of_right, answer) = value(closes);
        assert_ne!(answer.unwrap(), of_left);
        assert_eq!(let_in.map(value), [of_right; 2]);
    });
}

// A limit of its own is no deadlock either: the submitter gives up as one outside of calls does.
#[test]
fn a_submitter_with_a_limit_gives_up_in_a_circle() {
    timely(|| {
        let left = pool();
        let limit = FullQueue::BlockFor(Duration::from_millis(20));
        let right: Pool = Arc::new(bounded(1).when_full(limit).build().unwrap());
        let other = Arc::clone(&right);
        let (open, submits) = waits(&left, move || (here(), other.spawn(here)));
        let asks = right.spawn(asking(&left, LONG)).unwrap();
        until(|| right.stats().blocked == 1);
        let queued = right.spawn(here).unwrap();
        drop(open);
        let (of_left, refused) = value(submits);
        assert!(matches!(refused, Err(Error::QueueFull)), "{refused:?}");
        let (of_right, answer) = value(asks);
        assert_eq!(answer.unwrap(), of_left);
        assert_eq!(value(queued), of_right);
    });
}
