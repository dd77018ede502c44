//! Scopes that are part of a deadlock, and those that are not: what a scope waits for, it runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;

use concurrent::Error;
use concurrent::futures::{Future, ThreadPoolExecutor};

use crate::support::{Counter, OnceSlot, message, shared_pool, timely, until};

const ROUNDS: usize = if cfg!(miri) { 3 } else { 200 };

/// A scope in a call, one of whose calls waits for that call: one of two waits has to fail.
#[test]
fn a_call_that_waits_for_the_call_of_its_scope_meets_the_deadlock() {
    for round in 0..ROUNDS {
        for workers in [1, 2, 3] {
            timely(move || {
                let pool = shared_pool(workers);
                let (inner, place) = (Arc::clone(&pool), OnceSlot::<Future<usize>>::new());
                let there = place.clone();
                let call = pool.spawn(move || {
                    let met = AtomicUsize::new(0);
                    inner.scope(|s| {
                        drop(s.spawn(|| {
                            (0..round % 20).for_each(|_| thread::yield_now());
                            let result = there.get().result();
                            met.fetch_add(
                                usize::from(matches!(result, Err(Error::Deadlock(_)))),
                                Ordering::SeqCst,
                            );
                        }));
                    });
                    met.into_inner()
                });
                place.fill(call.unwrap());
                assert_eq!(*place.get().result().unwrap(), 1, "on {workers}");
            });
        }
    }
}

/// The deadlock names the caller's closure, not what the scope has around it.
#[test]
fn a_deadlock_names_the_closure_of_the_scope() {
    for plain in [true, false] {
        timely(move || {
            let builder = ThreadPoolExecutor::builder().max_workers(1);
            let builder = if plain { builder } else { builder.queue_capacity(9) };
            let pool = Arc::new(builder.build().unwrap());
            let (inner, place) = (Arc::clone(&pool), OnceSlot::<Future<String>>::new());
            let there = place.clone();
            let call = pool.spawn(move || {
                let borrowed = String::from("borrowed");
                inner.scope(|s| {
                    let waits = s.spawn(|| (borrowed.len(), there.get().result().map(drop)));
                    waits.unwrap().into_result().unwrap().1.unwrap_err().to_string()
                })
            });
            place.fill(call.unwrap());
            let text = place.get().result().unwrap();
            let closure = "a_deadlock_names_the_closure_of_the_scope::{{closure}}::{{closure}}";
            // It names the call, the closure of the body, and the call that waits.
            let scoped = format!("{closure}::{{{{closure}}}}::{{{{closure}}}}`");
            assert!(text.contains(&scoped), "{text}");
        });
    }
}

/// The same through the body's own wait, which is the one to fail if it comes last.
#[test]
fn a_deadlock_in_the_body_of_a_scope_still_waits_for_its_calls() {
    for round in 0..ROUNDS {
        timely(move || {
            let pool = shared_pool(2);
            let (inner, place) = (Arc::clone(&pool), OnceSlot::<Future<usize>>::new());
            let there = place.clone();
            let call = pool.spawn(move || {
                let (met, text) = (AtomicUsize::new(0), String::from("borrowed"));
                inner.scope(|s| {
                    let waits = s.spawn(|| {
                        let result = there.get().result();
                        met.fetch_add(usize::from(result.is_err()), Ordering::SeqCst);
                        (0..round % 20).for_each(|_| thread::yield_now());
                        text.len()
                    });
                    let result = waits.unwrap().into_result();
                    met.fetch_add(usize::from(result.is_err()), Ordering::SeqCst);
                });
                drop(text);
                met.into_inner()
            });
            place.fill(call.unwrap());
            // First one of the two fails; then the other's wait can end, or is refused as well.
            assert!((1..=2).contains(place.get().result().unwrap()));
        });
    }
}

/// Workers of two pools, each in a scope of the other pool: only scopes wait.
#[test]
fn a_deadlock_of_scopes_only_cancels_what_has_not_started() {
    for _ in 0..ROUNDS {
        timely(|| {
            let (left, right) = (shared_pool(1), shared_pool(1));
            let begun = Arc::new(Barrier::new(2));
            let calls = [(&left, &right), (&right, &left)].map(|(own, other)| {
                let (begun, other) = (Arc::clone(&begun), Arc::clone(other));
                let call = own.spawn(move || {
                    begun.wait();
                    let drops = Counter::new();
                    let ran = AtomicUsize::new(0);
                    let ended = catch_unwind(AssertUnwindSafe(|| {
                        other.scope(|s| {
                            let (token, ran) = (drops.one(), &ran);
                            s.spawn(move || {
                                ran.fetch_add(1, Ordering::SeqCst);
                                drop(token);
                            })
                            .map(drop)
                        })
                    }));
                    assert_eq!(drops.dropped(), 1);
                    assert_eq!(ran.into_inner(), usize::from(ended.is_ok()));
                    ended.map(|spawned| spawned.unwrap()).map_err(message)
                });
                call.unwrap()
            });
            let ended = calls.map(|call| call.into_result().unwrap());
            let failed: Vec<_> = ended.iter().filter_map(|ended| ended.as_ref().err()).collect();
            assert_eq!(failed.len(), 1, "{ended:?}");
            assert!(failed[0].contains("deadlock"), "{failed:?}");
        });
    }
}

