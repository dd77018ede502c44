//! Callbacks that wait, in the thread that they wait for.

use std::panic::Location;
use std::sync::mpsc::{RecvTimeoutError, channel};

use super::*;
use crate::futures::map::{Map, MapOptions};
use crate::futures::mpi::protocol::{begin_result, end_result};
use crate::futures::remote::protocol::{FrameKind, Text};
use crate::futures::remote::submit::pieces;
use crate::futures::{ReturnWhen, as_completed, join_all, wait};

/// Longer than anything here takes: a test that hangs fails.
const LONG: Duration = Duration::from_secs(30);

/// Runs `waits` in a callback of the first call of a pool with one worker; returns its result.
fn in_a_callback<R: Send + 'static>(
    waits: impl FnOnce(&Arc<PoolState>) -> R + Send + 'static,
) -> Result<R, RecvTimeoutError> {
    let (shared, thread, ends) = root(1, 0);
    let (told, tells) = channel();
    let first = call(&shared, 1).unwrap();
    let own = Arc::clone(&shared);
    first.add_done_callback(move |_: &Future<u64>| told.send(waits(&own)).unwrap());
    let worker = ends.into_iter().map(|end| serve(end, &shared)).next().unwrap();
    let result = tells.recv_timeout(LONG)?;
    shared.close();
    shared.wait_for_end(None);
    [worker, thread].into_iter().for_each(|thread| thread.join().unwrap());
    Ok(result)
}

fn calls(shared: &Arc<PoolState>) -> Vec<Future<u64>> {
    (0..4).map(|n| call(shared, n).unwrap()).collect()
}

#[test]
fn they_may_wait_for_all_of_some() {
    let all = |shared: &_| wait(calls(shared), None, ReturnWhen::AllCompleted).done.len();
    assert_eq!(in_a_callback(all), Ok(4));
    let first = |shared: &_| wait(calls(shared), LONG, ReturnWhen::FirstException).done.len();
    assert_eq!(in_a_callback(first), Ok(4));
}

#[test]
fn they_may_take_them_as_they_come() {
    let take = |shared: &_| as_completed(&calls(shared)).map(|call| *call.result().unwrap()).sum();
    assert_eq!(in_a_callback(take), Ok(12_u64));
}

#[test]
fn they_may_map() {
    for unordered in [false, true] {
        let map = move |shared: &Arc<PoolState>| {
            let options = MapOptions::new().unordered(unordered).chunk_size(3);
            let double: fn(u64) -> u64 = |n| n * 2;
            let pieces = pieces(shared, Location::caller(), &options, double, 0..100_u64);
            Map::start(&options, pieces).unwrap().map(Result::unwrap).sum()
        };
        assert_eq!(in_a_callback(map), Ok(9900_u64), "unordered: {unordered}");
    }
}

#[test]
fn they_may_wait_for_what_follows() {
    let mapped = |shared: &_| call(shared, 3).unwrap().map(|n| n + 1).into_result().unwrap();
    assert_eq!(in_a_callback(mapped), Ok(7));
    let joined = |shared: &_| join_all(calls(shared)).into_result().unwrap();
    assert_eq!(in_a_callback(joined), Ok(vec![0, 2, 4, 6]));
    let follows = |shared: &Arc<PoolState>| {
        let own = Arc::clone(shared);
        let next = call(shared, 3).unwrap().and_then(move |n| call(&own, n).unwrap());
        *next.result().unwrap()
    };
    assert_eq!(in_a_callback(follows), Ok(12));
}

#[test]
fn thousands_may_wait_in_turn() {
    const CALLS: u64 = 5_000;
    for credit in [Credit::Fixed(64), Credit::Adaptive] {
        let (shared, thread, ends) = root_with(2, 0, credit);
        let (told, tells) = channel();
        for n in 0..CALLS {
            let (own, told) = (Arc::clone(&shared), told.clone());
            call(&shared, n).unwrap().add_done_callback(move |first: &Future<u64>| {
                let next = call(&own, *first.result().unwrap()).unwrap();
                told.send(next.into_result().unwrap()).unwrap();
            });
        }
        let workers: Vec<_> = ends.into_iter().map(|end| serve(end, &shared)).collect();
        let sum: u64 = (0..CALLS).map(|_| tells.recv_timeout(LONG).unwrap()).sum();
        assert_eq!(sum, 2 * CALLS * (CALLS - 1));
        shared.close();
        shared.wait_for_end(None);
        workers.into_iter().chain([thread]).for_each(|thread| thread.join().unwrap());
    }
}

/// An answer that fails this call.
fn answer(id: u64) -> Vec<u8> {
    let mut answer = Vec::new();
    begin_result(&mut answer, id);
    answer.extend_from_slice(&Text { message: "no".into(), location: None }.to_bytes());
    end_result(&mut answer, 0, FrameKind::Panicked, 1);
    answer
}

