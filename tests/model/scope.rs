//! Scopes: nothing that a call borrows is touched after the scope has ended.
//!
//! What is borrowed is [`Watched`], which is written when it is dropped, right after the scope: loom
//! reports any read of a call, or of the drop of its captures or value, that is not ordered before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor};

use crate::{Outcomes, Watched, checker::thread};

fn pool(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::builder().max_workers(workers).thread_name_prefix("w").build().unwrap()
}

/// Reads what it borrows when it is dropped.
struct ReadsOnDrop<'a>(&'a Watched);

impl Drop for ReadsOnDrop<'_> {
    fn drop(&mut self) {
        assert_eq!(self.0.get(), 7);
    }
}

#[test]
fn a_call_whose_handle_was_dropped_ends_before_its_scope() {
    Outcomes::with_bound(Some(3), || {
        let pool = pool(1);
        let borrowed = Watched::new(7);
        pool.scope(|s| drop(s.spawn(|| ReadsOnDrop(&borrowed)).unwrap()));
        drop(borrowed);
    })
    .assert([()]);
}

#[test]
fn a_value_moved_out_is_the_calls() {
    Outcomes::with_bound(Some(3), || {
        let pool = pool(1);
        let borrowed = Watched::new(7);
        let sum = pool.scope(|s| {
            let call = s.spawn(|| (Watched::new(1), &borrowed)).unwrap();
            let (own, borrowed) = call.into_result().unwrap();
            own.get() + borrowed.get()
        });
        drop(borrowed);
        assert_eq!(sum, 8);
    })
    .assert([()]);
}

#[test]
fn captures_that_another_thread_cancels_are_gone_before_the_scope_ends() {
    Outcomes::with_bound(Some(2), || {
        let pool = Arc::new(pool(1));
        let borrowed = Watched::new(7);
        let ran = AtomicUsize::new(0);
        let canceller = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
            })
        };
        let refused = pool.scope(|s| {
            let captured = ReadsOnDrop(&borrowed);
            let ran = &ran;
            let spawned = s.spawn(move || {
                drop(captured);
                ran.fetch_add(1, Ordering::Relaxed);
            });
            spawned.is_err()
        });
        drop(borrowed);
        canceller.join().unwrap();
        pool.shutdown();
        (refused, ran.into_inner())
    })
    .assert([(false, 0), (false, 1), (true, 0)]);
}

#[test]
fn a_call_that_spawns_into_its_scope_ends_before_it() {
    Outcomes::with_bound(Some(2), || {
        let pool = pool(1);
        let borrowed = Watched::new(7);
        pool.scope(|s| {
            let borrowed = &borrowed;
            s.spawn(move || {
                s.spawn(move || ReadsOnDrop(borrowed)).unwrap();
            })
            .unwrap();
        });
        drop(borrowed);
    })
    .assert([()]);
}

#[test]
fn a_scope_in_the_only_worker_runs_its_calls_in_place() {
    Outcomes::with_bound(Some(2), || {
        let pool = Arc::new(pool(1));
        let inner = Arc::clone(&pool);
        let call = pool.spawn(move || {
            let borrowed = Watched::new(7);
            inner.scope(|s| s.spawn(|| borrowed.get()).unwrap().into_result().unwrap())
        });
        assert_eq!(call.unwrap().into_result().unwrap(), 7);
        pool.shutdown();
    })
    .assert([()]);
}

/// A call of a scope, run by another worker, waits for the call that the scope is in: one of the two
/// waits closes the circle, and the scope's cannot fail.
#[test]
fn a_scope_that_closes_a_circle_has_the_other_wait_fail() {
    Outcomes::with_bound(Some(2), || {
        let (own, other) = (Arc::new(pool(1)), Arc::new(pool(1)));
        let (promise, future) = concurrent::futures::Promise::pair();
        let inner = Arc::clone(&other);
        let call = own.spawn(move || {
            let borrowed = Watched::new(7);
            let met = AtomicUsize::new(0);
            let future: concurrent::futures::Future<concurrent::futures::Future<usize>> = future;
            inner.scope(|s| {
                let (borrowed, met) = (&borrowed, &met);
                s.spawn(move || {
                    let outer = future.into_result().unwrap();
                    let result = outer.result();
                    let stuck = matches!(result, Err(concurrent::Error::Deadlock(_)));
                    met.fetch_add(usize::from(stuck) * borrowed.get() as usize, Ordering::Relaxed);
                })
                .unwrap();
            });
            drop(borrowed);
            met.into_inner()
        });
        assert!(promise.set_result(call.unwrap()).is_ok());
        own.shutdown();
        other.shutdown();
    })
    .assert([()]);
}

/// A call of a scope spawns another one while the worker that the scope is in enters its wait into the
/// registry, which looks at the scope.
#[test]
fn a_scope_in_a_worker_gets_another_call_while_it_begins_to_wait() {
    Outcomes::with_bound(Some(2), || {
        let (own, other) = (pool(1), Arc::new(pool(1)));
        let inner = Arc::clone(&other);
        let call = own.spawn(move || {
            let borrowed = Watched::new(7);
            let ran = AtomicUsize::new(0);
            inner.scope(|s| {
                let (borrowed, ran) = (&borrowed, &ran);
                s.spawn(move || {
                    let count = move || {
                        ran.fetch_add(borrowed.get() as usize, Ordering::Relaxed);
                    };
                    s.spawn(count).unwrap();
                })
                .unwrap();
            });
            drop(borrowed);
            ran.into_inner()
        });
        assert_eq!(call.unwrap().into_result().unwrap(), 7);
        own.shutdown();
        other.shutdown();
    })
    .assert([()]);
}
