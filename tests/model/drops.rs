//! Values that nobody took: which thread drops them, and what it counts as meanwhile.

use std::sync::{Arc, Mutex};

use concurrent::futures::{Future, Promise, RunInPlace, ShutdownOptions, ThreadPoolExecutor};

use crate::{Outcomes, checker::thread};

/// Has the thread that drops it wait, unless that is `not_in`, and notes that it did.
struct WaitsOnDrop {
    given: Option<Future<()>>,
    not_in: thread::ThreadId,
    waited: Arc<Mutex<bool>>,
}

impl Drop for WaitsOnDrop {
    fn drop(&mut self) {
        if thread::current().id() != self.not_in {
            *self.waited.lock().unwrap() = true;
            self.given.take().unwrap().into_result().unwrap();
        }
    }
}

// A worker that is the last owner of a result does not count as free while it drops it.
#[test]
fn a_call_gets_a_worker_while_another_one_drops_a_result() {
    Outcomes::with_bound(Some(1), || {
        let pool = ThreadPoolExecutor::builder().max_workers(2).build().unwrap();
        let (give, given) = Promise::pair();
        let waited = Arc::new(Mutex::new(false));
        let value = WaitsOnDrop {
            given: Some(given),
            not_in: thread::current().id(),
            waited: Arc::clone(&waited),
        };
        drop(pool.spawn(move || value).unwrap());
        let gives = pool.spawn(move || give.set_result(()).unwrap()).unwrap();
        gives.into_result().unwrap();
        pool.shutdown();
        let waited = *waited.lock().unwrap();
        waited
    })
    .assert([false, true]);
}

/// Notes who drops it.
struct DroppedBy(Arc<Mutex<Option<thread::ThreadId>>>);

impl Drop for DroppedBy {
    fn drop(&mut self) {
        assert!(self.0.lock().unwrap().replace(thread::current().id()).is_none(), "dropped once");
    }
}

/// A call that was run in place stands in the queue still, as the only owner of its result, when
/// another thread does something to the queue. Whatever that is, the worker drops the result.
fn worker_drops_what_ran_in_place(capacity: Option<usize>, does: fn(&ThreadPoolExecutor)) {
    Outcomes::with_bound(Some(2), move || {
        let mut builder =
            ThreadPoolExecutor::builder().max_workers(1).run_in_place(RunInPlace::Always);
        if let Some(capacity) = capacity {
            builder = builder.queue_capacity(capacity);
        }
        let pool = Arc::new(builder.build().unwrap());
        let place = Arc::new(Mutex::new(None));
        let (there, inner) = (Arc::clone(&place), Arc::clone(&pool));
        let (tell, told) = Promise::pair();
        let outer = pool.spawn(move || {
            let awaited = inner.spawn(move || DroppedBy(there)).unwrap();
            // Comes after it, or the worker would find it at the end of the queue.
            let last = inner.spawn(|| ()).unwrap();
            awaited.result().unwrap();
            drop(awaited);
            assert!(last.cancel());
            tell.set_result(()).unwrap();
            thread::current().id()
        });
        told.into_result().unwrap();
        does(&pool);
        let worker = outer.unwrap().into_result().unwrap();
        pool.shutdown();
        assert_eq!(place.lock().unwrap().take(), Some(worker));
    })
    .assert([()]);
}

#[test]
fn what_ran_in_place_is_not_dropped_by_a_shutdown() {
    worker_drops_what_ran_in_place(None, |pool| {
        pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
    });
}

#[test]
fn what_ran_in_place_is_not_dropped_by_a_submitter() {
    worker_drops_what_ran_in_place(Some(2), |pool| drop(pool.try_spawn(|| ())));
}
