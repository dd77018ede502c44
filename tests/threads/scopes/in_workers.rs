//! Scopes inside of workers, and in full queues.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{
    Discipline, FullQueue, ReturnWhen, ThreadPoolExecutor, as_completed, wait,
};

use crate::support::{Counter, Pool, in_only_worker, message, shared_pool, timely};

#[test]
fn a_scope_in_the_only_worker_runs_its_calls_in_place_by_every_wait() {
    in_only_worker(|pool| {
        let here = thread::current().id();
        let text = String::from("four");
        pool.scope(|s| {
            let spawn = || s.spawn(|| (thread::current().id(), text.len())).unwrap();
            assert_eq!(*spawn().result().unwrap(), (here, 4));
            assert_eq!(spawn().into_result().unwrap(), (here, 4));
            assert!(spawn().exception().unwrap().is_none());
            let two = [spawn(), spawn()];
            assert_eq!(wait(&two, None, ReturnWhen::AllCompleted).done.len(), 2);
            assert_eq!(as_completed([spawn(), spawn()]).filter(|call| call.done()).count(), 2);
            drop(spawn());
        });
    });
}

fn nest(pool: &Pool, depth: usize, sum: &AtomicUsize) {
    if depth == 0 {
        panic!("the innermost");
    }
    let drops = Counter::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|s| {
            let token = drops.one();
            s.spawn(|| {
                let _held = token;
                nest(pool, depth - 1, sum);
            })
            .unwrap();
            s.spawn(|| sum.fetch_add(1, Ordering::SeqCst)).unwrap();
            if depth % 2 == 0 {
                let _ = s.spawn(|| ()).unwrap().result();
                panic!("body {depth}");
            }
        });
    }));
    assert_eq!(drops.dropped(), 1);
    std::panic::resume_unwind(panic.unwrap_err());
}

#[test]
fn nested_scopes_with_a_panic_in_each_body_or_call() {
    for workers in [1, 2, 3] {
        timely(move || {
            let pool = shared_pool(workers);
            let inner = Arc::clone(&pool);
            let call = pool.spawn(move || {
                let sum = AtomicUsize::new(0);
                let panic = catch_unwind(AssertUnwindSafe(|| nest(&inner, 5, &sum)));
                (message(panic.unwrap_err()), sum.into_inner())
            });
            let (text, sum) = call.unwrap().into_result().unwrap();
            // Pending calls of a body that panics are cancelled; those of the others run.
            assert!(text == "the innermost" || text.starts_with("body "), "{text}");
            assert!((1..=5).contains(&sum), "{sum}");
            assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        });
    }
}

fn deep(pool: &Pool, depth: usize) -> usize {
    let Some(rest) = depth.checked_sub(1) else { return 0 };
    pool.scope(|s| s.spawn(|| deep(pool, rest) + 1).unwrap().into_result().unwrap())
}

#[test]
fn a_deep_nest_of_scopes_in_one_worker_does_not_overflow_the_stack() {
    let depth = if cfg!(all(feature = "deep-stacks", not(miri))) { 10_000 } else { 10 };
    assert_eq!(in_only_worker(move |pool| deep(pool, depth)), depth);
}

#[test]
fn calls_of_a_scope_in_another_pools_worker_are_waited_for() {
    timely(|| {
        let (left, right) = (shared_pool(1), shared_pool(1));
        let other = Arc::clone(&right);
        let call = left.spawn(move || {
            let sum = AtomicUsize::new(0);
            other.scope(|s| {
                for n in 0..100 {
                    let sum = &sum;
                    s.spawn(move || sum.fetch_add(n, Ordering::SeqCst)).unwrap();
                }
            });
            sum.into_inner()
        });
        assert_eq!(call.unwrap().into_result().unwrap(), 4950);
    });
}

