//! What the use of the crate leaves behind: no waiter, and no line in the log.
//!
//! A program of its own, because it replaces the allocator, and because the log is everybody's: other
//! tests fail on purpose and are logged.

#[path = "../common/mod.rs"]
mod common;

mod log_lines;
mod waiters;
