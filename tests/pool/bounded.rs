//! The bounded queue: who blocks, in which order they are let in, who releases them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Executor, FullQueue, MapOptions, ShutdownOptions, ThreadPoolExecutor};

use crate::support::{Gate, blocked, bounded, builder, until, watched};

/// Whether `pool` holds `calls` calls that wait, queued or with a blocked submitter.
fn holds(pool: &ThreadPoolExecutor, calls: usize) -> bool {
    format!("{pool:?}").contains(&format!("pending: {calls},"))
}

/// Starts a thread that submits a call, and returns when it is blocked or about to be.
fn submitter(
    pool: &Arc<ThreadPoolExecutor>,
    call: impl FnOnce() -> usize + Send + 'static,
) -> thread::JoinHandle<concurrent::Result<usize>> {
    let pool = Arc::clone(pool);
    let (begin, begun) = mpsc::channel();
    let thread = thread::spawn(move || {
        begin.send(()).unwrap();
        pool.spawn(call)?.into_result()
    });
    begun.recv().unwrap();
    thread
}

#[test]
fn a_submitter_blocks_until_a_worker_makes_room() {
    watched(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let gate = Gate::close(&pool);
        let first = pool.spawn(|| 1).unwrap();
        let blocked = submitter(&pool, || 2);
        assert!(pool.try_spawn(|| 3).is_err());
        gate.open();
        assert_eq!(first.into_result().unwrap(), 1);
        assert_eq!(blocked.join().unwrap().unwrap(), 2);
        assert!(holds(&pool, 0));
    });
}

