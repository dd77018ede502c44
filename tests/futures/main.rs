//! The public test suite of `concurrent::futures` on threads.
#![allow(missing_docs, reason = "tests")]

mod as_completed_cases;
mod executor_cases;
mod future_cases;
mod shutdown_cases;
mod support;
mod thread_pool_cases;
mod wait_cases;
