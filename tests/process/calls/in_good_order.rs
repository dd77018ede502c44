//! Calls whose process goes on: functions, panics, chunks, cancels, pools in workers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{
    Executor, Future, MapOptions, ProcessPoolExecutor, ReturnWhen, ThreadPoolExecutor,
    as_completed, wait,
};

use crate::support::{ProcessGate, trials};

trials![
    functions_and_closures_of_all_kinds,
    py_map_chunksize,
    a_panic_is_the_failure_of_its_call,
    futures_of_threads_and_processes_mix,
    py_saturation,
    py_idle_process_reuse_one,
    prefetched_calls_stay_cancellable,
    a_cheap_call_does_not_wait_behind_a_long_one,
    a_pool_inside_of_a_worker,
    a_map_ends_with_its_time_limit,
    py_ressources_gced_in_workers,
    py_gh105829_should_not_deadlock_if_wakeup_pipe_full,
    calls_that_fill_the_channel_behind_one_that_runs,
];

fn double(n: u64) -> u64 {
    n * 2
}

mod numbers {
    pub(super) struct Seven;
    impl Seven {
        pub(super) fn plus(n: i32) -> i32 {
            n + 7
        }
    }
    pub(super) fn identity<T>(value: T) -> T {
        value
    }
}

fn functions_and_closures_of_all_kinds() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    assert_eq!(*pool.submit(double, 21).unwrap().result().unwrap(), 42);
    assert_eq!(*pool.submit(numbers::Seven::plus, -7).unwrap().result().unwrap(), 0);
    let text = pool.submit(numbers::identity::<String>, "text".to_owned()).unwrap();
    assert_eq!(text.into_result().unwrap(), "text");
    assert_eq!(*pool.submit(|(a, b)| a + b, (1u8, 2u8)).unwrap().result().unwrap(), 3);
    assert_eq!(*pool.submit(u32::leading_zeros, 1).unwrap().result().unwrap(), 31);
    let table: [fn(u64) -> u64; 2] = [double, |n| n + 1];
    let results = table.map(|f| pool.submit(f, 10).unwrap().into_result().unwrap());
    assert_eq!(results, [20, 11]);
    let unit = pool.submit(|()| (), ()).unwrap();
    unit.into_result().unwrap();
}

// case 117
fn py_map_chunksize() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let expected: Vec<u64> = (0..7).map(double).collect();
    for size in [1, 3, 7, 100] {
        let options = MapOptions::new().chunk_size(size);
        let got: Result<Vec<_>, _> = pool.map_with(options, double, 0..7).unwrap().collect();
        assert_eq!(got.unwrap(), expected);
    }
    let zero = pool.map_with(MapOptions::new().chunk_size(0), double, 0..7);
    assert!(matches!(zero, Err(Error::InvalidArgument(_))));
}

// case 104, case 118, F100, F101
fn a_panic_is_the_failure_of_its_call() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let call = pool.submit(|n: u64| -> u64 { panic!("no {n}, on purpose") }, 7).unwrap();
    let Err(Error::Panicked(panic)) = call.into_result() else { panic!("it must fail") };
    assert_eq!(panic.message(), "no 7, on purpose");
    assert!(panic.location().unwrap().contains("in_good_order.rs"));
    assert_eq!(pool.submit(double, 1).unwrap().into_result().unwrap(), 2);
    assert_eq!(pool.stats().started, 1);
    let raised = pool.submit(|s: String| s.parse::<u8>().map_err(|e| e.to_string()), "x".into());
    assert!(raised.unwrap().into_result().unwrap().is_err(), "an Err is a value");
}

fn futures_of_threads_and_processes_mix() {
    let threads = ThreadPoolExecutor::new(1).unwrap();
    let processes = ProcessPoolExecutor::new(1).unwrap();
    let calls: Vec<Future<u64>> =
        vec![threads.spawn(|| 1).unwrap(), processes.submit(double, 1).unwrap()];
    let sum: u64 = as_completed(&calls).map(|call| *call.result().unwrap()).sum();
    assert_eq!(sum, 3);
    assert_eq!(wait(&calls, None, ReturnWhen::AllCompleted).done.len(), 2);
    let (sender, receiver) = std::sync::mpsc::channel();
    let call = processes.submit(double, 4).unwrap();
    call.add_done_callback(move |call| sender.send(*call.result().unwrap()).unwrap());
    assert_eq!(receiver.recv().unwrap(), 8);
    fn on_any(executor: &impl Executor) -> u64 {
        executor.submit(double, 5).unwrap().into_result().unwrap()
    }
    assert_eq!((on_any(&threads), on_any(&processes)), (10, 10));
}

// case 121, F94
fn py_saturation() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let gate = ProcessGate::new();
    let calls: Vec<_> = (0..30)
        .map(|_| pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap())
        .collect();
    for _ in 0..30 {
        gate.wait_begun();
        assert!(pool.stats().workers <= 2);
        gate.open();
    }
    calls.into_iter().for_each(|call| call.into_result().unwrap());
    assert_eq!(pool.stats().started, 2);
}