#[test]
fn at_no_time_do_more_calls_wait_than_the_capacity() {
    watched(|| {
        const CAPACITY: usize = 3;
        let pool = Arc::new(builder(2).queue_capacity(CAPACITY).build().unwrap());
        pool.prestart().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    for _ in 0..500 {
                        drop(pool.spawn(|| ()).unwrap());
                        let stats = pool.stats();
                        // Idle workers are about to take one each.
                        assert!(stats.queued <= CAPACITY + stats.idle, "{stats:?}");
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        pool.shutdown();
        assert_eq!(pool.stats().finished, 2000);
    });
}

#[test]
fn calls_that_idle_workers_are_about_to_take_need_no_room() {
    watched(|| {
        for prestarted in [true, false] {
            for _ in 0..50 {
                let pool = builder(4).queue_capacity(2).build().unwrap();
                if prestarted {
                    pool.prestart().unwrap();
                }
                let (open, gate) = mpsc::channel::<()>();
                let gate = Arc::new(Mutex::new(gate));
                let accepted = (0..20)
                    .filter(|_| {
                        let gate = Arc::clone(&gate);
                        pool.try_spawn(move || gate.lock().unwrap().recv().is_ok()).is_ok()
                    })
                    .count();
                assert_eq!(accepted, 6, "four run, or are about to, and two wait");
                drop(open);
            }
        }
    });
}

#[test]
fn run_in_caller_leaves_a_call_to_an_idle_worker() {
    watched(|| {
        for _ in 0..50 {
            let pool = builder(4).queue_capacity(1).when_full(FullQueue::RunInCaller);
            let pool = pool.build().unwrap();
            pool.prestart().unwrap();
            let me = thread::current().id();
            let (open, gate) = mpsc::channel::<()>();
            let gate = Arc::new(Mutex::new(gate));
            let calls: Vec<_> = (0..5)
                .map(|_| {
                    let gate = Arc::clone(&gate);
                    let call = move || {
                        let id = thread::current().id();
                        if id != me {
                            let _ = gate.lock().unwrap().recv();
                        }
                        id
                    };
                    pool.spawn(call).unwrap()
                })
                .collect();
            let here = pool.spawn(|| thread::current().id()).unwrap();
            assert_eq!(here.into_result().unwrap(), me, "now all are taken, and one waits");
            drop(open);
            assert!(calls.into_iter().all(|call| call.into_result().unwrap() != me));
        }
    });
}

#[test]
fn a_refused_call_has_no_place_while_it_is_dropped() {
    /// Looks whether there is room while the call that captured it is dropped.
    struct Looks(Arc<ThreadPoolExecutor>, Box<dyn Fn() + Send>, mpsc::Sender<bool>);
    impl Drop for Looks {
        fn drop(&mut self) {
            (self.1)();
            let _ = self.2.send(self.0.try_spawn(|| ()).is_ok());
        }
    }
    watched(|| {
        let pool = Arc::new(bounded(2).when_full(FullQueue::Refuse).build().unwrap());
        let gate = Mutex::new(Some(Gate::close(&pool)));
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let _waits = pool.spawn(move || (begin.send(()), ended.recv())).unwrap();
        let _waits_too = pool.spawn(|| ()).unwrap();
        // Of two that wait one begins.
        let makes_room = move || {
            let gate = gate.lock().unwrap().take();
            if let Some(gate) = gate {
                gate.open();
            }
        };
        let begun = Mutex::new(begun);
        let makes_room = move || {
            makes_room();
            begun.lock().unwrap().recv().unwrap();
        };
        let (tell, told) = mpsc::channel();
        let looks = Looks(Arc::clone(&pool), Box::new(makes_room), tell);
        assert!(matches!(pool.spawn(move || drop(looks)), Err(Error::QueueFull)));
        assert!(told.recv().unwrap());
        drop(end);
    });
}

#[test]
fn a_submitter_that_gives_up_lets_nobody_in_and_is_in_nobodys_way() {
    watched(|| {
        let full = FullQueue::BlockFor(Duration::from_millis(20));
        let pool = Arc::new(bounded(1).when_full(full).build().unwrap());
        let gate = Gate::close(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let gives_up = submitter(&pool, || 2);
        until(|| blocked(&pool) == 1);
        // A map waits for room whatever the pool says.
        let own = Arc::clone(&pool);
        let patient = thread::spawn(move || own.map(|n| n, 3..5).map(Result::unwrap).sum::<i32>());
        until(|| blocked(&pool) == 2);
        assert!(matches!(gives_up.join().unwrap(), Err(Error::QueueFull)));
        assert_eq!((blocked(&pool), pool.stats().queued), (1, 1));
        gate.open();
        assert_eq!(waits.into_result().unwrap() + patient.join().unwrap(), 8);
    });
}

#[test]
fn blocked_submitters_are_let_in_in_the_order_in_which_they_came() {
    watched(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let order = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate::close(&pool);
        let _fills = pool.spawn(|| ()).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let order = Arc::clone(&order);
                let thread = submitter(&pool, move || {
                    order.lock().unwrap().push(n);
                    n
                });
                until(|| blocked(&pool) == n + 1);
                thread
            })
            .collect();
        gate.open();
        for (n, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap().unwrap(), n);
        }
        assert!(order.lock().unwrap().iter().copied().eq(0..8));
    });
}

#[test]
fn a_shutdown_releases_blocked_submitters_with_its_error() {
    watched(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let gate = Gate::close(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let threads: Vec<_> = (0..3).map(|_| submitter(&pool, || 2)).collect();
        until(|| blocked(&pool) == 3);
        pool.shutdown_with(ShutdownOptions::new().wait(false));
        for thread in threads {
            assert!(matches!(thread.join().unwrap(), Err(Error::Shutdown)));
        }
        gate.open();
        assert_eq!(waits.into_result().unwrap(), 1);
    });
}

