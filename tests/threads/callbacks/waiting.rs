//! Callbacks that use their pool, wait for calls, or are waited for.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ShutdownOptions};

use crate::support::{Busy, Gate, pool, rounds, running, shared_pool, timely};

// F29: submit from a callback of a call that a shutdown cancels
#[test]
fn a_callback_may_use_the_pool_that_is_being_shut_down() {
    timely(|| {
        let pool = Arc::new(pool(1));
        let busy = Busy::on(&pool);
        let call = pool.spawn(|| ()).unwrap();
        let (inner, told) = (Arc::clone(&pool), Gate::new());
        let tell = told.clone();
        call.add_done_callback(move |call| {
            assert!(call.cancelled());
            assert!(matches!(inner.spawn(|| ()), Err(Error::Shutdown)));
            inner.shutdown_with(ShutdownOptions::new().wait(false).cancel_futures(true));
            tell.open();
        });
        pool.shutdown_with(ShutdownOptions::new().wait(false).cancel_futures(true));
        told.pass();
        drop(busy);
    });
}

// F30: a callback in a worker that shuts its pool down and waits joins nobody
#[test]
fn a_callback_may_shut_down_and_wait_in_the_pools_own_worker() {
    timely(|| {
        let pool = Arc::new(pool(2));
        let busy = Busy::on(&pool);
        let inner = Arc::clone(&pool);
        let told = Gate::new();
        let tell = told.clone();
        busy.call.add_done_callback(move |_| {
            inner.shutdown();
            tell.open();
        });
        busy.let_go();
        told.pass();
        pool.shutdown();
    });
}

// F28: a slow callback delays no other call as long as a worker may be started
#[test]
fn a_callback_that_waits_for_a_later_call_gets_it() {
    timely(|| {
        let pool = Arc::new(pool(2));
        let busy = Busy::on(&pool);
        let inner = Arc::clone(&pool);
        let (sender, receiver) = mpsc::channel();
        busy.call.add_done_callback(move |_| {
            let value = inner.spawn(|| 9).unwrap().into_result().unwrap();
            sender.send(value).unwrap();
        });
        busy.let_go();
        assert_eq!(receiver.recv().unwrap(), 9);
    });
}

// F24: callbacks borrow the value, so that moving it out waits for them
#[test]
fn into_result_waits_for_the_callbacks() {
    timely(|| {
        for _ in 0..rounds(200) {
            let (promise, future) = running();
            let finished = Arc::new(Mutex::new(0));
            for _ in 0..3 {
                let finished = Arc::clone(&finished);
                future.add_done_callback(move |future| {
                    thread::yield_now();
                    *finished.lock().unwrap() += future.result().unwrap();
                });
            }
            let thread = thread::spawn(move || promise.set_result(2).unwrap());
            assert_eq!(future.into_result().unwrap(), 2);
            assert_eq!(*finished.lock().unwrap(), 6);
            thread.join().unwrap();
        }
    });
}

#[test]
fn into_result_in_the_calls_own_callback_is_a_deadlock_error() {
    timely(|| {
        let (promise, future) = Promise::<i32>::pair();
        let slot = Arc::new(Mutex::new(None));
        let own = Arc::clone(&slot);
        let (sender, receiver) = std::sync::mpsc::channel();
        future.add_done_callback(move |_| {
            let future: Future<i32> = own.lock().unwrap().take().unwrap();
            sender.send(future.into_result()).unwrap();
        });
        *slot.lock().unwrap() = Some(future);
        promise.set_result(1).unwrap();
        let error = receiver.recv().unwrap().unwrap_err();
        assert!(matches!(error, Error::Deadlock(_)), "{error}");
    });
}

#[test]
fn waiting_for_the_flattened_call_in_its_sources_callback_is_a_deadlock_error() {
    timely(|| {
        let (promise, future) = Promise::<Result<i32, String>>::pair();
        let slot = Arc::new(Mutex::new(None));
        let own = Arc::clone(&slot);
        let (sender, receiver) = std::sync::mpsc::channel();
        future.add_done_callback(move |_| {
            let flat: Future<i32> = own.lock().unwrap().take().unwrap();
            sender.send(flat.result().copied()).unwrap();
            *own.lock().unwrap() = Some(flat);
        });
        *slot.lock().unwrap() = Some(future.flatten());
        promise.set_result(Ok(1)).unwrap();
        let error = receiver.recv().unwrap().unwrap_err();
        assert!(matches!(error, Error::Deadlock(_)), "{error}");
        assert_eq!(slot.lock().unwrap().take().unwrap().into_result().unwrap(), 1);
    });
}