/// As above, but only the inner one of two scopes in the circle has a call that has not started: the
/// outer one, which comes last, has it cancelled.
#[test]
fn in_a_deadlock_of_scopes_the_one_that_can_cancel_does() {
    timely(|| {
        let (own, other) = (shared_pool(1), shared_pool(1));
        let (outer_pool, inner_pool) = (Arc::clone(&other), Arc::clone(&own));
        let call = own.spawn(move || {
            let mut inner = None;
            outer_pool.scope(|s| {
                let (inner, inner_pool) = (&mut inner, &inner_pool);
                s.spawn(move || {
                    let scope = || inner_pool.scope(|t| drop(t.spawn(|| ())));
                    *inner = catch_unwind(AssertUnwindSafe(scope)).err().map(message);
                })
                .unwrap();
                until(|| outer_pool.stats().blocked == 1);
            });
            inner
        });
        let inner = call.unwrap().into_result().unwrap();
        assert!(inner.as_ref().is_some_and(|text| text.contains("deadlock")), "{inner:?}");
    });
}

#[test]
fn a_scope_among_waits_that_may_fail_ends_well() {
    for _ in 0..ROUNDS {
        timely(|| {
            let (left, right) = (shared_pool(1), shared_pool(1));
            let begun = Arc::new(Barrier::new(2));
            let (other, gate) = (Arc::clone(&left), Arc::clone(&begun));
            let waits = right.spawn(move || {
                gate.wait();
                other.spawn(|| 1).unwrap().into_result()
            });
            let scopes = left.spawn(move || {
                begun.wait();
                let mut ran = 0;
                right.scope(|s| drop(s.spawn(|| ran += 1)));
                ran
            });
            assert_eq!(scopes.unwrap().into_result().unwrap(), 1);
            let waited = waits.unwrap().into_result().unwrap();
            assert!(matches!(waited, Err(Error::Deadlock(_))), "{waited:?}");
        });
    }
}

/// A call elsewhere waits for one that is queued behind the worker of the scope.
#[test]
fn a_call_that_comes_up_while_its_scope_waits_is_run_by_it() {
    for round in 0..ROUNDS {
        timely(move || {
            let (left, right) = (shared_pool(1), shared_pool(1));
            let (own, other) = (Arc::clone(&left), Arc::clone(&right));
            let call = left.spawn(move || {
                let text = String::from("four");
                own.scope(|s| {
                    // The calls of the other pool borrow from here through a scope of their own.
                    let (sender, receiver) = channel();
                    other.scope(|t| {
                        t.spawn(|| {
                            (0..round % 20).for_each(|_| thread::yield_now());
                            let late = s.spawn(|| text.len()).unwrap();
                            sender.send(late).unwrap();
                        })
                        .unwrap();
                    });
                    receiver.recv().unwrap().into_result().unwrap()
                })
            });
            assert_eq!(call.unwrap().into_result().unwrap(), 4);
        });
    }
}

/// A call of the scope that another worker runs spawns into the scope and waits for that.
#[test]
fn calls_spawned_by_calls_are_run_by_whoever_can() {
    for round in 0..ROUNDS {
        timely(move || {
            let pool = shared_pool(2);
            let inner = Arc::clone(&pool);
            let call = pool.spawn(move || {
                let sum = AtomicUsize::new(0);
                inner.scope(|s| {
                    for n in 0..3 {
                        let sum = &sum;
                        s.spawn(move || {
                            (0..round % 10).for_each(|_| thread::yield_now());
                            let more = s.spawn(move || sum.fetch_add(n, Ordering::SeqCst)).unwrap();
                            s.spawn(move || sum.fetch_add(10, Ordering::SeqCst)).unwrap();
                            more.into_result().unwrap();
                        })
                        .unwrap();
                    }
                });
                sum.into_inner()
            });
            assert_eq!(call.unwrap().into_result().unwrap(), 33);
        });
    }
}

/// A call of another pool, which a call of the scope waits for, waits for one that it spawned into
/// the scope: the only thread left to run that is the one that waits at the scope's end.
#[test]
fn a_scope_that_waits_runs_what_another_pools_call_spawned_into_it() {
    for round in 0..ROUNDS {
        timely(move || {
            let (own, other) = (shared_pool(2), shared_pool(1));
            let inner = Arc::clone(&own);
            let call = own.spawn(move || {
                let text = String::from("four");
                let begun = Barrier::new(2);
                inner.scope(|s| {
                    drop(s.spawn(|| {
                        begun.wait(); // so that the scope's own worker does not run this in place
                        other
                            .scope(|t| {
                                let waits = t.spawn(|| {
                                    (0..round % 20).for_each(|_| thread::yield_now());
                                    s.spawn(|| text.len()).unwrap().into_result()
                                });
                                waits.unwrap().into_result().unwrap()
                            })
                            .unwrap();
                    }));
                    begun.wait();
                });
            });
            call.unwrap().into_result().unwrap();
        });
    }
}
