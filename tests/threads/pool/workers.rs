//! When workers are started, which of them runs a call, and what they are called.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use concurrent::futures::ThreadPoolExecutor;

use crate::support::{Busy, Gate, here, pool, rounds, threads_of, tick, timely};

fn name() -> String {
    std::thread::current().name().unwrap().to_owned()
}

// case 85, F81, F75
#[test]
fn threads_are_named_for_the_prefix_and_their_number() {
    timely(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(3).thread_name_prefix("special");
        let pool = builder.build().unwrap();
        let busy = [Busy::on(&pool), Busy::on(&pool)];
        assert_eq!(pool.spawn(name).unwrap().into_result().unwrap(), "special_2");
        busy[0].let_go();
        busy[0].call.result().unwrap();
        let again = pool.spawn(name).unwrap().into_result().unwrap();
        assert!(["special_0", "special_2"].contains(&again.as_str()), "{again}");
    });
}

// case 86, F81: the number is consumed only when no prefix is given
#[test]
fn default_names_are_unique_to_each_pool() {
    timely(|| {
        let names: Vec<String> =
            (0..2).map(|_| pool(1).spawn(name).unwrap().into_result().unwrap()).collect();
        for name in &names {
            let rest = name.strip_prefix("ThreadPoolExecutor-").unwrap();
            let (number, index) = rest.split_once('_').unwrap();
            assert!(number.parse::<usize>().is_ok() && index == "0", "{name}");
        }
        assert_ne!(names[0], names[1]);
        let empty = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("");
        let pool = empty.build().unwrap();
        assert_eq!(pool.spawn(name).unwrap().into_result().unwrap(), "_0");
    });
}

fn meet(others: &Barrier) {
    others.wait();
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
