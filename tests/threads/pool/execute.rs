//! `execute`: calls without a future.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use concurrent::Error;
use concurrent::futures::{
    CancelToken, Discipline, FullQueue, Future, ShutdownOptions, is_cancel_requested,
};

use crate::support::{Busy, bounded, builder, timely, until};

/// Tells when it is dropped, and where.
struct Captured(Sender<thread::ThreadId>);

impl Drop for Captured {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn they_start_in_turn_with_other_calls() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        let busy = Busy::on(&pool);
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..100 {
            let order = Arc::clone(&order);
            let note = move || order.lock().unwrap().push(n);
            if n % 3 == 0 {
                drop(pool.spawn(note).unwrap());
            } else {
                pool.execute(note).unwrap();
            }
        }
        busy.finish();
        pool.shutdown();
        assert!(order.lock().unwrap().iter().copied().eq(0..100));
        assert_eq!(pool.stats().finished, 101);
    });
}

#[test]
fn a_drop_of_the_pool_waits_for_them() {
    timely(|| {
        let pool = builder(3).build().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..1_000 {
            let ran = Arc::clone(&ran);
            pool.execute(move || {
                ran.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
        }
        drop(pool);
        assert_eq!(Arc::into_inner(ran).map(AtomicUsize::into_inner), Some(1_000));
    });
}

#[test]
fn a_panic_is_counted_and_the_worker_goes_on() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        pool.execute(|| panic!("of nobody's")).unwrap();
        assert_eq!(pool.spawn(|| 5).unwrap().into_result().unwrap(), 5);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.finished, stats.workers), (1, 1, 1));
    });
}

#[test]
fn a_shutdown_cancels_them_in_its_thread() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        let busy = Busy::on(&pool);
        let (drops, dropped) = channel();
        for _ in 0..3 {
            let captured = Captured(drops.clone());
            pool.execute(move || drop(captured)).unwrap();
        }
        let bomb = PanicsOnDrop;
        pool.execute(move || drop(bomb)).unwrap();
        let report = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
        assert_eq!((report.cancelled, report.running), (4, 1));
        drop(drops);
        assert_eq!(dropped.into_iter().collect::<Vec<_>>(), [thread::current().id(); 3]);
        busy.finish();
        pool.shutdown();
        assert_eq!((pool.stats().cancelled, pool.stats().finished), (4, 1));
    });
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("as it is dropped");
    }
}

#[test]
fn a_shutdown_asks_them_to_stop() {
    timely(|| {
        let pool = builder(2).build().unwrap();
        let (asks, asked) = channel();
        let by_token = asks.clone();
        let (ready, is_ready) = channel();
        let token_ready = ready.clone();
        pool.execute(move || {
            assert!(!is_cancel_requested());
            ready.send(()).unwrap();
            until(is_cancel_requested);
            asks.send("asked").unwrap();
        })
        .unwrap();
        pool.execute(move || {
            let token = CancelToken::current().unwrap();
            token_ready.send(()).unwrap();
            until(|| token.is_cancel_requested());
            by_token.send("asked").unwrap();
        })
        .unwrap();
        assert_eq!(is_ready.iter().take(2).count(), 2);
        pool.shutdown_with(ShutdownOptions::new().request_cancel(true));
        assert_eq!(asked.into_iter().collect::<Vec<_>>(), ["asked"; 2]);
    });
}

#[test]
fn refused_ones_are_dropped_in_the_submitter() {
    timely(|| {
        let refuses = bounded(1).when_full(FullQueue::Refuse).build().unwrap();
        let busy = Busy::on(&refuses);
        refuses.execute(|| ()).unwrap();
        let down = builder(1).build().unwrap();
        down.shutdown();
        let (drops, dropped) = channel();
        let captured = || Captured(drops.clone());
        let (one, other) = (captured(), captured());
        assert!(matches!(refuses.execute(move || drop(one)), Err(Error::QueueFull)));
        assert!(matches!(down.execute(move || drop(other)), Err(Error::Shutdown)));
        assert_eq!([dropped.recv(), dropped.recv()], [Ok(thread::current().id()); 2]);
        busy.finish();
        refuses.shutdown();
        assert_eq!(refuses.stats().finished, 2);
    });
}

