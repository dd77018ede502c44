//! What the thread pool can do beyond Python's.
//!
//! Threads are brought into a state with gates and channels, never with sleeps. Each test runs
//! under a watchdog that turns a hang into a failure.

mod bounded;
mod discipline;
mod execute;
mod full_circles;
mod full_deadlines;
mod hooks;
mod joining;
mod life;
#[path = "../common/place.rs"]
mod place;
mod refused;
mod shells;
mod stats;
mod stopping;
mod support;
