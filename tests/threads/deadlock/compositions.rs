//! Deadlocks through composed calls are found, and only they.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ReturnWhen, first_ok, join_all, wait};

use crate::support::{OnceSlot, shared_pool, timely};

const ROUNDS: usize = if cfg!(miri) { 3 } else { 200 };

fn yields(count: usize) {
    (0..count % 50).for_each(|_| thread::yield_now());
}

/// The value, or the text of the deadlock.
fn outcome<T: Clone>(result: Result<&T, Error>) -> Result<T, String> {
    result.cloned().map_err(|error| match error {
        Error::Deadlock(text) => text.to_string(),
        other => panic!("{other}"),
    })
}

/// Calls in a circle, each of which waits for what `compose` makes of the next. Returns the deadlocks.
fn circle(length: usize, workers: usize, compose: fn(Future<usize>) -> Future<usize>) -> usize {
    timely(move || {
        let pool = shared_pool(workers);
        let place = OnceSlot::<Vec<Future<usize>>>::new();
        let deadlocks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let calls = (0..length).map(|index| {
            let (place, deadlocks) = (place.clone(), Arc::clone(&deadlocks));
            let call = pool.spawn(move || {
                if outcome(place.get()[(index + 1) % length].result()).is_err() {
                    deadlocks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
                index
            });
            compose(call.unwrap())
        });
        let calls = calls.collect();
        place.fill(calls);
        place.get().iter().for_each(|call| assert!(call.result().is_ok()));
        deadlocks.load(std::sync::atomic::Ordering::SeqCst)
    })
}

#[test]
fn circles_through_chains_and_groups_are_broken_in_one_place() {
    let compositions: [fn(Future<usize>) -> Future<usize>; 7] = [
        |call| call.map(|n| n),
        |call| call.and_then(Future::ready).or_else(|_| Future::ready(0)),
        |call| Future::ready(()).and_then(move |()| call.map(|n| n)),
        |call| call.map(Ok::<_, Error>).flatten(),
        |call| join_all([call]).map(|all| all[0]),
        |call| join_all([Future::ready(7), call]).map(|all| all[1]),
        |call| first_ok([call, Future::ready(()).and_then(|()| Err::<Future<_>, _>("no"))]),
    ];
    for (index, compose) in compositions.into_iter().enumerate() {
        for length in [1, 2, 3, 20] {
            for workers in [1, length] {
                let deadlocks = circle(length, workers, compose);
                assert_eq!(deadlocks, 1, "composition {index}: {length} on {workers}");
            }
        }
    }
}

#[test]
fn a_circle_with_a_deadline_in_it_resolves_itself() {
    timely(|| {
        let pool = shared_pool(2);
        let place = OnceSlot::<Vec<Future<bool>>>::new();
        let calls = (0..2).map(|index| {
            let place = place.clone();
            let call = pool.spawn(move || match place.get()[1 - index].result() {
                Ok(_) => true,
                Err(Error::Timeout { .. }) => false,
                Err(other) => panic!("{other}"),
            });
            call.unwrap().with_timeout(Duration::from_millis(5))
        });
        let calls = calls.collect();
        place.fill(calls);
        // When the time of one is up, the other's call goes on, and may still be in time.
        let timed_out = |call: &&Future<bool>| call.result().is_err_and(|error| error.is_timeout());
        assert!(place.get().iter().filter(timed_out).count() > 0);
        pool.shutdown();
    });
}

/// Two calls: the first waits for a group of the second and a promise, the second for the first.
/// `settle` completes the promise. Returns how each of them fared.
fn group_of_a_promise(
    round: usize,
    group: fn(Future<u8>, Future<u8>) -> Future<u8>,
    settle: fn(&Promise<u8>),
) -> [Result<u8, String>; 2] {
    timely(move || {
        let pool = shared_pool(2);
        let (promise, promised) = Promise::pair();
        let grouped = OnceSlot::<Future<u8>>::new();
        let first = OnceSlot::<Future<Result<u8, String>>>::new();
        let (sender, receiver) = channel();
        let waits = grouped.clone();
        first.fill(pool.spawn(move || outcome(waits.get().result())).unwrap());
        let waits = first.clone();
        let (begun, begins) = channel();
        let second = pool.spawn(move || {
            begun.send(()).unwrap();
            let met = outcome(waits.get().result());
            sender.send(met.map(|_| 1)).unwrap();
            1
        });
        begins.recv().unwrap(); // or the first would run it in place: another deadlock
        grouped.fill(group(second.unwrap(), promised));
        yields(round);
        settle(&promise);
        [first.get().result().unwrap().clone(), receiver.recv().unwrap()]
    })
}

#[test]
fn first_ok_with_one_movable_branch_is_no_deadlock() {
    for round in 0..ROUNDS {
        let [first, second] = group_of_a_promise(
            round,
            |stuck, promised| first_ok([stuck, promised]),
            |promise| promise.set_result(9).unwrap(),
        );
        assert_eq!((first, second), (Ok(9), Ok(1)));
    }
}

#[test]
fn first_ok_whose_movable_branch_fails_is_a_deadlock_then() {
    for round in 0..ROUNDS {
        let outcomes = group_of_a_promise(
            round,
            |stuck, promised| first_ok([stuck, promised]),
            |promise| promise.set_exception(Error::raised("of a test")).unwrap(),
        );
        assert_eq!(outcomes.iter().filter(|met| met.is_err()).count(), 1, "{outcomes:?}");
    }
}

#[test]
fn join_all_whose_movable_member_succeeds_is_a_deadlock_then() {
    for round in 0..ROUNDS {
        let outcomes = group_of_a_promise(
            round,
            |stuck, promised| join_all([promised, stuck]).map(|all| all[0]),
            |promise| promise.set_result(9).unwrap(),
        );
        assert_eq!(outcomes.iter().filter(|met| met.is_err()).count(), 1, "{outcomes:?}");
    }
}

#[test]
fn join_all_ends_with_the_failure_of_its_movable_member() {
    for round in 0..ROUNDS {
        let outcomes = group_of_a_promise(
            round,
            |stuck, promised| {
                join_all([stuck, promised]).map(|all| all[0]).or_else(|error| {
                    assert!(error.to_string().contains("of a test"));
                    Future::ready(5)
                })
            },
            |promise| promise.set_exception(Error::raised("of a test")).unwrap(),
        );
        assert_eq!(outcomes, [Ok(5), Ok(1)]);
    }
}

#[test]
fn a_group_in_a_group_whose_last_branch_closes_is_found() {
    for round in 0..ROUNDS {
        let outcomes = group_of_a_promise(
            round,
            |stuck, promised| {
                let inner = join_all([stuck, Future::ready(3)]).map(|all| all[1]);
                first_ok([promised, first_ok([inner])])
            },
            |promise| promise.set_exception(Error::raised("of a test")).unwrap(),
        );
        assert_eq!(outcomes.iter().filter(|met| met.is_err()).count(), 1, "{outcomes:?}");
    }
}

#[test]
fn a_chain_that_turns_to_a_stuck_call_is_a_deadlock_then() {
    for round in 0..ROUNDS {
        let outcomes = group_of_a_promise(
            round,
            |stuck, promised| promised.and_then(move |_| stuck),
            |promise| promise.set_result(9).unwrap(),
        );
        assert_eq!(outcomes.iter().filter(|met| met.is_err()).count(), 1, "{outcomes:?}");
    }
}

#[test]
fn a_function_that_waits_for_what_waits_for_it_is_found() {
    for round in 0..ROUNDS {
        let deadlocks = timely(move || {
            let pool = shared_pool(2);
            let (gate, opens) = channel::<()>();
            let mapped = OnceSlot::<Future<bool>>::new();
            let waits = mapped.clone();
            let waiter = Arc::new(pool.spawn(move || waits.get().result().is_err()).unwrap());
            let inner = Arc::clone(&waiter);
            let source = pool.spawn(move || opens.recv().is_ok()).unwrap();
            mapped.fill(source.map(move |_| matches!(inner.result(), Err(Error::Deadlock(_)))));
            yields(round);
            gate.send(()).unwrap();
            let in_waiter = *waiter.result().unwrap();
            [mapped.get().result().is_ok_and(|&met| met), in_waiter]
        });
        assert_ne!(deadlocks[0], deadlocks[1]);
    }
}

#[test]
fn the_error_names_groups_and_what_they_wait_for() {
    let text = timely(|| {
        let pool = shared_pool(1);
        let place = OnceSlot::<Future<usize>>::new();
        let (there, (sender, receiver)) = (place.clone(), channel());
        let call = pool.spawn(move || {
            sender.send(outcome(there.get().result())).unwrap();
            1
        });
        place.fill(join_all([call.unwrap()]).map(|all| all.len()));
        receiver.recv().unwrap().unwrap_err()
    });
    assert!(text.contains("waits for `join_all`, and `join_all` waits for `"), "{text}");
    assert!(text.contains("running in"), "{text}");
}

#[test]
fn waiting_for_any_of_several_groups_goes_on_while_one_can_end() {
    for round in 0..ROUNDS {
        timely(move || {
            let pool = shared_pool(2);
            let (promise, promised) = Promise::pair();
            let place = OnceSlot::<Vec<Future<u8>>>::new();
            let there = place.clone();
            let waits = pool.spawn(move || {
                wait(there.get(), None, ReturnWhen::FirstCompleted).done.len() as u8
            });
            let waits = waits.unwrap();
            let stuck = join_all([waits]).map(|all| all[0]);
            let movable = join_all([promised, Future::ready(1)]).map(|all| all[0]);
            place.fill(vec![stuck, movable]);
            yields(round);
            promise.set_result(2).unwrap();
            assert_eq!(*place.get()[0].result().unwrap(), 1);
        });
    }
}

// The callback waits for a call that waits for what follows the callback's own.
#[test]
fn a_circle_through_a_callback_is_broken() {
    for round in 0..ROUNDS {
        let deadlocks = timely(move || {
            let pools = [shared_pool(1), shared_pool(1)];
            let (follower, waiter) =
                (OnceSlot::<Future<u8>>::new(), OnceSlot::<Future<bool>>::new());
            let (gate, opens) = channel::<()>();
            let (met, meets) = channel();
            let source = pools[0].spawn(move || u8::from(opens.recv().is_ok())).unwrap();
            let awaited = waiter.clone();
            source.add_done_callback(move |_| {
                met.send(matches!(awaited.get().result(), Err(Error::Deadlock(_)))).unwrap();
            });
            follower.fill(source.map(|n| n));
            let followed = follower.clone();
            let waits =
                pools[1].spawn(move || matches!(followed.get().result(), Err(Error::Deadlock(_))));
            waiter.fill(waits.unwrap());
            yields(round);
            gate.send(()).unwrap();
            [meets.recv().unwrap(), *waiter.get().result().unwrap()]
        });
        assert_ne!(deadlocks[0], deadlocks[1]);
    }
}

// A deadline on the way of the circle ends it.
#[test]
fn a_circle_with_a_deadline_in_it_is_none() {
    for workers in [1, 2] {
        timely(move || {
            let pools = [shared_pool(workers), shared_pool(workers)];
            let [limited, other] = [(); 2].map(|()| OnceSlot::<Future<bool>>::new());
            let there = other.clone();
            let waits = pools[0].spawn(move || matches!(there.get().result(), Ok(true))).unwrap();
            limited.fill(waits.with_timeout(Duration::from_millis(20)));
            let there = limited.clone();
            let call =
                pools[1].spawn(move || there.get().result().is_err_and(|error| error.is_timeout()));
            other.fill(call.unwrap());
            assert!(*other.get().result().unwrap());
            assert!(limited.get().result().unwrap_err().is_timeout());
        });
    }
}
