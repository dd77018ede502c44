//! Moving a value out waits for the callbacks that may borrow it: a wait like any other.

use std::sync::mpsc;

use concurrent::Error;
use concurrent::futures::Future;

use crate::support::{pool, timely};

/// The outcomes of a call that moves a value out, and of the callback of that value's call, which waits
/// for a call of the first one's pool. `callback_first`: it waits before the value is moved out.
fn crossed(workers: usize, callback_first: bool) -> (Result<i32, Error>, Result<i32, Error>) {
    let (own, other) = (pool(workers), pool(1));
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
            let pools = [pool(1), pool(1)];
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
