//! `ThreadPoolExecutor::scope`: what calls may borrow, give back, and spawn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use concurrent::futures::{Future, ReturnWhen, ThreadPoolExecutor, as_completed, wait};

use crate::support::{pool, timely};

#[test]
fn calls_borrow_and_change_what_is_on_the_stack() {
    timely(|| {
        let pool = pool(2);
        let text = String::from("borrowed");
        let mut count = 0;
        let mut numbers = [3, 1, 2];
        let length = pool.scope(|s| {
            s.spawn(|| numbers.sort()).unwrap();
            s.spawn(|| count += text.len()).unwrap();
            s.spawn(|| text.len()).unwrap().into_result().unwrap()
        });
        assert_eq!((length, count, numbers), (8, 8, [1, 2, 3]));
    });
}

#[test]
fn results_are_typed_borrowed_and_moved_out() {
    timely(|| {
        let pool = pool(2);
        let words = [String::from("one"), String::from("three")];
        let longest: &String = pool.scope(|s| {
            let all = s.spawn(|| words.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(all.result().unwrap().len(), 2);
            assert_eq!(*all.result_timeout(Duration::ZERO).unwrap(), all.result().unwrap().clone());
            assert!(all.done() && !all.cancel() && all.exception().unwrap().is_none());
            all.into_result().unwrap()[1]
        });
        assert_eq!(longest, "three");
    });
}

#[test]
fn the_scope_waits_for_calls_whose_handles_were_dropped() {
    timely(|| {
        let pool = pool(2);
        let ran = AtomicUsize::new(0);
        let barrier = Barrier::new(3);
        pool.scope(|s| {
            for _ in 0..2 {
                drop(s.spawn(|| {
                    barrier.wait();
                    ran.fetch_add(1, Ordering::SeqCst);
                }));
            }
            barrier.wait();
        });
        assert_eq!(ran.into_inner(), 2);
    });
}

#[test]
fn many_calls_of_one_scope() {
    timely(|| {
        let count = if cfg!(miri) { 200 } else { 20_000 };
        let pool = pool(2);
        let sum = AtomicUsize::new(0);
        pool.scope(|s| {
            for n in 0..count {
                let sum = &sum;
                s.spawn(move || sum.fetch_add(n, Ordering::Relaxed)).unwrap();
            }
        });
        assert_eq!(sum.into_inner(), (0..count).sum());
    });
}

#[test]
fn calls_spawn_into_the_scope_they_are_in() {
    timely(|| {
        for workers in [1, 3] {
            let pool = pool(workers);
            let ran = AtomicUsize::new(0);
            pool.scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        let inner = s.spawn(|| ran.fetch_add(1, Ordering::SeqCst)).unwrap();
                        inner.result().unwrap(); // in place, if nobody else can
                        s.spawn(|| ran.fetch_add(1, Ordering::SeqCst)).unwrap();
                    })
                    .unwrap();
                }
            });
            assert_eq!(ran.into_inner(), 6);
        }
    });
}

fn count_leaves(pool: &ThreadPoolExecutor, depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    pool.scope(|s| {
        let left = s.spawn(|| count_leaves(pool, depth - 1)).unwrap();
        let right = s.spawn(|| count_leaves(pool, depth - 1)).unwrap();
        left.into_result().unwrap() + right.into_result().unwrap()
    })
}

#[test]
fn scopes_in_scopes_end_on_a_pool_of_one_worker() {
    timely(|| {
        let depth = if cfg!(miri) { 3 } else { 9 };
        for workers in [1, 2, 4] {
            let pool = pool(workers);
            let top = pool
                .scope(|s| s.spawn(|| count_leaves(&pool, depth)).unwrap().into_result().unwrap());
            assert_eq!(top, 1 << depth);
        }
    });
}

#[test]
fn a_scope_in_a_worker_runs_dropped_calls_in_place() {
    timely(|| {
        let pool = Arc::new(pool(1));
        let inner = Arc::clone(&pool);
        let call = pool.spawn(move || {
            let here = thread::current().id();
            let ran = AtomicUsize::new(0);
            inner.scope(|s| {
                for _ in 0..100 {
                    s.spawn(|| {
                        assert_eq!(thread::current().id(), here);
                        ran.fetch_add(1, Ordering::SeqCst)
                    })
                    .unwrap();
                }
            });
            ran.into_inner()
        });
        assert_eq!(call.unwrap().into_result().unwrap(), 100);
        pool.shutdown();
    });
}

#[test]
fn handles_are_waited_for_like_futures_of_one_type() {
    timely(|| {
        let pool = pool(2);
        let text = String::from("four");
        pool.scope(|s| {
            let number = s.spawn(|| text.len()).unwrap();
            let words = s.spawn(|| text.as_str()).unwrap();
            let futures: [&Future<()>; 2] = [&number, &words];
            assert_eq!(wait(futures, None, ReturnWhen::AllCompleted).done.len(), 2);
            assert_eq!(as_completed(futures).count(), 2);
            let same = [s.spawn(|| &text).unwrap(), s.spawn(|| &text).unwrap()];
            for handle in as_completed(same) {
                assert_eq!(*handle.result().unwrap(), "four");
            }
        });
    });
}

#[test]
fn a_callback_of_a_scoped_call_runs() {
    timely(|| {
        let pool = pool(1);
        let (sender, receiver) = channel();
        pool.scope(|s| {
            let call = s.spawn(|| ()).unwrap();
            call.add_done_callback(move |call| sender.send(call.done()).unwrap());
        });
        assert!(receiver.recv().unwrap());
    });
}

#[test]
fn an_empty_scope_returns_what_its_body_returns() {
    let pool = pool(1);
    assert_eq!(pool.scope(|_| 7), 7);
    assert!(format!("{:?}", pool.scope(|s| format!("{s:?}"))).contains("unfinished: 0"));
}

#[test]
fn scopes_of_several_threads_share_a_pool() {
    timely(|| {
        let pool = pool(2);
        let sums: Vec<usize> = thread::scope(|threads| {
            let scopes: Vec<_> = (0..4)
                .map(|n| {
                    let pool = &pool;
                    threads.spawn(move || {
                        let data = [n; 10];
                        pool.scope(|s| {
                            let halves = data.chunks(5);
                            let halves: Vec<_> = halves
                                .map(|half| s.spawn(|| half.iter().sum::<usize>()).unwrap())
                                .collect();
                            halves.into_iter().map(|half| half.into_result().unwrap()).sum()
                        })
                    })
                })
                .collect();
            scopes.into_iter().map(|scope| scope.join().unwrap()).collect()
        });
        assert_eq!(sums, [0, 10, 20, 30]);
    });
}
