//! Every interleaving of a few threads, by loom, on the source of the release build.
//!
//! `RUSTFLAGS="--cfg concurrent_loom" CARGO_TARGET_DIR=target/loom cargo test --release --test model`
//!
//! A model that cannot fail proves nothing: each counts the outcomes it met, and asserts that it
//! met all those that are allowed.
//!
//! With `--cfg concurrent_shuttle` besides: some interleavings, at random, by shuttle. It knows
//! nothing of memory orderings and meets not all outcomes, but has room for larger models.
#![cfg(concurrent_loom)]

mod awaiting;
mod bounded;
mod call;
mod compose;
mod drops;
#[cfg(not(concurrent_shuttle))]
mod flow;
mod in_place;
#[cfg(concurrent_shuttle)]
mod large;
mod life;
mod nested;
#[cfg(not(concurrent_shuttle))]
mod pair_arc;
mod pool;
mod scope;
mod waiting;

#[cfg(not(concurrent_shuttle))]
use loom as checker;
#[cfg(concurrent_shuttle)]
use shuttle as checker;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use concurrent::futures::Future;

/// How often a callback of `future` has read its value, which is 9.
fn reads_of_nine(future: &Future<Watched>) -> Arc<AtomicUsize> {
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reads);
    future.add_done_callback(move |future| {
        assert_eq!(future.result().unwrap().get(), 9);
        counter.fetch_add(1, Ordering::Relaxed);
    });
    reads
}

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
        check(preemptions, move || {
            let outcome = body();
            seen.lock().unwrap().insert(outcome);
        });
        Self(met)
    }

    fn assert<const N: usize>(&self, expected: [T; N]) {
        let (met, expected) = (self.0.lock().unwrap(), BTreeSet::from(expected));
        if cfg!(concurrent_shuttle) {
            assert!(!met.is_empty() && met.is_subset(&expected), "{met:?} of {expected:?}");
        } else {
            assert_eq!(*met, expected);
        }
    }
}

#[cfg(not(concurrent_shuttle))]
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = preemptions;
    }
    builder.check(model);
}

/// The first executions switch anywhere, the others, of models that are not tiny, at few places, which
/// finds what needs a certain order of few events sooner.
#[cfg(concurrent_shuttle)]
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};

    let executions = std::env::var("SHUTTLE_ITERATIONS").map_or(300, |text| text.parse().unwrap());
    let model = Arc::new(model);
    let config = || {
        let mut config = shuttle::Config::new();
        config.stack_size = 256 * 1024;
        config
    };
    let again = Arc::clone(&model);
    shuttle::Runner::new(RandomScheduler::new(executions), config()).run(move || again());
    if preemptions.is_some() {
        shuttle::Runner::new(PctScheduler::new(3, executions), config()).run(move || model());
    }
}

#[cfg(not(concurrent_shuttle))]
type WatchedCell = loom::cell::UnsafeCell<u32>;

#[cfg(concurrent_shuttle)]
struct WatchedCell(std::cell::UnsafeCell<u32>);

#[cfg(concurrent_shuttle)]
impl WatchedCell {
    fn new(value: u32) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    fn with<R>(&self, access: impl FnOnce(*const u32) -> R) -> R {
        access(self.0.get())
    }

    fn with_mut<R>(&self, access: impl FnOnce(*mut u32) -> R) -> R {
        access(self.0.get())
    }
}

/// A value whose reads and writes loom watches: an unordered pair of them fails the model.
struct Watched(WatchedCell);

// SAFETY: that accesses are ordered is what the models check.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

impl Watched {
    fn new(value: u32) -> Self {
        let watched = Self(WatchedCell::new(0));
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