/// The outcomes of a call that moves a value out, and of the callback of that value's call, which waits
/// for a call of the first one's pool. `callback_first`: it waits before the value is moved out.
fn crossed(workers: usize, callback_first: bool) -> (Result<i32, Error>, Result<i32, Error>) {
    let (own, other) = (shared_pool(workers), shared_pool(1));
    let (open, opened) = mpsc::channel::<Future<i32>>();
    let (begun, begins) = mpsc::channel::<()>();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let (told, tells) = mpsc::channel();
    let takes = own
        .spawn(move || {
            let call = opened.recv().unwrap();
            call.result().unwrap();
            let _ = begun.send(()); // nobody waits for it if the callback came first
            call.into_result()
        })
        .unwrap();
    let call = other.spawn(move || goes_on.recv().map(|()| 5).unwrap()).unwrap();
    let (waits_in, waits_for) = (other.clone(), own.clone());
    call.add_done_callback({
        let own = own.clone();
        move |_| {
            if !callback_first {
                begins.recv().unwrap();
                while workers == 1 && own.stats().blocked < 1 {
                    std::thread::yield_now();
                }
            }
            let _ = told.send(waits_for.spawn(|| 7).unwrap().into_result());
        }
    });
    go_on.send(()).unwrap();
    while callback_first && workers == 1 && waits_in.stats().blocked < 1 {
        std::thread::yield_now();
    }
    open.send(call).unwrap();
    (takes.into_result().unwrap(), tells.recv().unwrap())
}

#[test]
fn a_callback_that_waits_for_the_worker_that_waits_for_it_meets_a_deadlock() {
    timely(|| {
        for round in 0..100 {
            let (taken, told) = crossed(1, round % 2 == 0);
            assert_eq!(taken.unwrap(), 5, "the value is not lost");
            let text = told.unwrap_err().to_string();
            assert!(text.contains("waits for the callbacks of `"), "{text}");
        }
    });
}

#[test]
fn a_callback_that_waits_for_another_worker_gets_its_result() {
    timely(|| {
        for round in 0..100 {
            let (taken, told) = crossed(2, round % 2 == 0);
            assert_eq!((taken.unwrap(), told.unwrap()), (5, 7));
        }
    });
}

#[test]
fn two_callbacks_that_move_out_each_others_values_meet_one_deadlock() {
    timely(|| {
        for _ in 0..100 {
            let pools = [shared_pool(1), shared_pool(1)];
            let gates = [(); 2].map(|()| mpsc::channel::<Future<i32>>());
            let [(give_first, first_given), (give_second, second_given)] = gates;
            let (told, tells) = mpsc::channel();
            let (go_on, goes_on) = mpsc::channel::<()>();
            let (go_on_too, goes_on_too) = mpsc::channel::<()>();
            let first = pools[0].spawn(move || goes_on.recv().map(|()| 1).unwrap()).unwrap();
            let second = pools[1].spawn(move || goes_on_too.recv().map(|()| 2).unwrap()).unwrap();
            let told_too = told.clone();
            first.add_done_callback(move |_| {
                told.send(second_given.recv().unwrap().into_result()).unwrap();
            });
            second.add_done_callback(move |_| {
                told_too.send(first_given.recv().unwrap().into_result()).unwrap();
            });
            go_on.send(()).unwrap();
            go_on_too.send(()).unwrap();
            give_first.send(first).unwrap();
            give_second.send(second).unwrap();
            let ends: Vec<_> = tells.iter().take(2).collect();
            let refused = ends.iter().filter(|end| matches!(end, Err(Error::Deadlock(_))));
            assert_eq!(refused.count(), 1, "{ends:?}");
            assert!(ends.iter().any(Result::is_ok), "{ends:?}");
        }
    });
}

// It is another chain than the callback's own.
#[test]
fn a_callback_may_wait_for_what_follows_another_call() {
    let sum = timely(|| {
        let pools = [shared_pool(1), shared_pool(1)];
        let (send, receive) = channel();
        let (open, opens) = channel::<()>();
        let follower =
            pools[1].spawn(move || u8::from(opens.recv().is_err())).unwrap().map(|n| n + 1);
        let (begin, begun) = channel();
        let (go, goes) = channel::<()>();
        let call = pools[0].spawn(move || u8::from(goes.recv().is_err())).unwrap();
        call.add_done_callback(move |call| {
            begin.send(()).unwrap();
            send.send(follower.result().map(|n| n + call.result().unwrap())).unwrap();
        });
        drop(go);
        begun.recv().unwrap();
        drop(open);
        receive.recv().unwrap().unwrap()
    });
    assert_eq!(sum, 3);
}
