//! The pool: its workers, its settings, and what it says of itself.

mod execute;
#[cfg(feature = "process")]
mod executor_trait;
mod hooks;
mod initializers;
mod invalid_arguments;
mod order;
mod resizing;
mod startup_failures;
mod stats;
mod submitting;
mod workers;