#[test]
fn a_wait_with_a_time_limit_ends_while_others_are_told() {
    const OTHERS: usize = 60;
    let (shared, thread, mut ends) = root_with(1, 0, Credit::Fixed(64));
    let (told, tells) = channel();
    let seen = Arc::new(AtomicUsize::new(0));
    let first = call(&shared, 1).unwrap();
    let never = call(&shared, 2).unwrap();
    let at_the_end = Arc::clone(&seen);
    first.add_done_callback(move |_: &Future<u64>| {
        let waited = never.result_timeout(Duration::from_millis(1)).cloned();
        // ORDERING: Relaxed; in one thread.
        told.send((waited, at_the_end.load(Ordering::Relaxed))).unwrap();
    });
    for n in 0..OTHERS {
        let seen = Arc::clone(&seen);
        call(&shared, n as u64).unwrap().add_done_callback(move |_: &Future<u64>| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1) {} // it takes its time
            seen.fetch_add(1, Ordering::Relaxed); // ORDERING: as above
        });
    }
    get_ready(&mut ends[0]);
    assert_eq!(next(&mut ends[0]).0, Tag::Tasks);
    let mut answers = answer(1);
    (0..OTHERS as u64).for_each(|n| answers.extend(answer(n + 3)));
    ends[0].send(0, Tag::Results, Outgoing::Own(answers)).unwrap();
    let (waited, seen) = tells.recv_timeout(LONG).unwrap();
    assert!(matches!(waited, Err(Error::Timeout { .. })), "{waited:?}");
    assert!(seen < OTHERS, "it told all of them first");
    drop(ends);
    shared.close();
    shared.wait_for_end(None);
    thread.join().unwrap();
}

/// Two calls that were sent, with a callback of the first that waits for the second; what it gets,
/// and the worker.
type Pair =
    (std::sync::mpsc::Receiver<Result<u64>>, LocalTransport, Arc<PoolState>, JoinHandle<()>);

fn one_waits_for_the_other(follows: bool) -> Pair {
    let (shared, thread, mut ends) = root(1, 0);
    let first = call(&shared, 1).unwrap();
    let second = call(&shared, 2).unwrap();
    let second = if follows { second.map(|n| n) } else { second };
    let (told, tells) = channel();
    first.add_done_callback(move |_: &Future<u64>| told.send(second.into_result()).unwrap());
    get_ready(&mut ends[0]);
    assert_eq!((next(&mut ends[0]).0, next(&mut ends[0]).0), (Tag::Tasks, Tag::Tasks));
    (tells, ends.remove(0), shared, thread)
}

fn is_told_that_it_broke((tells, _link, shared, thread): Pair) {
    let error = tells.recv_timeout(LONG).unwrap().unwrap_err();
    assert!(matches!(error, Error::BrokenMpiPool { accepted: true, .. }), "{error}");
    shared.close();
    shared.wait_for_end(None);
    thread.join().unwrap();
}

#[test]
fn they_may_wait_for_a_call_that_fails_with_the_pool() {
    for follows in [false, true] {
        let (tells, transport, shared, thread) = one_waits_for_the_other(follows);
        drop(transport);
        let (nobody, _) = LocalTransport::network(1, &shared.buffers);
        is_told_that_it_broke((tells, nobody, shared, thread));
    }
}

#[test]
fn they_may_wait_for_a_call_that_fails_with_the_engine() {
    for follows in [false, true] {
        let (tells, mut transport, shared, thread) = one_waits_for_the_other(follows);
        let mut answers = answer(1);
        answers.extend_from_slice(&[0xff; 8]);
        transport.send(0, Tag::Results, Outgoing::Own(answers)).unwrap();
        is_told_that_it_broke((tells, transport, shared, thread));
    }
}

#[test]
fn they_may_wait_for_a_call_that_is_cancelled_with_theirs() {
    let (shared, thread, ends) = root(1, 0);
    let first = call(&shared, 1).unwrap();
    let second = call(&shared, 2).unwrap();
    let (told, tells) = channel();
    first.add_done_callback(move |_: &Future<u64>| told.send(second.into_result()).unwrap());
    let own = Arc::clone(&shared);
    let cancels = start("cancels", move || assert_eq!(own.cancel_pending(), 2));
    assert!(matches!(tells.recv_timeout(LONG), Ok(Err(Error::Cancelled))));
    let worker = ends.into_iter().map(|end| serve(end, &shared)).next().unwrap();
    shared.close();
    shared.wait_for_end(None);
    [cancels, worker, thread].into_iter().for_each(|thread| thread.join().unwrap());
}