// case 122, case 123
fn py_idle_process_reuse_one() {
    let pool = ProcessPoolExecutor::new(4).unwrap();
    let pids: HashSet<u32> = (0..5)
        .map(|_| pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap())
        .collect();
    assert_eq!(pids.len(), 1);
    assert!(!pids.contains(&std::process::id()));
}

// F99
fn prefetched_calls_stay_cancellable() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).prefetch(8).build().unwrap();
    let gate = ProcessGate::new();
    let first = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    let behind: Vec<_> = (0..6).map(|n| pool.submit(double, n).unwrap()).collect();
    gate.wait_begun();
    assert!(first.running() && !first.cancel());
    assert!(behind.iter().all(|call| !call.running()), "only one can run");
    assert!(behind.iter().step_by(2).all(Future::cancel));
    gate.open();
    first.into_result().unwrap();
    for (n, call) in behind.into_iter().enumerate() {
        match call.into_result() {
            Ok(value) => assert_eq!((value, n % 2), (n as u64 * 2, 1)),
            Err(error) => assert!(error.is_cancelled() && n % 2 == 0),
        }
    }
}

fn a_cheap_call_does_not_wait_behind_a_long_one() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    // Both workers learn that calls are cheap, so that the depth is high.
    assert!(pool.map(double, 0..2000).all(|result| result.is_ok()));
    let gate = ProcessGate::new();
    let mut long = None;
    let cheap: Vec<_> = (0..40)
        .filter_map(|n| {
            if n == 3 {
                long = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).ok();
                return None;
            }
            pool.submit(double, n).ok()
        })
        .collect();
    gate.wait_begun();
    for call in cheap {
        call.into_result().unwrap(); // hangs if one is stuck behind the long one
    }
    gate.open();
    long.unwrap().into_result().unwrap();
}

// F109: what is a deadlock there works here, to a depth
fn a_pool_inside_of_a_worker() {
    fn nested(n: u64) -> u64 {
        let pool = ProcessPoolExecutor::new(1).unwrap();
        pool.submit(double, n).unwrap().into_result().unwrap()
    }
    let pool = ProcessPoolExecutor::new(1).unwrap();
    assert_eq!(pool.submit(nested, 4).unwrap().into_result().unwrap(), 8);
    fn deep(left: u32) -> u32 {
        let Ok(pool) = ProcessPoolExecutor::new(1) else { return left };
        pool.submit(deep, left - 1).unwrap().into_result().unwrap()
    }
    assert_eq!(pool.submit(deep, 20).unwrap().into_result().unwrap(), 11, "ten deep, no more");
}

fn a_map_ends_with_its_time_limit() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let gate = ProcessGate::new();
    let options = MapOptions::new().timeout(Duration::from_millis(1));
    let names = vec![gate.name(), gate.name()];
    let mut map = pool.map_with(options, |g: String| ProcessGate::pass(&g), names).unwrap();
    gate.wait_begun();
    assert!(map.next().unwrap().unwrap_err().is_timeout());
    assert!(map.next().is_none());
    gate.open();
}

/// Counts its drops, in whichever process they happen.
#[derive(serde::Serialize, serde::Deserialize)]
struct Counted;

static DROPS: AtomicU32 = AtomicU32::new(0);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

// case 120: what a call was given is gone when it has ended
fn py_ressources_gced_in_workers() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    for n in 1..4 {
        pool.submit(|_: Counted| (), Counted).unwrap().into_result().unwrap();
        let drops = |()| DROPS.load(Ordering::Relaxed);
        assert_eq!(pool.submit(drops, ()).unwrap().into_result().unwrap(), n);
        assert_eq!(drops(()), n, "and in this process, when it was sent");
    }
}

// case 113, F110: nothing that submitting has to write to can be full
fn py_gh105829_should_not_deadlock_if_wakeup_pipe_full() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let (release, gate) = mpsc::channel::<()>();
    let slow = pool.submit(double, 1).unwrap();
    slow.add_done_callback(move |_| gate.recv().unwrap_or_default()); // holds the supervisor up, if it comes in time
    let calls: Vec<_> = (0..20_000).map(|n| pool.submit(double, n).unwrap()).collect();
    drop(release);
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.into_result().unwrap(), n as u64 * 2);
    }
}

/// Calls are not sent ahead beyond the room of the channel; to do so would cost a worker.
fn calls_that_fill_the_channel_behind_one_that_runs() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).prefetch(64).build().unwrap();
    for len in [1_000, 2_000, 3_000, 4_000, 6_000, 10_000] {
        let gate = ProcessGate::new();
        let first = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
        gate.wait_begun();
        let bytes = |n: u8| vec![n; len];
        let calls: Vec<_> =
            (0..64).map(|n| pool.submit(|bytes: Vec<u8>| bytes, bytes(n)).unwrap()).collect();
        gate.open();
        first.into_result().unwrap();
        for (n, call) in calls.into_iter().enumerate() {
            assert!(call.into_result().unwrap() == bytes(n as u8), "{len} {n}");
        }
    }
    assert_eq!((pool.stats().died, pool.stats().started), (0, 1));
}
