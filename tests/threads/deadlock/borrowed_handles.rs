//! Handles of a user's type are borrowed by their own thread, with no lock held.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};

use concurrent::futures::ReturnWhen::{AllCompleted, FirstCompleted, FirstException};
use concurrent::futures::{Future, as_completed, wait};

use crate::support::{Pool, shared_pool, timely};

/// May only be borrowed where it was made, and asks for a lock of everything then.
struct Local {
    future: Future<i32>,
    pool: Pool,
    home: ThreadId,
    strangers: Arc<AtomicUsize>,
}

impl Borrow<Future<i32>> for Local {
    fn borrow(&self) -> &Future<i32> {
        if thread::current().id() != self.home {
            self.strangers.fetch_add(1, Ordering::Relaxed);
            panic!("only in its own thread");
        }
        assert!(self.pool.stats().workers <= 2);
        &self.future
    }
}

/// How a call waits for the one that it is given.
type Waits = fn(Local) -> usize;

const WAYS: [(&str, Waits); 4] = [
    ("all", |handle| wait([handle], None, AllCompleted).done.len()),
    ("first", |handle| wait([handle], None, FirstCompleted).done.len()),
    ("failure", |handle| wait([handle], None, FirstException).done.len()),
    ("as completed", |handle| as_completed([handle]).filter(|handle| handle.future.done()).count()),
];

#[test]
fn a_handle_is_borrowed_in_its_own_thread_and_may_ask_for_the_state_of_the_pool() {
    timely(|| {
        for (name, waits) in WAYS {
            // The call that it waits for is run in place.
            let (own, strangers) = (shared_pool(1), Arc::default());
            let (inner, seen) = (Arc::clone(&own), Arc::clone(&strangers));
            let call = own.spawn(move || {
                let future = inner.spawn(|| 1).unwrap();
                let home = thread::current().id();
                waits(Local { future, pool: inner, home, strangers: seen })
            });
            assert_eq!(call.unwrap().into_result().unwrap(), 1, "{name}");
            assert_eq!(strangers.load(Ordering::Relaxed), 0, "{name}");
        }
    });
}

#[test]
fn the_thread_that_closes_a_circle_borrows_no_handle_of_another() {
    timely(|| {
        for (name, waits) in WAYS {
            let (own, strangers) = (shared_pool(2), Arc::default());
            let (give, given) = mpsc::channel::<Future<i32>>();
            let (inner, seen) = (Arc::clone(&own), Arc::clone(&strangers));
            let first = own.spawn(move || {
                let (future, home) = (given.recv().unwrap(), thread::current().id());
                waits(Local { future, pool: inner, home, strangers: seen });
                1
            });
            let (first, inner) = (Arc::new(first.unwrap()), Arc::clone(&own));
            let awaited = Arc::clone(&first);
            let second = own.spawn(move || {
                while inner.stats().blocked < 1 {
                    thread::yield_now();
                }
                i32::from(awaited.result().is_err())
            });
            give.send(second.unwrap()).unwrap();
            assert_eq!(*first.result().unwrap(), 1, "{name}");
            assert_eq!(strangers.load(Ordering::Relaxed), 0, "{name}");
        }
    });
}
