//! `stats`: each call is counted once, and a snapshot is of one moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread;

use concurrent::futures::{
    Discipline, FullQueue, Future, PoolStats, ShutdownOptions, ThreadPoolExecutor,
};

use crate::support::{Busy, OnceSlot, bounded, builder, timely, until};

/// Every call that was accepted.
fn total(stats: &PoolStats) -> usize {
    stats.queued + stats.running + stats.finished + stats.failed + stats.cancelled
}

#[test]
fn a_new_pool_has_nothing() {
    assert_eq!(builder(3).build().unwrap().stats(), PoolStats::default());
}

#[test]
fn each_call_is_counted_where_it_is() {
    timely(|| {
        let pool = builder(2).build().unwrap();
        let gates = [Busy::on(&pool), Busy::on(&pool)];
        let queued = [pool.spawn(|| 1).unwrap(), pool.spawn(|| panic!("counted")).unwrap()];
        let stats = pool.stats();
        assert_eq!((stats.workers, stats.idle, stats.peak_workers), (2, 0, 2));
        assert_eq!((stats.running, stats.queued), (2, 2));
        let cancelled = pool.spawn(|| 3).unwrap();
        assert!(cancelled.cancel());
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.cancelled, total(&stats)), (2, 1, 5));
        gates.into_iter().for_each(Busy::finish);
        let failed = queued.into_iter().filter(|call| call.exception().unwrap().is_some()).count();
        assert_eq!(failed, 1);
        // The other worker may still be about to skip the cancelled one.
        until(|| pool.stats().idle == 2);
        let stats = pool.stats();
        assert_eq!((stats.finished, stats.failed, stats.cancelled), (3, 1, 1));
        assert_eq!((stats.running, stats.queued, stats.idle), (0, 0, 2));
        pool.shutdown();
        let after = pool.stats();
        assert_eq!((after.workers, after.idle, after.peak_workers), (0, 0, 2));
        assert_eq!((after.finished, after.failed, after.cancelled), (3, 1, 1));
    });
}

#[test]
fn whoever_has_seen_a_result_finds_it_counted_and_the_worker_idle() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        for n in 1..=2_000 {
            pool.spawn(|| ()).unwrap().into_result().unwrap();
            let stats = pool.stats();
            assert_eq!((stats.finished, stats.running, stats.idle), (n, 0, 1));
        }
    });
}

#[test]
fn a_worker_that_waits_for_ever_is_blocked() {
    timely(|| {
        let (pool, other) = (builder(2).build().unwrap(), builder(1).build().unwrap());
        let busy = Busy::on(&other);
        let awaited = other.spawn(|| 7).unwrap();
        let waits = pool.spawn(move || awaited.into_result().unwrap()).unwrap();
        until(|| pool.stats().blocked == 1);
        let stats = pool.stats();
        assert_eq!((stats.blocked, stats.running, stats.workers, stats.idle), (1, 1, 1, 0));
        assert_eq!(other.stats().blocked, 0, "its worker is not waiting for a call");
        busy.finish();
        assert_eq!(waits.into_result().unwrap(), 7);
        assert_eq!((pool.stats().blocked, pool.stats().running), (0, 0));
    });
}

#[test]
fn snapshots_under_load_count_each_call_once() {
    timely(|| {
        for builder in [builder(3), builder(3).queue_capacity(4), builder(3).queue_capacity(1)] {
            let pool = Arc::new(builder.build().unwrap());
            let observer = Observer::start(&pool, |stats| {
                stats.running <= 3 && stats.idle + stats.running <= stats.workers
            });
            for n in 0..5_000 {
                let call = pool.spawn(move || assert!(n % 7 > 0)).unwrap();
                if n % 5 == 0 {
                    call.cancel();
                }
                let _ = call.exception();
            }
            pool.shutdown();
            observer.stop();
            let stats = pool.stats();
            assert_eq!((total(&stats), stats.queued, stats.running), (5_000, 0, 0));
        }
    });
}

#[test]
fn snapshots_while_calls_run_in_place_count_each_call_once() {
    /// Each call waits for two others.
    fn grow(pool: &Arc<ThreadPoolExecutor>, depth: u32) {
        let child = || {
            let own = Arc::clone(pool);
            pool.spawn(move || grow(&own, depth - 1)).unwrap()
        };
        if depth > 0 {
            [child(), child()].into_iter().for_each(|child| child.into_result().unwrap());
        }
    }
    timely(|| {
        let pool = Arc::new(builder(3).build().unwrap());
        // A worker runs a branch of the tree, one call within the other.
        let observer = Observer::start(&pool, |stats| {
            stats.running <= 3 * 9 && stats.idle + stats.running.min(1) <= stats.workers
        });
        for _ in 0..20 {
            grow(&pool, 8);
            let own = Arc::clone(&pool);
            pool.spawn(move || grow(&own, 8)).unwrap().into_result().unwrap();
        }
        observer.stop();
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!(stats.finished, 20 * (510 + 511));
        assert_eq!(total(&stats), stats.finished);
    });
}

