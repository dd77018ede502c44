//! Runs a few threads in every interleaving, or some times, and collects the outcomes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Whether every possible outcome is met, because every interleaving is explored.
pub(crate) const EVERY_INTERLEAVING: bool = cfg!(all(concurrent_loom, not(concurrent_shuttle)));

/// Runs `model` and returns its outcomes: under loom in every interleaving with at most
/// `preemptions` forced switches, or as many as `LOOM_MAX_PREEMPTIONS` says; under shuttle in
/// random interleavings; otherwise some times with real threads.
pub(crate) fn outcomes<T: Ord + Send + 'static>(
    preemptions: Option<usize>,
    model: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T> {
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&met);
    check(preemptions, move || {
        let outcome = model();
        seen.lock().expect("nothing panics under it").insert(outcome);
    });
    std::mem::take(&mut *met.lock().expect("nothing panics under it"))
}

#[cfg(all(concurrent_loom, not(concurrent_shuttle)))]
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.check(model);
}

#[cfg(concurrent_shuttle)]
fn check(_: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let executions = std::env::var("SHUTTLE_ITERATIONS")
        .map_or(300, |text| text.parse().expect("a number of executions"));
    shuttle::check_random(model, executions);
}

#[cfg(not(concurrent_loom))]
fn check(_: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    (0..if cfg!(miri) { 3 } else { 200 }).for_each(|_| model());
}
