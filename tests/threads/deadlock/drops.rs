//! Destructors that wait, of what a call captured that will not run: for those who wait for that call,
//! for what follows it, for the call that its scope is in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use concurrent::futures::{Future, ShutdownOptions};
use concurrent::{Error, Result};

use crate::support::{Busy, Gate, OnceSlot, builder, shared_pool, timely, until};

type Place = OnceSlot<Future<usize>>;

/// Waits, when it is dropped, for the call in its place.
struct WaitsOnDrop<F: FnMut(Result<usize>)>(Place, F);

impl<F: FnMut(Result<usize>)> Drop for WaitsOnDrop<F> {
    fn drop(&mut self) {
        let result = self.0.get().result().copied();
        (self.1)(result);
    }
}

/// The other thread that is part of it comes first, or either.
#[test]
fn a_drop_that_waits_for_the_call_of_its_scope_meets_the_deadlock() {
    for round in 0..if cfg!(miri) { 3 } else { 40 } {
        timely(move || {
            let (own, other) = (shared_pool(1), shared_pool(1));
            let busy = Busy::on(&other);
            let place = Place::new();
            let (there, inner) = (place.clone(), Arc::clone(&other));
            let (ready, go) = channel();
            let call = own.spawn(move || {
                let met = AtomicUsize::new(0);
                inner.scope(|s| {
                    let note = |result| {
                        let stuck = matches!(result, Err(Error::Deadlock(_)));
                        met.fetch_add(usize::from(stuck), Ordering::SeqCst);
                    };
                    let waits = WaitsOnDrop(there, note);
                    s.spawn(move || drop(waits)).unwrap();
                    ready.send(()).unwrap();
                    (0..round % 20).for_each(|_| thread::yield_now());
                });
                met.into_inner()
            });
            place.fill(call.unwrap());
            go.recv().unwrap();
            if round % 2 == 0 {
                until(|| own.stats().blocked == 1);
            }
            other.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
            assert_eq!(*place.get().result().unwrap(), 1);
            busy.finish();
        });
    }
}

#[test]
fn a_drop_in_a_scope_that_waits_for_what_comes_gets_it() {
    timely(|| {
        let (own, other, third) = (shared_pool(1), shared_pool(1), shared_pool(1));
        let (busy, gate) = (Busy::on(&other), Gate::new());
        let (place, opened) = (Place::new(), gate.clone());
        place.fill(third.spawn(move || (opened.pass(), 7).1).unwrap());
        let inner = Arc::clone(&other);
        let (ready, go) = channel();
        let call = own.spawn(move || {
            let got = AtomicUsize::new(0);
            inner.scope(|s| {
                let note = |result: Result<usize>| got.store(result.unwrap(), Ordering::SeqCst);
                let waits = WaitsOnDrop(place, note);
                s.spawn(move || drop(waits)).unwrap();
                ready.send(()).unwrap();
            });
            got.into_inner()
        });
        go.recv().unwrap();
        let cancels = thread::spawn(move || {
            other.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false))
        });
        // The scope waits for the drop, once the call that it waited for is cancelled.
        until(|| own.stats().blocked == 1);
        gate.open();
        assert_eq!(call.unwrap().into_result().unwrap(), 7);
        assert_eq!(cancels.join().unwrap().cancelled, 1);
        busy.finish();
    });
}

#[test]
fn who_waits_for_a_cancelled_call_wakes_before_what_it_captured_is_dropped() {
    timely(|| {
        let (own, other) = (shared_pool(1), shared_pool(1));
        let busy = Busy::on(&other);
        let (place, seen) = (Place::new(), Arc::new(Mutex::new(None)));
        let note = Arc::clone(&seen);
        let waits = WaitsOnDrop(place.clone(), move |result| *note.lock().unwrap() = Some(result));
        let pending = Arc::new(other.spawn(move || drop(waits)).unwrap());
        let awaited = Arc::clone(&pending);
        let waits = own.spawn(move || match awaited.result() {
            Err(Error::Cancelled) => 7,
            _ => 0,
        });
        place.fill(waits.unwrap());
        until(|| own.stats().blocked == 1);
        assert!(pending.cancel());
        let seen = seen.lock().unwrap().take();
        assert!(matches!(seen, Some(Ok(7))), "{seen:?}");
        busy.finish();
    });
}

#[test]
fn a_drop_that_waits_for_what_follows_its_call_meets_the_deadlock() {
    timely(|| {
        let note = |seen: &Arc<Mutex<Vec<Result<usize>>>>| {
            let seen = Arc::clone(seen);
            move |result| seen.lock().unwrap().push(result)
        };
        let seen = Arc::default();
        // Of the call that is cancelled.
        let pool = shared_pool(1);
        let busy = Busy::on(&pool);
        let place = Place::new();
        let waits = WaitsOnDrop(place.clone(), note(&seen));
        place.fill(pool.spawn(move || drop(waits)).unwrap().map(|()| 1));
        assert!(place.get().cancel());
        // Of the function that is not called.
        let place = Place::new();
        let waits = WaitsOnDrop(place.clone(), note(&seen));
        let map = move |()| {
            let _waits = &waits;
            1
        };
        place.fill(pool.spawn(|| ()).unwrap().map(map));
        assert!(place.get().cancel());
        busy.finish();
        // Of a call that its pool cannot run.
        let gate = Gate::new();
        let opened = gate.clone();
        let fails = builder(1).initializer(move || {
            opened.pass();
            Err::<(), _>("on purpose")
        });
        let fails = fails.build().unwrap();
        let place = Place::new();
        let waits = WaitsOnDrop(place.clone(), note(&seen));
        place.fill(fails.spawn(move || (drop(waits), 1).1).unwrap());
        gate.open();
        assert!(matches!(place.get().result(), Err(Error::BrokenThreadPool(_))));
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.len(), 3);
        for result in seen {
            assert!(matches!(result, Err(Error::Deadlock(_))), "{result:?}");
        }
    });
}
