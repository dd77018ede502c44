//! User code that takes its time, or waits for its own pool, holds up nobody else.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use concurrent::Result;
use concurrent::futures::{Future, MapOptions, ProcessPoolExecutor, ShutdownOptions};
use serde::{Deserialize, Deserializer, Serialize};

use crate::support::{ProcessGate, census, eventually, in_own_process, replacing, trials};

trials![
    a_callback_waits_for_another_call_of_its_pool,
    a_callback_waits_for_an_answer_that_came_with_its_own,
    callbacks_wait_in_callbacks,
    a_callback_that_does_not_return_holds_up_no_other_call,
    a_result_waits_for_its_pool_while_it_is_decoded,
    a_result_that_nobody_took_waits_for_its_pool_as_it_is_dropped,
    what_follows_a_call_waits_for_its_pool,
    the_callback_of_a_call_that_died_waits_for_its_pool,
    the_callback_of_a_killed_call_waits_for_its_pool,
    a_map_in_a_callback,
    a_shutdown_waits_for_callbacks_and_no_longer_than_it_may,
    a_shutdown_in_a_callback_waits_for_no_thread_of_the_pool,
    threads_that_stood_in_are_gone_with_the_pool,
];

/// How long to wait for what must come.
const LONG: Duration = Duration::from_secs(30);

fn double(n: u64) -> u64 {
    n * 2
}

fn pool(workers: usize) -> Arc<ProcessPoolExecutor> {
    Arc::new(replacing(workers))
}

/// A call that waits at the gate, so that callbacks can be added before it ends.
fn held(pool: &ProcessPoolExecutor) -> (ProcessGate, Future<()>) {
    let gate = ProcessGate::new();
    let call = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
    (gate, call)
}

fn ask(pool: &ProcessPoolExecutor, n: u64) -> Result<u64> {
    pool.submit(double, n)?.into_result()
}

fn a_callback_waits_for_another_call_of_its_pool() {
    for workers in [1, 2] {
        let pool = pool(workers);
        let (gate, call) = held(&pool);
        let (own, (tell, told)) = (Arc::clone(&pool), mpsc::channel());
        call.add_done_callback(move |_| tell.send(ask(&own, 1)).unwrap());
        gate.open();
        assert_eq!(told.recv_timeout(LONG).unwrap().unwrap(), 2);
        assert_eq!(ask(&pool, 4).unwrap(), 8);
    }
}

fn a_callback_waits_for_an_answer_that_came_with_its_own() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).prefetch(32);
    let pool = Arc::new(builder.build().unwrap());
    for _ in 0..20 {
        let (gate, first) = held(&pool);
        let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
        let (tell, told) = mpsc::channel();
        let calls = Mutex::new(Some(calls));
        first.add_done_callback(move |_| {
            let calls = calls.lock().unwrap().take().unwrap();
            let results = calls.into_iter().rev().map(Future::into_result);
            tell.send(results.collect::<Result<Vec<_>>>()).unwrap();
        });
        gate.open();
        let results = told.recv_timeout(LONG).unwrap().unwrap();
        assert!(results.into_iter().eq((0..20).rev().map(double)));
    }
}

fn nest(pool: &Arc<ProcessPoolExecutor>, depth: u64, tell: Sender<u64>) {
    let (gate, call) = held(pool);
    let (gate, own) = (Arc::new(gate), Arc::clone(pool));
    let kept = Arc::clone(&gate);
    let (inner, innermost) = mpsc::channel();
    call.add_done_callback(move |_| {
        let _kept = kept;
        let sum = if depth > 0 {
            nest(&own, depth - 1, inner);
            innermost.recv_timeout(LONG).unwrap()
        } else {
            0
        };
        tell.send(sum + ask(&own, depth).unwrap()).unwrap();
    });
    gate.open();
}

fn callbacks_wait_in_callbacks() {
    let pool = pool(1);
    let (tell, told) = mpsc::channel();
    nest(&pool, 12, tell);
    assert_eq!(told.recv_timeout(LONG).unwrap(), (0..=12).map(double).sum::<u64>());
    assert_eq!(ask(&pool, 4).unwrap(), 8);
}

