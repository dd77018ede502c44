//! A thread that waits for a brief call may receive the answer itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{ProcessPoolExecutor, ShutdownOptions};
use serde::{Deserialize, Deserializer, Serialize};

use crate::support::{ProcessGate, eventually, replacing};

crate::support::trials![
    callbacks_do_not_run_in_the_thread_that_waits,
    many_threads_wait_at_once,
    a_worker_that_dies_under_a_waiting_thread,
    a_time_limit_while_the_answer_is_awaited,
    workers_wear_out_and_retire_while_answers_are_awaited,
    a_result_that_shuts_the_pool_down_when_it_is_decoded,
    a_call_that_grows_long_after_brief_ones,
];

/// Enough for the pool to know that calls are brief, so that threads receive nearly all answers.
const MANY: u64 = 300;

fn increment(n: u64) -> u64 {
    n + 1
}

fn warm_up(pool: &ProcessPoolExecutor) {
    for n in 0..20 {
        assert_eq!(pool.submit(increment, n).unwrap().into_result().unwrap(), n + 1);
    }
}

// F24, F25
fn callbacks_do_not_run_in_the_thread_that_waits() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let (sender, receiver) = mpsc::channel();
    // A callback may need what the waiting thread holds.
    let held = Arc::new(Mutex::new(()));
    for n in 0..MANY {
        let call = pool.submit(increment, n).unwrap();
        let adding = Arc::new(AtomicBool::new(true)); // then, this thread runs it if it is late
        let (sender, lock, late) = (sender.clone(), Arc::clone(&held), Arc::clone(&adding));
        call.add_done_callback(move |call| {
            let here = std::thread::current().id();
            let late = late.load(Ordering::SeqCst);
            let _guard = lock.lock().unwrap();
            sender.send((here, late, *call.result().unwrap())).unwrap();
        });
        adding.store(false, Ordering::SeqCst);
        let guard = held.lock().unwrap();
        assert_eq!(*call.result().unwrap(), n + 1);
        drop(guard);
        let (thread, late, result) = receiver.recv().unwrap();
        assert_eq!(result, n + 1);
        assert!(late || thread != std::thread::current().id());
    }
}

fn many_threads_wait_at_once() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..MANY {
                    let call = pool.submit(increment, first * MANY + n).unwrap();
                    assert_eq!(call.into_result().unwrap(), first * MANY + n + 1);
                }
            });
        }
    });
    let call = pool.submit(increment, 7).unwrap();
    let results: Vec<u64> = std::thread::scope(|scope| {
        let waiting = [(); 4].map(|()| scope.spawn(|| *call.result().unwrap()));
        waiting.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(results, [8; 4]);
}

fn a_worker_that_dies_under_a_waiting_thread() {
    let pool = replacing(1);
    for _ in 0..20 {
        warm_up(&pool);
        let call = pool.submit(|code| -> u64 { std::process::exit(code) }, 3).unwrap();
        match call.into_result() {
            Err(Error::WorkerDied(death)) => assert_eq!(death.exit_code, Some(3)),
            other => panic!("{other:?}"),
        }
    }
}

fn a_time_limit_while_the_answer_is_awaited() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    warm_up(&pool);
    for n in 0..MANY {
        let call = pool.submit(increment, n).unwrap();
        while let Err(error) = call.result_timeout(Duration::from_nanos(1 + n * 10)) {
            assert!(error.is_timeout());
        }
        assert_eq!(call.into_result().unwrap(), n + 1);
    }
}

fn workers_wear_out_and_retire_while_answers_are_awaited() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(50);
    let pool = builder.idle_timeout(Duration::from_millis(1)).build().unwrap();
    for n in 0..MANY {
        assert_eq!(pool.submit(increment, n).unwrap().into_result().unwrap(), n + 1);
    }
    eventually("retirement", || pool.stats().workers == 0);
    assert!(pool.stats().started >= MANY / 50);
    assert_eq!(pool.stats().died, 0);
}

static SHUT_DOWN_BY_A_RESULT: Mutex<Option<Arc<ProcessPoolExecutor>>> = Mutex::new(None);

#[derive(Serialize)]
struct Last(u64);

impl<'de> Deserialize<'de> for Last {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pool = SHUT_DOWN_BY_A_RESULT.lock().unwrap().clone();
        if let Some(pool) = pool {
            pool.shutdown_with(ShutdownOptions::new().wait(true));
        }
        u64::deserialize(deserializer).map(Self)
    }
}

fn a_result_that_shuts_the_pool_down_when_it_is_decoded() {
    // The supervisor decodes some of them all the same.
    for _ in 0..20 {
        let pool = Arc::new(ProcessPoolExecutor::new(1).unwrap());
        warm_up(&pool);
        *SHUT_DOWN_BY_A_RESULT.lock().unwrap() = Some(Arc::clone(&pool));
        assert_eq!(pool.submit(Last, 5).unwrap().into_result().unwrap().0, 5);
        assert!(matches!(pool.submit(increment, 1), Err(Error::Shutdown)));
        pool.shutdown();
    }
}

fn a_call_that_grows_long_after_brief_ones() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    for round in 0..10 {
        warm_up(&pool);
        let gate = ProcessGate::new();
        let call = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| call.result().map(|_| ()));
            gate.wait_begun();
            // While it is awaited, others may come, and be sent ahead.
            let more: Vec<_> = (0..5).map(|n| pool.submit(increment, n).unwrap()).collect();
            gate.open();
            waiting.join().unwrap().unwrap();
            let results: Vec<_> =
                more.into_iter().map(|call| call.into_result().unwrap()).collect();
            assert_eq!(results, [1, 2, 3, 4, 5], "round {round}");
        });
    }
}
