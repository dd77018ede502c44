//! Every interleaving of a few threads, by loom, on the source of the release build.
//!
//! `RUSTFLAGS="--cfg concurrent_loom" CARGO_TARGET_DIR=target/loom cargo test --release --test model`
//!
//! A model that cannot fail proves nothing: each counts the outcomes it met, and asserts that it
//! met all those that are allowed.
#![cfg(concurrent_loom)]

mod awaiting;
mod bounded;
mod call;
mod compose;
mod life;
mod nested;
mod pool;
mod scope;
mod waiting;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

/// The outcomes that the executions of one model had.
struct Outcomes<T>(Arc<Mutex<BTreeSet<T>>>);

impl<T: Ord + Debug + Send + 'static> Outcomes<T> {
    /// Runs `body` in every interleaving and collects what it returns.
    fn of(body: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self::with_bound(None, body)
    }

    /// The same with at most `preemptions` forced switches, for models of three threads and more.
    fn with_bound(
        preemptions: Option<usize>,
        body: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        let met = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&met);
        let mut builder = loom::model::Builder::new();
        if builder.preemption_bound.is_none() {
            builder.preemption_bound = preemptions;
        }
        builder.check(move || {
            let outcome = body();
            seen.lock().unwrap().insert(outcome);
        });
        Self(met)
    }

    fn assert<const N: usize>(&self, expected: [T; N]) {
        assert_eq!(*self.0.lock().unwrap(), BTreeSet::from(expected));
    }
}

/// A value whose reads and writes loom watches: an unordered pair of them fails the model.
struct Watched(loom::cell::UnsafeCell<u32>);

// SAFETY: that accesses are ordered is what the models check.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

impl Watched {
    fn new(value: u32) -> Self {
        let watched = Self(loom::cell::UnsafeCell::new(0));
        // SAFETY: nobody else knows it yet.
        watched.0.with_mut(|place| unsafe { *place = value });
        watched
    }

    fn get(&self) -> u32 {
        // SAFETY: never written after `new` but in `drop`; loom reports it if that is unordered.
        self.0.with(|place| unsafe { *place })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: exclusive; loom reports it if a read is not ordered before.
        self.0.with_mut(|place| unsafe { *place = u32::MAX });
    }
}