fn a_callback_that_does_not_return_holds_up_no_other_call() {
    let pool = pool(1);
    let (end, ends): (Sender<()>, Receiver<()>) = mpsc::channel();
    let (gate, call) = held(&pool);
    let ends = Mutex::new(ends);
    call.add_done_callback(move |_| {
        let _ = ends.lock().unwrap().recv();
    });
    gate.open();
    call.result().unwrap();
    for n in 0..200 {
        assert_eq!(ask(&pool, n).unwrap(), n * 2);
    }
    assert_eq!(pool.stats().started, 1);
    // One that ends, and one that dies, while the callback still runs.
    assert!(pool.submit(|()| -> () { std::process::abort() }, ()).unwrap().into_result().is_err());
    assert_eq!(ask(&pool, 4).unwrap(), 8);
    drop(end);
    call.into_result().unwrap();
    pool.shutdown();
}

static POOL: Mutex<Option<Arc<ProcessPoolExecutor>>> = Mutex::new(None);

fn known() -> Option<Arc<ProcessPoolExecutor>> {
    POOL.lock().unwrap().clone()
}

/// Asks the pool, if there is one that it knows, when it is decoded.
#[derive(Serialize)]
struct Asks(u64);

impl<'de> Deserialize<'de> for Asks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u64::deserialize(deserializer)?;
        Ok(Self(known().map_or(n, |pool| ask(&pool, n).unwrap())))
    }
}

/// The same when it is dropped; and sends what it is told.
#[derive(Serialize, Deserialize)]
struct AsksAtTheEnd(u64);

static TOLD: Mutex<Option<Sender<u64>>> = Mutex::new(None);

impl Drop for AsksAtTheEnd {
    fn drop(&mut self) {
        let Some(pool) = known() else { return };
        let answer = ask(&pool, self.0).unwrap();
        TOLD.lock().unwrap().as_ref().unwrap().send(answer).unwrap();
    }
}

/// One test after the other: what results know is known to the whole process.
fn with_known<R>(workers: usize, test: impl FnOnce(&Arc<ProcessPoolExecutor>) -> R) -> R {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let pool = pool(workers);
    *POOL.lock().unwrap() = Some(Arc::clone(&pool));
    let result = test(&pool);
    *POOL.lock().unwrap() = None;
    result
}

fn a_result_waits_for_its_pool_while_it_is_decoded() {
    for workers in [1, 2] {
        with_known(workers, |pool| {
            // By a thread that waits for it, and by the pool.
            for n in 0..30 {
                let result = pool.submit(Asks, n).unwrap().result_timeout(LONG).map(|asks| asks.0);
                assert_eq!(result.unwrap(), n * 2);
            }
            let (tell, told) = mpsc::channel();
            let (gate, _first) = held(pool);
            for n in 0..30 {
                let tell = tell.clone();
                pool.submit(Asks, n).unwrap().add_done_callback(move |call| {
                    tell.send((n, call.result().unwrap().0)).unwrap();
                });
            }
            gate.open();
            let mut all: Vec<_> = (0..30).map(|_| told.recv_timeout(LONG).unwrap()).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq((0..30).map(|n| (n, n * 2))));
        });
    }
}

fn a_result_that_nobody_took_waits_for_its_pool_as_it_is_dropped() {
    with_known(1, |pool| {
        let (tell, told) = mpsc::channel();
        *TOLD.lock().unwrap() = Some(tell);
        for n in 0..10 {
            drop(pool.submit(AsksAtTheEnd, n).unwrap());
        }
        let mut all: Vec<_> = (0..10).map(|_| told.recv_timeout(LONG).unwrap()).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq((0..10).map(double)));
        *TOLD.lock().unwrap() = None;
    });
}

fn what_follows_a_call_waits_for_its_pool() {
    let pool = pool(1);
    let (gate, call) = held(&pool);
    let [first, second] = [Arc::clone(&pool), Arc::clone(&pool)];
    let chain = call.map(move |()| ask(&first, 1).unwrap());
    let chain = chain.and_then(move |n| second.submit(double, ask(&second, n)?));
    gate.open();
    assert_eq!(*chain.result_timeout(LONG).unwrap(), 8);
}

fn the_callback_of_a_call_that_died_waits_for_its_pool() {
    let pool = pool(1);
    let gate = ProcessGate::new();
    let die = |gate: String| -> () {
        ProcessGate::pass(&gate);
        std::process::abort()
    };
    let call = pool.submit(die, gate.name()).unwrap();
    let (own, (tell, told)) = (Arc::clone(&pool), mpsc::channel());
    call.add_done_callback(move |_| tell.send(ask(&own, 1)).unwrap());
    gate.open();
    assert_eq!(told.recv_timeout(LONG).unwrap().unwrap(), 2);
    assert!(call.into_result().unwrap_err().worker_death().is_some());
}