#[test]
fn a_full_queue_runs_them_in_the_submitter_or_blocks_it() {
    timely(|| {
        for full in [FullQueue::RunInCaller, FullQueue::Block] {
            let pool = Arc::new(bounded(1).when_full(full).build().unwrap());
            let busy = Busy::on(&pool);
            pool.execute(|| ()).unwrap();
            let (ids, id) = channel();
            let submitter = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    pool.execute(move || ids.send(thread::current().id()).unwrap()).unwrap();
                    thread::current().id()
                })
            };
            if full == FullQueue::RunInCaller {
                let submitter = submitter.join().unwrap();
                assert_eq!(id.recv(), Ok(submitter));
                busy.finish();
            } else {
                busy.finish();
                assert_ne!(id.recv(), Ok(submitter.join().unwrap()));
            }
            pool.shutdown();
            assert_eq!(pool.stats().finished, 3);
        }
    });
}

#[test]
fn a_broken_pool_gives_them_up() {
    timely(|| {
        let (fail, failing) = channel::<()>();
        let failing = Mutex::new(failing);
        let pool = builder(1).initializer(move || {
            let _ = failing.lock().unwrap().recv();
            Err::<(), _>("no")
        });
        let pool = pool.build().unwrap();
        let (drops, dropped) = channel();
        let captured = Captured(drops);
        pool.execute(move || drop(captured)).unwrap();
        drop(fail);
        assert!(dropped.recv().is_ok());
        until(|| pool.stats().workers == 0);
        assert_eq!(pool.stats().failed, 1);
        assert!(matches!(pool.execute(|| ()), Err(Error::BrokenThreadPool(_))));
    });
}

#[test]
fn they_may_wait_for_calls_of_their_pool() {
    timely(|| {
        let pool = Arc::new(builder(1).build().unwrap());
        let own = Arc::clone(&pool);
        let (results, result) = channel();
        let wait = move || {
            let inner = own.spawn(|| 7).unwrap();
            results.send(inner.into_result().unwrap()).unwrap();
        };
        pool.execute(wait).unwrap();
        assert_eq!(result.recv(), Ok(7));
    });
}

#[test]
fn a_circle_through_one_is_a_deadlock() {
    timely(|| {
        let (pool, other) = (builder(1).build().unwrap(), builder(1).build().unwrap());
        let (places, place) = channel::<Future<Result<(), Error>>>();
        let (results, result) = channel();
        pool.execute(move || {
            let circle = place.recv().unwrap();
            results.send(circle.into_result()).unwrap();
        })
        .unwrap();
        // It waits for a call that is queued behind the one above, which waits for it.
        let behind = pool.spawn(|| ()).unwrap();
        places.send(other.spawn(move || behind.into_result()).unwrap()).unwrap();
        // Either wait may be the one that closes the circle.
        let result = result.recv().unwrap();
        let refused = result.and_then(|behind| behind).unwrap_err();
        assert!(matches!(refused, Error::Deadlock(_)), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("a_circle_through_one_is_a_deadlock"), "{text}");
    });
}

#[test]
fn context_priority_and_order_hold_for_them() {
    thread_local!(static CONTEXT: Cell<u32> = const { Cell::new(0) });
    timely(|| {
        let enter = |context, run: &mut dyn FnMut()| {
            CONTEXT.set(context);
            run();
            CONTEXT.set(0);
        };
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            let pool = builder(1).discipline(discipline).propagate(|| CONTEXT.get(), enter);
            let pool = pool.build().unwrap();
            let busy = Busy::on(&pool);
            let (seen, order) = channel();
            for n in 1..=3 {
                CONTEXT.set(n);
                let seen = seen.clone();
                pool.execute(move || seen.send(CONTEXT.get()).unwrap()).unwrap();
            }
            drop(seen);
            busy.finish();
            let order: Vec<_> = order.into_iter().collect();
            let expected = if discipline == Discipline::Lifo { [3, 2, 1] } else { [1, 2, 3] };
            assert_eq!(order, expected);
        }
    });
}
