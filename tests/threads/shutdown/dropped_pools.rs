//! Pools that go out of scope: by their owner, in a call, in a panic, with the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use concurrent::futures::{Future, ThreadPoolExecutor, as_completed};

use crate::support::{
    Busy, Gate, MOMENT, here, in_own_process, pool, pool_with_witness, rounds, tick, timely, until,
};

// F74: a pool that goes out of use runs what was submitted; Python's executor does not wait for it
#[test]
fn the_drop_of_a_pool_waits_for_its_calls() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let last = pool.spawn(|| 1).unwrap();
        let (done, dropped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            drop(pool);
            done.send(last.done()).unwrap();
        });
        assert!(dropped.recv_timeout(MOMENT).is_err(), "while a call runs");
        busy.let_go();
        assert!(dropped.recv().unwrap());
        thread.join().unwrap();
    });
}

static ENDLESS: LazyLock<ThreadPoolExecutor> = LazyLock::new(|| pool(1));

// F82, F58, case 75: process exit waits for no pool that was not dropped
#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn process_exit_waits_for_no_pool_in_a_static() {
    let test = concat!(module_path!(), "::process_exit_waits_for_no_pool_in_a_static");
    if in_own_process(test, None) {
        let _busy = Busy::on(&ENDLESS); // never let go
        std::process::exit(0);
    }
}

// F30: from a call or from a callback, in a worker
#[test]
fn a_call_may_drop_its_own_pool() {
    timely(|| {
        for _ in 0..rounds(200) {
            let slot = Arc::new(Mutex::new(None));
            let (gate, own) = (Gate::new(), Arc::clone(&slot));
            let entry = gate.clone();
            let pool = pool(2);
            let drops = pool.spawn(move || {
                entry.pass();
                drop(own.lock().unwrap().take());
                here()
            });
            let queued = pool.spawn(|| 7).unwrap();
            *slot.lock().unwrap() = Some(pool);
            gate.open();
            assert_ne!(drops.unwrap().into_result().unwrap(), here());
            assert_eq!(queued.into_result().unwrap(), 7, "the queue is drained all the same");
        }
    });
}

#[test]
fn a_callback_may_drop_the_last_handle_to_its_pool() {
    timely(|| {
        let alive = Arc::new(());
        let ended = Arc::downgrade(&alive);
        let builder = ThreadPoolExecutor::builder().max_workers(2);
        let pool = builder.initializer(move || drop(Arc::clone(&alive))).build().unwrap();
        let busy = Busy::on(&pool);
        let mut pool = Some(pool);
        let slot = Arc::new(Mutex::new(pool.take()));
        busy.call.add_done_callback(move |_| drop(slot.lock().unwrap().take()));
        busy.let_go();
        until(|| ended.strong_count() == 0);
    });
}

static POOL: LazyLock<ThreadPoolExecutor> = LazyLock::new(|| pool(2));

#[test]
fn a_pool_may_live_in_a_static() {
    timely(|| {
        let calls: Vec<_> = (0..10).map(|n| POOL.spawn(move || n).unwrap()).collect();
        assert_eq!(as_completed(&calls).map(|call| *call.result().unwrap()).sum::<i32>(), 45);
    });
}

// F70: pools that are made, used and dropped all the time
#[test]
fn pools_that_come_and_go_lose_nothing() {
    timely(|| {
        for round in 0..rounds(1_000) {
            let pool = ThreadPoolExecutor::new(1 + round % 4).unwrap();
            let calls: Vec<_> = (0..round % 7).map(|n| pool.spawn(move || n).unwrap()).collect();
            drop(pool);
            assert!(calls.iter().all(Future::done));
        }
    });
}

// case 75, F73: the end of the scope waits, as the end of Python's program does
#[test]
fn a_call_submitted_right_before_the_scope_ends_completes() {
    timely(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        {
            let ran = Arc::clone(&ran);
            drop(pool(1).spawn(move || tick(&ran)).unwrap());
        }
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    });
}

// case 83, F74: dropped without shutdown
#[test]
fn a_dropped_pool_computes_everything_and_ends() {
    timely(|| {
        let (pool, alive) = pool_with_witness(5);
        let calls: Vec<_> = (0..100).map(|n| pool.spawn(move || n * 2).unwrap()).collect();
        drop(pool);
        assert!(calls.iter().all(concurrent::futures::Future::done));
        assert_eq!(calls.iter().map(|call| *call.result().unwrap()).sum::<i32>(), 9900);
        assert_eq!(alive.strong_count(), 0);
    });
}

// F73: a panic that unwinds cancels what has not started
#[test]
fn a_pool_dropped_by_a_panic_cancels_what_has_not_started() {
    timely(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let body = AssertUnwindSafe(|| {
            let gate = Gate::new();
            let pool = pool(1);
            let busy = Busy::on(&pool);
            for _ in 0..10 {
                let ran = Arc::clone(&ran);
                drop(pool.spawn(move || tick(&ran)).unwrap());
            }
            // Cancelled in the order they came, so that the last of them tells of all.
            let last = pool.spawn(|| ()).unwrap();
            let opener = gate.clone();
            last.add_done_callback(move |last| {
                assert!(last.cancelled());
                opener.open();
            });
            let hold = busy;
            let helper = std::thread::spawn(move || {
                gate.pass();
                hold.let_go();
            });
            let _pool = (pool, helper);
            panic!("on purpose");
        });
        assert!(catch_unwind(body).is_err());
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    });
}
