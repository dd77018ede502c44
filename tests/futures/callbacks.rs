//! Callbacks: when, where and in what order they run, and that they cannot wreck anything.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use concurrent::Error;
use concurrent::futures::{Future, Promise, ShutdownOptions};

use crate::support::{
    Busy, Counter, Gate, here, keep_log, logged, pending, pool, running, tick, timely,
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

// F27, F84: whatever a callback throws, the worker lives and the next callback runs
#[test]
fn a_panicking_callback_does_not_cost_a_worker() {
    timely(|| {
        let pool = pool(1);
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let busy = Busy::on(&pool);
            let call = pool.spawn(|| ()).unwrap();
            call.add_done_callback(|_| std::panic::panic_any(7_u8));
            let counted = Arc::clone(&count);
            call.add_done_callback(move |_| tick(&counted));
            drop(busy);
            call.into_result().unwrap(); // waits for the callbacks
        }
        assert_eq!(count.load(Ordering::SeqCst), 20);
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
    });
}

// F4: by its address and state, as Python writes it
#[test]
fn the_line_about_a_callback_that_panics_names_the_future() {
    keep_log();
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let gone = pool.spawn(|| ()).unwrap();
        gone.add_done_callback(|_| panic!("named: of a cancelled one"));
        assert!(gone.cancel());
        let late = pool.spawn(|| 1).unwrap();
        drop(busy);
        late.result().unwrap();
        late.add_done_callback(|_| panic!("named: added late"));
        for (call, text) in [
            (format!("{gone:?}"), "named: of a cancelled one"),
            (format!("{late:?}"), "named: added late"),
        ] {
            let lines = logged(text);
            let begins = format!("concurrent: exception calling callback for {call}: panicked at");
            assert!(lines.len() == 1 && lines[0].1.starts_with(&begins), "{lines:?}");
        }
    });
}

// F27, F4: not even a logger that panics costs the worker, or the next callback
#[test]
fn a_logger_that_panics_about_a_callback_harms_nobody() {
    keep_log();
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let call = pool.spawn(|| 3).unwrap();
        call.add_done_callback(|_| panic!("make the logger panic: callback"));
        let told = Gate::new();
        let tell = told.clone();
        call.add_done_callback(move |_| tell.open());
        drop(busy);
        told.pass();
        assert_eq!(call.into_result().unwrap(), 3);
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        assert_eq!(logged("make the logger panic: callback").len(), 1);
    });
}

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
