//! When, where and in what order callbacks run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use concurrent::Error;
use concurrent::futures::{Future, Promise};

use super::report;
use crate::support::{
    Busy, Counter, Gate, cancelled, failed, finished, here, pending, pool, rounds, running,
    text_of, timely,
};

type Order = Arc<Mutex<Vec<&'static str>>>;

fn note(order: &Order, what: &'static str) -> impl FnOnce(&Future<i32>) + Send + use<> {
    let order = Arc::clone(order);
    move |_| order.lock().unwrap().push(what)
}

// F22, F23, F12: in the order added; the same function twice runs twice, and never again
#[test]
fn callbacks_run_once_each_in_the_order_added() {
    let order = Order::default();
    let (_promise, future) = pending();
    for what in ["first", "second", "second", "third"] {
        future.add_done_callback(note(&order, what));
    }
    assert!(future.cancel());
    assert!(future.cancel());
    assert_eq!(*order.lock().unwrap(), ["first", "second", "second", "third"]);
}

// F25: one added from inside of a callback runs at once, before later ones
#[test]
fn a_callback_added_by_a_callback_runs_at_once() {
    let order = Order::default();
    let (promise, future) = running();
    let (outer, nested) = (note(&order, "outer"), note(&order, "nested"));
    future.add_done_callback(move |future| {
        outer(future);
        future.add_done_callback(nested);
    });
    future.add_done_callback(note(&order, "later"));
    promise.set_result(1).unwrap();
    assert_eq!(*order.lock().unwrap(), ["outer", "nested", "later"]);
}

// F23: in the thread that completes the call, or that cancels it, or that adds them too late
#[test]
fn callbacks_run_in_the_thread_that_ends_the_call() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let (sender, receiver) = mpsc::channel();
        let tell = move || {
            let sender = sender.clone();
            move |_: &Future<std::thread::ThreadId>| sender.send(here()).unwrap()
        };
        let [ran, gone] = [(); 2].map(|()| pool.spawn(here).unwrap());
        ran.add_done_callback(tell());
        gone.add_done_callback(tell());
        assert!(gone.cancel());
        assert_eq!(receiver.recv().unwrap(), here());
        busy.let_go();
        assert_eq!(receiver.recv().unwrap(), *ran.result().unwrap());
        ran.add_done_callback(tell());
        assert_eq!(receiver.recv().unwrap(), here());
    });
}

// F24, F36: waiters are woken first; set_result returns after the callbacks
#[test]
fn a_result_is_seen_while_callbacks_still_run() {
    timely(|| {
        let (promise, future) = running();
        let gate = Gate::new();
        let entry = gate.clone();
        future.add_done_callback(move |_| entry.pass());
        let returned = Arc::new(AtomicBool::new(false));
        let thread = {
            let returned = Arc::clone(&returned);
            std::thread::spawn(move || {
                promise.set_result(5).unwrap();
                returned.store(true, Ordering::SeqCst);
            })
        };
        assert_eq!(*future.result().unwrap(), 5);
        assert!(!returned.load(Ordering::SeqCst), "set_result waits for the callback");
        gate.open();
        thread.join().unwrap();
        assert!(returned.load(Ordering::SeqCst));
    });
}

// F31: callbacks and what they captured are dropped as soon as they ran
#[test]
fn a_callback_is_dropped_when_it_has_run() {
    let counter = Counter::new();
    let (promise, future) = running();
    let captured = counter.one();
    future.add_done_callback(move |_| drop(captured));
    let unused = counter.one();
    future.add_done_callback(move |_| assert_eq!(size_of_val(&unused), size_of::<usize>()));
    assert_eq!(counter.dropped(), 0);
    promise.set_result(1).unwrap();
    assert_eq!(counter.dropped(), 2);
}

// F22, F31: those of a call that is given up run, too
#[test]
fn callbacks_run_when_the_promise_is_dropped() {
    let counter = Counter::new();
    let (promise, future) = Promise::<()>::pair();
    let captured = counter.one();
    future.add_done_callback(move |future| {
        assert!(matches!(future.result(), Err(Error::BrokenPromise)));
        drop(captured);
    });
    drop(future);
    drop(promise);
    assert_eq!(counter.dropped(), 1);
}

// case 12, F22, F11
#[test]
fn a_callback_sees_the_value() {
    let (promise, future) = running();
    let seen = report(&future, |future| *future.result().unwrap());
    promise.set_result(5).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [5]);
}

// case 13
#[test]
fn a_callback_sees_the_error() {
    let (promise, future) = running();
    let seen = report(&future, text_of);
    promise.set_exception(Error::raised("no disk")).unwrap();
    assert!(seen.recv().unwrap().ends_with("no disk"));
}

// case 14, F11
#[test]
fn a_callback_sees_the_cancel() {
    let (_promise, future) = pending();
    let seen = report(&future, Future::cancelled);
    assert!(future.cancel());
    assert!(seen.try_recv().unwrap());
}

// case 16, F25
#[test]
fn a_callback_on_a_finished_call_runs_at_once() {
    let (_promise, future) = finished(5);
    assert_eq!(report(&future, |future| *future.result().unwrap()).try_recv().unwrap(), 5);
}

// case 17
#[test]
fn a_callback_on_a_failed_call_runs_at_once() {
    let (_promise, future) = failed("no disk");
    assert!(report(&future, text_of).try_recv().unwrap().ends_with("no disk"));
}

// case 18
#[test]
fn a_callback_on_a_cancelled_call_runs_at_once() {
    let (_promise, future) = cancelled();
    assert!(report(&future, Future::cancelled).try_recv().unwrap());
}

// F22: a million callbacks and a deep list of waiters overflow no stack
#[test]
fn a_long_list_of_callbacks_overflows_no_stack() {
    let counter = Counter::new();
    let (promise, future) = running::<()>();
    for _ in 0..rounds(200_000) {
        let captured = counter.one();
        future.add_done_callback(move |_| drop(captured));
    }
    promise.set_result(()).unwrap();
    assert_eq!(counter.dropped(), counter.made());
    drop(future);
}

// F22, F25: a callback added while the call ends runs exactly once
#[test]
fn a_callback_that_races_the_end_runs_once() {
    timely(|| {
        let counter = Counter::new();
        for _ in 0..rounds(3_000) {
            let (promise, future) = Promise::pair();
            let thread = std::thread::spawn(move || promise.set_result(1).unwrap());
            for _ in 0..4 {
                let captured = counter.one();
                future.add_done_callback(move |_| drop(captured));
            }
            thread.join().unwrap();
            assert_eq!(counter.dropped(), counter.made());
        }
    });
}
