//! Python's `sched` and `concurrent.futures` for Rust.

mod death;
mod error;
mod guard;
mod sync;

pub mod futures;
pub mod sched;

pub use death::WorkerDeath;
pub use error::{Error, Outcome, Panic, Result};

/// The target of everything the crate logs.
pub(crate) const LOG_TARGET: &str = "concurrent";
