//! The entry that a call run in place leaves in the queue may be the last owner of its value: who
//! drops it, and when.

use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};

use concurrent::futures::{Discipline, Future, ShutdownOptions, ThreadPoolBuilder};

use crate::support::{Pool, bounded, builder, timely, until};

/// Says where it is dropped, and panics then.
struct Unruly(mpsc::Sender<ThreadId>);

impl Drop for Unruly {
    fn drop(&mut self) {
        self.0.send(thread::current().id()).unwrap();
        panic!("this drop panics on purpose");
    }
}

/// Enough for the next submitter to a bounded queue to sweep it.
const SHELLS: usize = 20;

/// A pool in whose queue stand calls that were run in place, each the last owner of its value, and
/// one that is pending behind them.
struct WithShells {
    pool: Pool,
    /// Its worker, and a call of it that ends when the sender is dropped.
    worker: ThreadId,
    open: mpsc::Sender<()>,
    outer: Future<()>,
    drops: mpsc::Receiver<ThreadId>,
}

impl WithShells {
    fn new(builder: ThreadPoolBuilder) -> Self {
        let pool = Arc::new(builder.build().unwrap());
        let own = Arc::clone(&pool);
        let (note, drops) = mpsc::channel();
        let (open, opened) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let outer = pool.spawn(move || {
            let make = |_| {
                let note = note.clone();
                own.spawn(move || Unruly(note)).unwrap()
            };
            let calls: Vec<_> = (0..SHELLS).map(make).collect();
            // In front of what is pending nothing is taken off.
            drop(own.spawn(|| ()).unwrap());
            for call in calls {
                assert!(call.result().is_ok());
            }
            drop((own, note));
            begin.send(thread::current().id()).unwrap();
            let _ = opened.recv();
        });
        let worker = begun.recv().unwrap();
        assert!(drops.try_recv().is_err(), "nothing was dropped yet");
        Self { pool, worker, open, outer: outer.unwrap(), drops }
    }

    /// Lets the worker go on, and looks that it dropped all values.
    fn end(self) {
        drop(self.open);
        self.outer.into_result().unwrap();
        self.pool.shutdown();
        let drops: Vec<_> = self.drops.iter().collect();
        assert_eq!(drops, [self.worker; SHELLS]);
        assert_eq!((self.pool.stats().queued, self.pool.stats().running), (0, 0));
    }
}

/// Every kind of queue.
fn queues() -> impl Iterator<Item = ThreadPoolBuilder> {
    [Discipline::Fifo, Discipline::Lifo, Discipline::Priority]
        .into_iter()
        .flat_map(|discipline| [builder(1), bounded(100)].map(|pool| pool.discipline(discipline)))
}

#[test]
fn a_submitter_that_sweeps_drops_no_value_and_meets_no_panic() {
    timely(|| {
        for builder in queues() {
            let shells = WithShells::new(builder);
            let calls = [0, 1, 2].map(|n| shells.pool.spawn(move || n).unwrap());
            let handed_back = shells.pool.try_spawn(|| 3).unwrap();
            shells.end();
            let sum: i32 = calls.into_iter().map(|call| call.into_result().unwrap()).sum();
            assert_eq!(sum + handed_back.into_result().unwrap(), 6);
        }
    });
}

/// It stands behind the call that the worker begins, and leaves the queue with it.
#[test]
fn a_worker_drops_no_value_between_the_start_of_a_call_and_its_run() {
    timely(|| {
        for builder in [builder(1), bounded(100)] {
            let pool = Arc::new(builder.build().unwrap());
            let own = Arc::clone(&pool);
            let (note, drops) = mpsc::channel();
            let outer = pool.spawn(move || {
                let ended = own.spawn(move || Unruly(note)).unwrap();
                let next = own.spawn(move || drops.try_recv().is_err()).unwrap();
                assert!(ended.result().is_ok());
                drop(ended);
                next.into_result()
            });
            assert!(outer.unwrap().into_result().unwrap().unwrap());
        }
    });
}

#[test]
fn a_scope_whose_call_has_the_queue_swept_ends() {
    timely(|| {
        for builder in queues() {
            let mut shells = Some(WithShells::new(builder));
            let pool = Arc::clone(&shells.as_ref().unwrap().pool);
            let mut ran = 0;
            pool.scope(|s| {
                s.spawn(|| ran += 1).unwrap();
                let shells = shells.take().unwrap();
                drop(shells.open);
                shells.outer.into_result().unwrap();
            });
            assert_eq!(ran, 1);
        }
    });
}

#[test]
fn a_shutdown_that_cancels_leaves_them_to_the_worker() {
    timely(|| {
        for builder in queues() {
            let shells = WithShells::new(builder);
            let options = ShutdownOptions::new().cancel_futures(true).wait(false);
            assert_eq!(shells.pool.shutdown_with(options).cancelled, 1);
            shells.end();
        }
    });
}

#[test]
fn a_long_call_does_not_fill_the_queue_with_them() {
    timely(|| {
        // This one's, and the one before, which goes when the next begins. A queue by priority is
        // looked through at times.
        let few = [Discipline::Fifo, Discipline::Lifo].map(|discipline| (discipline, 3));
        for (discipline, most) in few.into_iter().chain([(Discipline::Priority, 100)]) {
            for builder in [builder(1), bounded(100)] {
                let pool = Arc::new(builder.discipline(discipline).build().unwrap());
                let own = Arc::clone(&pool);
                let outer = pool.spawn(move || {
                    let value = Arc::new(());
                    for _ in 0..1_000 {
                        let clone = Arc::clone(&value);
                        let call = own.spawn(move || clone).unwrap();
                        assert!(call.result().is_ok());
                        drop(call);
                        assert!(Arc::strong_count(&value) <= most);
                    }
                    value
                });
                let value = outer.unwrap().into_result().unwrap();
                until(|| Arc::strong_count(&value) == 1);
            }
        }
    });
}
