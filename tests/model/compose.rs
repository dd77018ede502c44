//! Chains and groups of calls against completion and cancel.

use std::sync::Arc;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ThreadPoolExecutor, first_ok, join_all};

use crate::{Outcomes, Watched, checker::thread};

fn pool() -> Arc<ThreadPoolExecutor> {
    let builder = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("w");
    Arc::new(builder.build().unwrap())
}

#[test]
fn a_chain_ends_with_its_source_or_its_cancel() {
    Outcomes::with_bound(Some(3), || {
        let (promise, future) = Promise::pair();
        let executor = thread::spawn(move || {
            promise.set_running_or_notify_cancel().unwrap()
                && promise.set_result(Watched::new(4)).is_ok()
        });
        let chain = future.and_then(Future::ready).map(|value| value.get());
        let cancelled = chain.cancel();
        let result = chain.into_result();
        assert_ne!(executor.join().unwrap(), cancelled);
        assert_eq!(result.is_ok(), !cancelled);
        cancelled
    })
    .assert([false, true]);
}

#[test]
fn a_call_follows_the_second_one_while_that_ends_or_is_cancelled() {
    Outcomes::with_bound(Some(3), || {
        let (first, future) = Promise::pair();
        let (second, inner) = Promise::<Watched>::pair();
        let chain = future.and_then(move |()| inner);
        let a = thread::spawn(move || first.set_result(()).is_ok());
        let b = thread::spawn(move || {
            second.set_running_or_notify_cancel().unwrap()
                && second.set_result(Watched::new(4)).is_ok()
        });
        let cancelled = chain.cancel();
        assert_eq!(chain.into_result().is_ok(), !cancelled);
        (cancelled, a.join().unwrap(), b.join().unwrap())
    })
    // The cancel came before the first call's end, after it, or too late.
    .assert([(false, true, true), (true, false, true), (true, true, false)]);
}

#[test]
fn of_two_successes_first_ok_takes_one_and_drops_the_other() {
    Outcomes::with_bound(Some(3), || {
        let (first, a) = Promise::pair();
        let (second, b) = Promise::pair();
        let either = first_ok([a, b]);
        let a = thread::spawn(move || first.set_result(Watched::new(1)).is_ok());
        let b = thread::spawn(move || second.set_result(Watched::new(2)).is_ok());
        let value = either.into_result().unwrap().get();
        assert!(a.join().unwrap() || b.join().unwrap());
        value
    })
    .assert([1, 2]);
}

#[test]
fn join_all_against_a_cancel() {
    Outcomes::with_bound(Some(3), || {
        let (first, a) = Promise::pair();
        let (second, b) = Promise::pair();
        let both = join_all([a, b]);
        let a = thread::spawn(move || first.set_result(Watched::new(1)).is_ok());
        let b = thread::spawn(move || second.set_result(Watched::new(2)).is_ok());
        let cancelled = both.cancel();
        match both.into_result() {
            Ok(values) => assert_eq!(values[0].get() + values[1].get(), 3),
            Err(error) => assert!(cancelled && error.is_cancelled()),
        }
        let completed = a.join().unwrap() && b.join().unwrap();
        assert!(completed || cancelled);
        cancelled
    })
    .assert([false, true]);
}

/// The second call of a chain comes up while the only worker that could run it blocks on the chain,
/// or is about to.
#[test]
fn a_worker_runs_in_place_what_a_chain_turns_to_while_it_waits() {
    Outcomes::with_bound(Some(2), || {
        let pool = pool();
        let (promise, future) = Promise::pair();
        let next = Arc::clone(&pool);
        let chain = future.and_then(move |n: u32| next.spawn(move || n + 1));
        let call = pool.spawn(move || chain.into_result().unwrap());
        promise.set_result(1).unwrap();
        assert_eq!(call.unwrap().into_result().unwrap(), 2);
        pool.shutdown();
    })
    .assert([()]);
}

/// A call waits for a group of itself and of a promise that fails: the deadlock comes about when
/// the promise does, wherever the worker is then.
#[test]
fn a_group_that_loses_its_last_movable_member_is_found_to_be_stuck() {
    Outcomes::with_bound(Some(2), || {
        let pool = pool();
        let (promise, promised) = Promise::<u32>::pair();
        let (own, owned) = Promise::pair();
        let (show, shown) = Promise::pair();
        let call = pool.spawn(move || {
            let group: Future<u32> = owned.into_result().unwrap();
            let stuck = matches!(group.result(), Err(Error::Deadlock(_)));
            show.set_result(stuck).unwrap();
            0
        });
        assert!(own.set_result(first_ok([call.unwrap(), promised])).is_ok());
        promise.set_exception(Error::raised("of a model")).unwrap();
        // Before the shutdown, which has everybody look again.
        let stuck = shown.into_result().unwrap();
        pool.shutdown();
        stuck
    })
    .assert([true]);
}

/// Two threads wait for `composed`; what it depends on `changes` when the one has looked at it, while
/// the other looks.
///
/// One forced switch takes the thread that makes the change away under the lock of what changes; the
/// second one comes to that lock with the one of the registry, and sleeps. The others sleep of their
/// own accord.
fn two_look_while(composed: Future<u32>, changes: impl FnOnce() + Send + 'static) {
    let composed = Arc::new(composed);
    let looks = [(); 2].map(|()| {
        let composed = Arc::clone(&composed);
        thread::spawn(move || {
            let (promise, done) = Promise::pair();
            let (show, shown) = Promise::pair();
            // Others may depend on a wait in a callback.
            done.add_done_callback(move |_| show.set_result(*composed.result().unwrap()).unwrap());
            promise.set_result(()).unwrap();
            shown.into_result().unwrap()
        })
    });
    let changes = thread::spawn(changes);
    assert_eq!(looks.map(|thread| thread.join().unwrap()), [2, 2]);
    changes.join().unwrap();
}

#[test]
fn a_group_loses_a_member_while_others_look_at_it() {
    Outcomes::with_bound(Some(1), || {
        let (last, a) = Promise::pair();
        let (fails, b) = Promise::<u32>::pair();
        two_look_while(first_ok([a, b]), move || {
            fails.set_exception(Error::raised("of a model")).unwrap();
            last.set_result(2).unwrap();
        });
    })
    .assert([()]);
}

#[test]
fn a_chain_turns_to_the_next_call_while_others_look_at_it() {
    Outcomes::with_bound(Some(1), || {
        let (first, a) = Promise::pair();
        let (last, b) = Promise::pair();
        two_look_while(a.and_then(move |()| b), move || {
            first.set_result(()).unwrap();
            last.set_result(2).unwrap();
        });
    })
    .assert([()]);
}
