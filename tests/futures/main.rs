//! The public test suite of `concurrent::futures` on threads.
//!
//! Tests name the points (F1 to F88) and the cases of CPython's own suite (case 12 to case 87) that
//! they cover, by their numbers in the project's reference of what CPython does.
//!
//! # Not covered
//!
//! - Points of Python only: the parent class of errors, no class tree here (of F2 and F3 the
//!   questions are tested); F44, `return_when` is an enum; F78, the initializer is a closure;
//!   F86, signal handlers and forks; F88, not public in Python either.
//! - F87, nested waits, is in `tests/nested`.
//! - Cases marked P: case 47 (keyword arguments), case 53 (typed), case 60 (no such call), case 66
//!   (no exception is false; but see F35), case 71 and case 72 (no fork), case 76 (no hook at exit).

mod as_completed_cases;
mod awaiting;
mod bad_input;
mod callbacks;
#[cfg(all(target_os = "linux", not(miri)))]
#[path = "../common/contract.rs"]
mod contract;
mod debug_forms;
mod departures;
mod errors;
mod executor_cases;
mod executor_trait;
mod future_cases;
#[cfg(all(target_os = "linux", not(miri)))]
#[path = "../common/gate.rs"]
mod gate;
mod initializer_cases;
mod messages;
mod ownership;
mod races;
mod shutdown_cases;
mod support;
mod thread_pool_cases;
mod traits;
mod wait_cases;