fn the_callback_of_a_killed_call_waits_for_its_pool() {
    let pool = pool(1);
    let (gate, call) = held(&pool);
    gate.wait_begun();
    let (own, (tell, told)) = (Arc::clone(&pool), mpsc::channel());
    call.add_done_callback(move |_| tell.send(ask(&own, 1)).unwrap());
    assert!(call.kill());
    assert_eq!(told.recv_timeout(LONG).unwrap().unwrap(), 2);
}

fn a_map_in_a_callback() {
    let pool = pool(1);
    let (gate, call) = held(&pool);
    let (own, (tell, told)) = (Arc::clone(&pool), mpsc::channel());
    call.add_done_callback(move |_| {
        let options = MapOptions::new().chunk_size(3);
        let results = own.map_with(options, double, 0..100).unwrap();
        tell.send(results.sum::<Result<u64>>()).unwrap();
    });
    gate.open();
    assert_eq!(told.recv_timeout(LONG).unwrap().unwrap(), 9900);
}

fn a_shutdown_waits_for_callbacks_and_no_longer_than_it_may() {
    let pool = pool(1);
    let (end, ends): (Sender<()>, Receiver<()>) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let (gate, call) = held(&pool);
    let ends = Mutex::new(ends);
    let done = Arc::new(Mutex::new(false));
    let noted = Arc::clone(&done);
    call.add_done_callback(move |_| {
        begun.send(()).unwrap();
        let _ = ends.lock().unwrap().recv();
        *noted.lock().unwrap() = true;
    });
    gate.open();
    begins.recv_timeout(LONG).unwrap();
    // All its processes end meanwhile, but not in time all its threads.
    pool.shutdown_with(ShutdownOptions::new().timeout(Duration::from_millis(200)));
    eventually("the end of the worker", || pool.stats().workers == 0);
    assert!(!*done.lock().unwrap());
    drop(end);
    pool.shutdown();
    assert!(*done.lock().unwrap());
}

// The callbacks before it are stuck, so that a thread that has just been started runs it.
fn a_shutdown_in_a_callback_waits_for_no_thread_of_the_pool() {
    for _ in 0..10 {
        let builder = ProcessPoolExecutor::builder().max_workers(1).prefetch(32);
        let pool = Arc::new(builder.build().unwrap());
        let (gate, first) = held(&pool);
        let (end, ends): (Sender<()>, Receiver<()>) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let ends = Arc::new(Mutex::new(ends));
        let stuck = |call: &Future<()>| {
            let ends = Arc::clone(&ends);
            call.add_done_callback(move |_| _ = ends.lock().unwrap().recv());
        };
        stuck(&first);
        // Their answers come together.
        let calls: Vec<_> = (0..3).map(|_| pool.submit(|()| (), ()).unwrap()).collect();
        calls[..2].iter().for_each(stuck);
        let own = Arc::clone(&pool);
        calls[2].add_done_callback(move |_| {
            own.shutdown();
            drop(end);
            tell.send(()).unwrap();
        });
        gate.open();
        assert_eq!(told.recv_timeout(LONG), Ok(()), "the shutdown waits for its own thread");
        pool.shutdown();
    }
}

fn threads_that_stood_in_are_gone_with_the_pool() {
    in_own_process(&["stand-ins"]);
}

pub(crate) fn act() {
    let before = census();
    let pool = pool(2);
    let (end, ends): (Sender<()>, Receiver<()>) = mpsc::channel();
    let ends = Arc::new(Mutex::new(ends));
    for _ in 0..8 {
        let (gate, call) = held(&pool);
        let (ends, (tell, told)) = (Arc::clone(&ends), mpsc::channel());
        call.add_done_callback(move |_| {
            tell.send(()).unwrap();
            let _ = ends.lock().unwrap().recv();
        });
        gate.open();
        told.recv_timeout(LONG).unwrap();
        assert_eq!(ask(&pool, 4).unwrap(), 8);
    }
    let many = census().threads;
    drop(end);
    // Two for each worker are enough afterwards, and one that looks after them.
    eventually("the end of most", || census().threads <= before.threads + 5);
    assert!(many >= before.threads + 8, "{many}");
    assert_eq!(ask(&pool, 4).unwrap(), 8);
    drop(pool);
    eventually("the end of all", || census() == before);
}
