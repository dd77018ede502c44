//! The helpers that tests of several programs share. Each program takes those that it needs.
#![allow(dead_code, unused_imports, reason = "no program uses all of it")]

pub(crate) mod counter;
pub(crate) mod expected_panics;
pub(crate) mod fussy;
pub(crate) mod log_lines;
pub(crate) mod once_slot;
pub(crate) mod random;
pub(crate) mod sync;
pub(crate) mod watchdog;

#[cfg(all(feature = "process", target_os = "linux", not(miri)))]
pub(crate) mod executor_promises;
#[cfg(target_os = "linux")]
pub(crate) mod proc;
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) mod process_gate;