#[test]
fn a_scope_in_every_mode_of_a_full_queue() {
    let modes = [
        FullQueue::Block,
        FullQueue::BlockFor(Duration::from_secs(3600)),
        FullQueue::Refuse,
        FullQueue::RunInCaller,
    ];
    for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
        for mode in modes {
            for in_worker in [false, true] {
                timely(move || {
                    let builder = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(1);
                    let builder = builder.when_full(mode).discipline(discipline);
                    let pool = Arc::new(builder.propagate(|| 7, |_, run| run()).build().unwrap());
                    let inner = Arc::clone(&pool);
                    let body = move || {
                        let (drops, ran) = (Counter::new(), AtomicUsize::new(0));
                        let refused = inner.scope(|s| {
                            let spawned = (0..50).map(|_| {
                                let (token, ran) = (drops.one(), &ran);
                                s.spawn(move || {
                                    ran.fetch_add(1, Ordering::SeqCst);
                                    drop(token);
                                })
                            });
                            let is_full =
                                |call: &Result<_, _>| matches!(call, Err(Error::QueueFull));
                            spawned.filter(is_full).count()
                        });
                        assert_eq!(drops.dropped(), 50);
                        (ran.into_inner(), refused)
                    };
                    let (ran, refused) = if in_worker {
                        pool.spawn(body).unwrap().into_result().unwrap()
                    } else {
                        body()
                    };
                    assert_eq!(ran + refused, 50);
                    assert!(refused == 0 || mode == FullQueue::Refuse, "{mode:?}");
                    pool.shutdown();
                });
            }
        }
    }
}

#[test]
fn a_scope_on_a_pool_that_was_shut_down_refuses_its_calls() {
    let drops = Counter::new();
    let pool = shared_pool(1);
    pool.shutdown();
    let token = drops.one();
    let refused = pool.scope(|s| s.spawn(move || drop(token)).map(drop));
    assert!(matches!(refused, Err(Error::Shutdown)));
    assert_eq!(drops.dropped(), 1);
    // In a worker of the pool, which is still there.
    in_only_worker(|pool| {
        pool.shutdown();
        assert!(matches!(pool.scope(|s| s.spawn(|| ()).map(drop)), Err(Error::Shutdown)));
    });
}

#[test]
fn a_scope_whose_pool_is_shut_down_by_its_own_call() {
    timely(|| {
        for workers in [1, 3] {
            let pool = shared_pool(workers);
            let ran = AtomicUsize::new(0);
            pool.scope(|s| {
                s.spawn(|| pool.shutdown()).unwrap();
                while s.spawn(|| ran.fetch_add(1, Ordering::SeqCst)).is_ok() {
                    thread::yield_now();
                }
            });
        }
    });
}

#[test]
fn a_running_call_of_a_scope_can_be_asked_to_stop() {
    timely(|| {
        let pool = shared_pool(1);
        pool.scope(|s| {
            let (started, starts) = channel();
            let call = s.spawn(move || {
                started.send(()).unwrap();
                while !concurrent::futures::is_cancel_requested() {
                    thread::yield_now();
                }
                1
            });
            starts.recv().unwrap();
            let call = call.unwrap();
            assert!(call.request_cancel());
            assert_eq!(call.into_result().unwrap(), 1);
        });
    });
}

#[test]
fn a_result_whose_drop_panics_is_contained() {
    struct PanicsOnDrop<'a>(&'a AtomicUsize);
    impl Drop for PanicsOnDrop<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("the drop of a test");
        }
    }
    for in_worker in [false, true] {
        timely(move || {
            let pool = shared_pool(1);
            let inner = Arc::clone(&pool);
            let body = move || {
                let dropped = AtomicUsize::new(0);
                // The drop of an untaken result, of a cancelled call's capture, of a captured value.
                let panic = catch_unwind(AssertUnwindSafe(|| {
                    inner.scope(|s| {
                        drop(s.spawn(|| PanicsOnDrop(&dropped)).unwrap());
                        let captured = PanicsOnDrop(&dropped);
                        let call = s.spawn(move || drop(captured)).unwrap();
                        call.cancel();
                    });
                }));
                drop(panic); // the call that dropped its capture, or result, failed with that panic
                dropped.into_inner()
            };
            let dropped =
                if in_worker { pool.spawn(body).unwrap().into_result().unwrap() } else { body() };
            assert_eq!(dropped, 2);
            assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        });
    }
}