/// Takes snapshots of a pool until it is told to stop.
struct Observer {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Observer {
    fn start(pool: &Arc<ThreadPoolExecutor>, holds: fn(&PoolStats) -> bool) -> Self {
        let (pool, stop) = (Arc::clone(pool), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut seen = 0;
            while !stopped.load(Ordering::Relaxed) {
                let stats = pool.stats();
                assert!(holds(&stats), "{stats:?}");
                // No less were submitted than before, nothing is lost.
                assert!(total(&stats) >= seen, "{stats:?} after {seen}");
                seen = total(&stats);
                thread::yield_now();
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

#[test]
fn calls_in_their_submitter_are_counted() {
    timely(|| {
        let pool = Arc::new(bounded(1).when_full(FullQueue::RunInCaller).build().unwrap());
        let busy = Busy::on(&pool);
        let waits = pool.spawn(|| ()).unwrap();
        let own = Arc::clone(&pool);
        let here = pool.spawn(move || own.stats()).unwrap().into_result().unwrap();
        assert_eq!((here.running, here.queued, here.finished), (2, 1, 0));
        assert!(pool.spawn(|| panic!("counted")).unwrap().exception().unwrap().is_some());
        let stats = pool.stats();
        assert_eq!((stats.running, stats.queued, stats.finished, stats.failed), (1, 1, 1, 1));
        busy.finish();
        waits.into_result().unwrap();
        assert_eq!(total(&pool.stats()), 4);
    });
}

#[test]
fn a_call_that_a_waiting_worker_runs_in_place_is_counted_once() {
    timely(|| {
        for builder in [builder(1), bounded(8)] {
            let pool = Arc::new(builder.build().unwrap());
            let own = Arc::clone(&pool);
            let outer = pool.spawn(move || {
                let counting = Arc::clone(&own);
                let inner = own.spawn(move || counting.stats()).unwrap();
                let within = inner.into_result().unwrap();
                (within, own.stats())
            });
            let (within, after) = outer.unwrap().into_result().unwrap();
            assert_eq!((within.running, within.queued, within.finished), (2, 0, 0));
            assert_eq!((after.running, after.queued, after.finished), (1, 0, 1));
            pool.spawn(|| ()).unwrap().into_result().unwrap();
            until(|| pool.stats().idle == 1);
            let stats = pool.stats();
            assert_eq!((stats.finished, stats.cancelled, total(&stats)), (3, 0, 3));
            until(|| Arc::strong_count(&pool) == 1);
        }
    });
}

/// What was cancelled behind the call that a worker runs in place leaves the queue with it.
#[test]
fn a_cancelled_call_that_a_waiting_worker_takes_out_is_counted() {
    timely(|| {
        for builder in [builder(1), bounded(8), builder(1).discipline(Discipline::Lifo)] {
            let pool = Arc::new(builder.build().unwrap());
            let own = Arc::clone(&pool);
            let outer = pool.spawn(move || {
                let counting = Arc::clone(&own);
                let inner = own.spawn(move || counting.stats()).unwrap();
                assert!(own.spawn(|| ()).unwrap().cancel());
                (inner.into_result().unwrap(), own.stats())
            });
            let (within, after) = outer.unwrap().into_result().unwrap();
            assert_eq!((within.running, within.queued, within.cancelled), (2, 0, 1));
            assert_eq!((after.finished, after.queued, after.cancelled), (1, 0, 1));
            pool.shutdown();
            assert_eq!((pool.stats().cancelled, total(&pool.stats())), (1, 3));
        }
    });
}

/// A worker that leaves may wait for a call of its pool, where its pool has it do something at its end.
#[test]
fn a_call_that_a_leaving_worker_runs_in_place_is_counted_once() {
    timely(|| {
        let place = OnceSlot::<Weak<ThreadPoolExecutor>>::new();
        let there = place.clone();
        let (note, notes) = mpsc::channel();
        let builder = builder(2).on_worker_stop(move || {
            let Some(own) = there.get().upgrade() else { return };
            let counting = Arc::clone(&own);
            if let Ok(inner) = own.spawn(move || counting.stats()) {
                let within = inner.into_result().unwrap();
                note.send((within, own.stats())).unwrap();
            }
        });
        let pool = Arc::new(builder.build().unwrap());
        place.fill(Arc::downgrade(&pool));
        let (leaves, stays) = (Busy::on(&pool), Busy::on(&pool));
        pool.resize(1).unwrap();
        leaves.finish();
        let (within, after) = notes.recv().unwrap();
        // The worker that stays is busy; the one that leaves does not count any more.
        assert_eq!((within.running, within.queued, within.finished, within.workers), (2, 0, 1, 1));
        assert_eq!((after.running, after.queued, after.finished, after.workers), (1, 0, 2, 1));
        stays.finish();
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!((stats.finished, total(&stats)), (3, 3));
    });
}

#[test]
fn cancelled_and_refused_calls_are_counted_once_or_not_at_all() {
    timely(|| {
        let pool = bounded(2).when_full(FullQueue::Refuse).build().unwrap();
        let busy = Busy::on(&pool);
        for _ in 0..100 {
            assert!(pool.spawn(|| ()).unwrap().cancel());
        }
        let _waits = [pool.spawn(|| ()).unwrap(), pool.spawn(|| ()).unwrap()];
        assert!(pool.spawn(|| ()).is_err());
        let stats = pool.stats();
        assert_eq!((stats.running, stats.queued, stats.cancelled), (1, 2, 100));
        let options = ShutdownOptions::new().cancel_futures(true).wait(false);
        assert_eq!(pool.shutdown_with(options).cancelled, 2);
        busy.finish();
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!((stats.finished, stats.cancelled, total(&stats)), (1, 102, 103));
    });
}

#[test]
fn calls_that_a_broken_pool_gives_up_have_failed() {
    timely(|| {
        let (fail, failing) = mpsc::channel::<()>();
        let failing = std::sync::Mutex::new(failing);
        let pool = builder(1).initializer(move || {
            let _ = failing.lock().unwrap().recv();
            Err::<(), _>("no")
        });
        let pool = pool.build().unwrap();
        let calls = [pool.spawn(|| ()).unwrap(), pool.spawn(|| ()).unwrap()];
        drop(fail);
        assert!(calls.into_iter().all(|call| call.into_result().is_err()));
        until(|| pool.stats().workers == 0);
        assert_eq!((pool.stats().failed, total(&pool.stats())), (2, 2));
    });
}

/// Runs a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

// The captures of a call that is given up may cancel the next one, which counts as what became of it.
#[test]
fn a_call_that_is_cancelled_while_a_pool_gives_up_another_counts_once() {
    /// A pool whose worker cannot start, with two calls; the drop of the first cancels the second.
    fn two_calls(fails: mpsc::Receiver<()>) -> (ThreadPoolExecutor, [Future<()>; 1]) {
        let fails = Mutex::new(fails);
        let pool = builder(1).initializer(move || {
            let _ = fails.lock().unwrap().recv();
            Err::<(), _>("no")
        });
        let pool = pool.build().unwrap();
        let second = Arc::new(Mutex::new(None::<Future<()>>));
        let other = Arc::clone(&second);
        let cancels = OnDrop(move || {
            let call = other.lock().unwrap().take();
            if let Some(call) = call {
                assert!(call.cancel());
            }
        });
        let first = pool.spawn(move || drop(cancels)).unwrap();
        *second.lock().unwrap() = Some(pool.spawn(|| ()).unwrap());
        (pool, [first])
    }
    timely(|| {
        let (fail, fails) = mpsc::channel();
        let (pool, [first]) = two_calls(fails);
        drop(fail);
        assert!(first.into_result().is_err());
        until(|| pool.stats().workers == 0);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.cancelled, total(&stats)), (1, 1, 2));

        let (fail, fails) = mpsc::channel();
        let (pool, _first) = two_calls(fails);
        let options = ShutdownOptions::new().cancel_futures(true).wait(false);
        assert_eq!(pool.shutdown_with(options).cancelled, 1, "the other one was cancelled before");
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.cancelled, total(&stats)), (0, 2, 2));
        drop(fail);
    });
}

#[test]
fn a_call_that_was_let_in_counts_as_any_other() {
    timely(|| {
        let pool = Arc::new(bounded(1).build().unwrap());
        let busy = Busy::on(&pool);
        let (open, opened) = mpsc::channel::<()>();
        let running = pool.spawn(move || opened.recv().is_err()).unwrap();
        let own = Arc::clone(&pool);
        let submits = thread::spawn(move || own.spawn(|| ()).unwrap());
        until(|| crate::support::blocked(&pool) == 1);
        busy.finish();
        let let_in = submits.join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.finished, stats.running, stats.queued), (1, 1, 1));
        drop(open);
        assert!(running.into_result().unwrap());
        let_in.into_result().unwrap();
        assert_eq!(total(&pool.stats()), 3);
    });
}

// A value that nobody took is dropped by its worker, which takes no call meanwhile.
#[test]
fn a_worker_that_drops_a_value_is_busy() {
    timely(|| {
        let pool = builder(2).build().unwrap();
        let (open, opened) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let (go, goes) = mpsc::channel::<()>();
        let call = pool.spawn(move || {
            let _ = goes.recv();
            OnDrop(move || {
                begin.send(()).unwrap();
                let _ = opened.recv();
            })
        });
        drop(call.unwrap());
        drop(go);
        begun.recv().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.workers, stats.idle, stats.running), (1, 0, 0));
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1, "another worker runs it");
        drop(open);
        until(|| pool.stats().idle == 2);
    });
}
