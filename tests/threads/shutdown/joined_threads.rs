//! A shutdown returns when the threads have ended, with all that their thread-locals hold.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Busy, OnceSlot, Pool, builder, timely, until};

thread_local! {
    static LOCAL: RefCell<Option<Slow>> = const { RefCell::new(None) };
}

/// Its drop takes until the gate is open.
struct Slow(Arc<Drops>);

struct Drops {
    begun: AtomicUsize,
    gate: OnceSlot<()>,
    ended: AtomicUsize,
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        self.0.gate.get();
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// A pool of two workers, each of which has a thread-local that is slow to drop.
fn pool_of_slow_threads(builder: concurrent::futures::ThreadPoolBuilder) -> (Pool, Arc<Drops>) {
    let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let drops = Arc::new(Drops { begun, gate: OnceSlot::new(), ended });
    let given = Arc::clone(&drops);
    let pool = builder.initializer(move || {
        LOCAL.with(|local| *local.borrow_mut() = Some(Slow(Arc::clone(&given))));
        Ok::<(), concurrent::Error>(())
    });
    let pool = pool.build().unwrap();
    [Busy::on(&pool), Busy::on(&pool)].into_iter().for_each(Busy::finish);
    (Arc::new(pool), drops)
}

/// Shuts `pool` down in `threads` threads at once; none of them comes back before the drops, of which
/// so many begin before the gate is open, have ended.
fn shut_down(pool: &Pool, drops: &Arc<Drops>, begin: usize, threads: usize) {
    let returned = Arc::new(AtomicUsize::new(0));
    let shutdowns: Vec<_> = (0..threads)
        .map(|_| {
            let (pool, drops) = (Arc::clone(pool), Arc::clone(drops));
            let returned = Arc::clone(&returned);
            thread::spawn(move || {
                pool.shutdown();
                let ended = drops.ended.load(Ordering::SeqCst);
                returned.fetch_add(1, Ordering::SeqCst);
                ended
            })
        })
        .collect();
    until(|| drops.begun.load(Ordering::SeqCst) >= begin);
    assert!(begin < 2 || (pool.stats().workers, pool.stats().idle) == (0, 0));
    // One that does not wait for the threads has the time to come back here.
    for _ in 0..200 {
        thread::yield_now();
        assert_eq!(returned.load(Ordering::SeqCst), 0);
    }
    drops.gate.fill(());
    for ended in shutdowns {
        assert_eq!(ended.join().unwrap(), 2);
    }
}

#[test]
fn a_shutdown_waits_for_the_destructors_of_thread_locals() {
    timely(|| {
        let (pool, drops) = pool_of_slow_threads(builder(2));
        shut_down(&pool, &drops, 2, 1);
    });
}

#[test]
fn shutdowns_at_once_all_wait_for_the_threads() {
    timely(|| {
        let (pool, drops) = pool_of_slow_threads(builder(2));
        shut_down(&pool, &drops, 2, 3);
    });
}

#[test]
fn a_shutdown_waits_for_the_threads_of_workers_that_left_before() {
    timely(|| {
        let idle = Duration::from_nanos(1);
        for builder in [builder(2), builder(2).keep_alive(idle).min_workers(1)] {
            let (pool, drops) = pool_of_slow_threads(builder);
            pool.resize(1).unwrap();
            until(|| pool.stats().workers == 1 && drops.begun.load(Ordering::SeqCst) == 1);
            // The other one may wait for that thread before its own thread-locals are dropped.
            shut_down(&pool, &drops, 1, 2);
        }
    });
}

/// A handle of a pool in a thread-local; says when it was dropped.
struct Handle(Option<Pool>, Sender<()>);

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.0.take());
        let _ = self.1.send(());
    }
}

thread_local! {
    static HANDLE: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_local_of_a_worker_may_hold_the_last_handle_of_its_pool() {
    timely(|| {
        for workers in [1, 2] {
            let pool = builder(workers).keep_alive(Duration::from_nanos(1)).build().unwrap();
            let (pool, own) = (Arc::new(pool), OnceSlot::new());
            let (dropped, drops) = channel();
            let given: OnceSlot<Mutex<Option<Pool>>> = own.clone();
            let call = pool.spawn(move || {
                let handle = given.get().lock().unwrap().take();
                HANDLE.with(|local| *local.borrow_mut() = Some(Handle(handle, dropped)));
            });
            own.fill(Mutex::new(Some(pool)));
            call.unwrap().into_result().unwrap();
            // The worker has nothing to do and leaves; the pool ends with its thread.
            drops.recv().unwrap();
        }
    });
}
