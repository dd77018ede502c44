//! CPython's tests of the thread pool: case 67 to case 73.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use concurrent::futures::{MapOptions, ThreadPoolExecutor};

use crate::support::{Busy, Gate, MOMENT, here, pool, rounds, threads_of, tick, timely};

fn meet(others: &Barrier) {
    others.wait();
}

// case 67, F59
#[test]
fn a_map_that_is_never_advanced_still_runs_everything() {
    timely(|| {
        let pool = pool(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let task = {
            let ran = Arc::clone(&ran);
            move |_: i32| tick(&ran)
        };
        let map = pool.map(task, 0..20);
        pool.shutdown();
        assert_eq!(ran.load(Ordering::SeqCst), 20);
        drop(map);
    });
}

// case 68, F76: five for each processor, the rule of 3.5 to 3.7 that DESIGN 4 asks for
#[test]
fn the_default_is_five_workers_for_each_processor() {
    assert_eq!(ThreadPoolExecutor::default().max_workers(), num_cpus::get() * 5);
    assert_eq!(ThreadPoolExecutor::builder().build().unwrap().max_workers(), num_cpus::get() * 5);
}

// case 69, F79
#[test]
fn sixty_blocked_calls_on_four_workers_use_four_threads() {
    timely(|| {
        let pool = pool(4);
        let (gate, started) = (Gate::new(), Arc::new(Barrier::new(5)));
        let calls: Vec<_> = (0..60)
            .map(|n| {
                let (gate, started) = (gate.clone(), Arc::clone(&started));
                let task = move || {
                    if n < 4 {
                        started.wait();
                    }
                    gate.pass();
                    here()
                };
                pool.spawn(task).unwrap()
            })
            .collect();
        started.wait(); // four of them are inside of their calls at once
        gate.open();
        assert_eq!(threads_of(calls).len(), 4);
    });
}

// case 70, F80: whoever has seen a result finds its worker free
#[test]
fn sequential_submits_use_one_thread() {
    timely(|| {
        for _ in 0..rounds(300) {
            let pool = pool(4);
            let mut seen = HashSet::new();
            for _ in 0..3 {
                seen.insert(*pool.spawn(here).unwrap().result().unwrap());
            }
            assert_eq!(seen.len(), 1);
        }
    });
}

// case 70, F80: also when the results were moved out and have a destructor
#[test]
fn sequential_submits_of_moved_results_use_one_thread() {
    timely(|| {
        for _ in 0..rounds(300) {
            let pool = pool(4);
            let work = || vec![here()];
            let seen: HashSet<_> =
                (0..5).flat_map(|_| pool.spawn(work).unwrap().into_result().unwrap()).collect();
            assert_eq!(seen.len(), 1);
        }
    });
}

// F79, F80: an idle worker takes one call; the others that come with it get workers of their own
#[test]
fn a_burst_after_a_lull_gets_as_many_workers_as_there_may_be() {
    timely(|| {
        for round in 0..rounds(400) {
            let pool = pool(4);
            pool.spawn(|| ()).unwrap().result().unwrap();
            (0..round).for_each(|_| std::thread::yield_now()); // asleep, or about to be
            let all = Arc::new(Barrier::new(4));
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    let all = Arc::clone(&all);
                    pool.spawn(move || meet(&all)).unwrap()
                })
                .collect();
            calls.iter().for_each(|call| *call.result().unwrap());
        }
    });
}

// F79, F80: sleepers are all used before a call waits
#[test]
fn a_burst_on_sleeping_workers_wakes_as_many_as_it_needs() {
    timely(|| {
        let pool = pool(3);
        for round in 0..rounds(2_000) {
            let all = Arc::new(Barrier::new(3));
            let calls: Vec<_> = (0..3)
                .map(|_| {
                    let all = Arc::clone(&all);
                    pool.spawn(move || meet(&all)).unwrap()
                })
                .collect();
            calls.iter().for_each(|call| *call.result().unwrap());
            (0..round % 40).for_each(|_| std::thread::yield_now());
        }
    });
}

// F79: a call that a blocked call submits gets a worker
#[test]
fn a_call_submitted_by_a_blocked_call_gets_a_worker() {
    timely(|| {
        for _ in 0..rounds(300) {
            let pool = Arc::new(pool(2));
            let inner = Arc::clone(&pool);
            let outer = pool.spawn(move || inner.spawn(|| 5).unwrap().into_result().unwrap());
            assert_eq!(outer.unwrap().into_result().unwrap(), 5);
        }
    });
}

// case 73, F62: a map's timeout cancels the element that is waited for, too
#[test]
fn a_maps_timeout_cancels_the_element_it_waits_for() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let ran = Arc::new(AtomicUsize::new(0));
        let task = {
            let ran = Arc::clone(&ran);
            move |_: i32| tick(&ran)
        };
        let mut map = pool.map_with(MapOptions::new().timeout(MOMENT), task, 0..2).unwrap();
        assert!(map.next().unwrap().unwrap_err().is_timeout());
        busy.let_go();
        pool.shutdown();
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    });
}

// F79: nothing is started before the first call
#[test]
fn threads_are_started_by_calls_only() {
    timely(|| {
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let pool = ThreadPoolExecutor::builder()
            .max_workers(8)
            .initializer(move || tick(&count))
            .build()
            .unwrap();
        assert_eq!(started.load(Ordering::SeqCst), 0);
        pool.spawn(|| ()).unwrap().result().unwrap();
        assert_eq!(started.load(Ordering::SeqCst), 1);
        pool.shutdown();
        assert_eq!(started.load(Ordering::SeqCst), 1);
    });
}