#[test]
fn a_pool_that_breaks_releases_blocked_submitters_with_the_cause() {
    watched(|| {
        let (fail, failing) = mpsc::channel::<()>();
        let failing = Mutex::new(failing);
        let pool = bounded(1).initializer(move || {
            let _ = failing.lock().unwrap().recv();
            Err::<(), _>("no licence")
        });
        let pool = Arc::new(pool.build().unwrap());
        // The worker that starts takes one of them.
        let queued = [pool.spawn(|| 1).unwrap(), pool.spawn(|| 1).unwrap()];
        let thread = submitter(&pool, || 2);
        until(|| blocked(&pool) == 1);
        drop(fail);
        let error = thread.join().unwrap().unwrap_err();
        assert!(error.is_broken_executor() && error.to_string().contains("no licence"));
        for queued in queued {
            assert!(queued.into_result().unwrap_err().is_broken_executor());
        }
    });
}

#[test]
fn block_for_gives_up_with_queue_full_and_leaves_no_trace() {
    watched(|| {
        let full = FullQueue::BlockFor(Duration::from_millis(5));
        let pool = bounded(1).when_full(full).build().unwrap();
        let gate = Gate::close(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let captured = Arc::new(());
        let clone = Arc::clone(&captured);
        assert!(matches!(pool.spawn(move || drop(clone)), Err(Error::QueueFull)));
        assert_eq!(Arc::strong_count(&captured), 1);
        assert_eq!(blocked(&pool), 0);
        gate.open();
        assert_eq!(waits.into_result().unwrap(), 1);
        assert_eq!(pool.spawn(|| 3).unwrap().into_result().unwrap(), 3);
    });
}

#[test]
fn block_for_gets_in_if_there_is_room_in_time() {
    watched(|| {
        let full = FullQueue::BlockFor(Duration::MAX);
        let pool = Arc::new(bounded(1).when_full(full).build().unwrap());
        let gate = Gate::close(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let thread = submitter(&pool, || 2);
        until(|| blocked(&pool) == 1);
        gate.open();
        assert_eq!(waits.into_result().unwrap() + thread.join().unwrap().unwrap(), 3);
    });
}

#[test]
fn run_in_caller_runs_the_call_in_the_submitting_thread() {
    watched(|| {
        let pool = bounded(1).when_full(FullQueue::RunInCaller).build().unwrap();
        let gate = Gate::close(&pool);
        let waits = pool.spawn(|| thread::current().id()).unwrap();
        let here = pool.spawn(|| thread::current().id()).unwrap();
        assert!(here.done());
        assert_eq!(here.into_result().unwrap(), thread::current().id());
        let panics = pool.spawn(|| panic!("contained")).unwrap();
        assert!(matches!(panics.into_result(), Err(Error::Panicked(_))));
        gate.open();
        assert_ne!(waits.into_result().unwrap(), thread::current().id());
    });
}

#[test]
fn a_worker_that_submits_to_its_own_full_queue_runs_the_call_in_place() {
    watched(|| {
        for full in [FullQueue::Block, FullQueue::BlockFor(Duration::MAX)] {
            let pool = Arc::new(bounded(1).when_full(full).build().unwrap());
            let own = Arc::clone(&pool);
            let outer = pool.spawn(move || {
                let queued = own.spawn(|| 1).unwrap();
                let in_place = own.spawn(|| thread::current().id()).unwrap();
                assert_eq!(in_place.into_result().unwrap(), thread::current().id());
                queued
            });
            let queued = outer.unwrap().into_result().unwrap();
            assert_eq!(queued.into_result().unwrap(), 1);
        }
    });
}

#[test]
fn workers_that_all_submit_to_their_own_full_queue_come_to_an_end() {
    watched(|| {
        fn tree(pool: &Arc<ThreadPoolExecutor>, depth: u32, leaves: &Arc<AtomicUsize>) {
            if depth == 0 {
                leaves.fetch_add(1, Ordering::Relaxed);
                return;
            }
            for _ in 0..2 {
                let (own, leaves) = (Arc::clone(pool), Arc::clone(leaves));
                drop(pool.spawn(move || tree(&own, depth - 1, &leaves)).unwrap());
            }
        }
        let pool = Arc::new(builder(3).queue_capacity(2).build().unwrap());
        let leaves = Arc::new(AtomicUsize::new(0));
        tree(&pool, 10, &leaves);
        until(|| leaves.load(Ordering::Relaxed) == 1 << 10);
        until(|| Arc::strong_count(&pool) == 1);
    });
}

#[test]
fn a_cancelled_call_gives_its_place_back_at_once() {
    watched(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let gate = Gate::close(&pool);
        let cancelled = pool.spawn(|| 0).unwrap();
        let thread = submitter(&pool, || 1);
        until(|| blocked(&pool) == 1);
        assert!(cancelled.cancel());
        until(|| blocked(&pool) == 0);
        assert!(pool.try_spawn(|| ()).is_err());
        gate.open();
        assert_eq!(thread.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn submitting_and_cancelling_for_ever_does_not_fill_the_queue() {
    watched(|| {
        let pool = bounded(2).when_full(FullQueue::Refuse).build().unwrap();
        let gate = Gate::close(&pool);
        for _ in 0..10_000 {
            assert!(pool.spawn(|| ()).unwrap().cancel());
        }
        gate.open();
    });
}

#[test]
fn map_over_more_items_than_the_queue_holds_yields_them_all() {
    watched(|| {
        let policies = [
            FullQueue::Block,
            FullQueue::BlockFor(Duration::ZERO),
            FullQueue::Refuse,
            FullQueue::RunInCaller,
        ];
        for full in policies {
            let pool = builder(2).queue_capacity(3).when_full(full).build().unwrap();
            let squares: Vec<u32> = pool.map(|n| n * n, 0..200).map(Result::unwrap).collect();
            assert!(squares.into_iter().eq((0..200).map(|n| n * n)));
            let options = MapOptions::new().chunk_size(3).buffer_size(5).unordered(true);
            let sum: u32 = pool.map_with(options, |n| n, 0..200).unwrap().map(Result::unwrap).sum();
            assert_eq!(sum, 19_900);
            let portable = Executor::map(&pool, |n: u32| n, 0..200).map(Result::unwrap);
            assert_eq!(portable.sum::<u32>(), 19_900);
        }
    });
}

#[test]
fn map_in_a_worker_of_the_full_pool_comes_to_an_end() {
    watched(|| {
        let pool = Arc::new(bounded(2).build().unwrap());
        let own = Arc::clone(&pool);
        // With one worker, whoever waits for queued calls would wait for ever: only submit them.
        let outer = pool.spawn(move || drop(own.map(|n| n, 0..100)));
        outer.unwrap().into_result().unwrap();
        until(|| Arc::strong_count(&pool) == 1);
    });
}

#[test]
fn two_producers_through_a_small_queue_lose_nothing() {
    watched(|| {
        let pool = Arc::new(builder(2).queue_capacity(2).build().unwrap());
        let sum = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (pool, sum) = (Arc::clone(&pool), Arc::clone(&sum));
                thread::spawn(move || {
                    for n in 0..2_000 {
                        let sum = Arc::clone(&sum);
                        drop(pool.spawn(move || sum.fetch_add(n, Ordering::Relaxed)).unwrap());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        pool.shutdown();
        assert_eq!(sum.load(Ordering::Relaxed), 2 * 1999 * 1000);
    });
}

#[test]
fn a_shutdown_that_cancels_releases_everybody() {
    watched(|| {
        let pool = Arc::new(bounded(2).build().unwrap());
        let gate = Gate::close(&pool);
        let calls = [pool.spawn(|| 1).unwrap(), pool.spawn(|| 2).unwrap()];
        let thread = submitter(&pool, || 3);
        until(|| blocked(&pool) == 1);
        let options = ShutdownOptions::new().cancel_futures(true).wait(false);
        assert_eq!(pool.shutdown_with(options).cancelled, 2);
        assert!(matches!(thread.join().unwrap(), Err(Error::Shutdown)));
        assert!(calls.iter().all(|call| call.cancelled()));
        gate.open();
    });
}
