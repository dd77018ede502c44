//! Waiting for calls, one or many, in threads and in async code.

mod as_completed;
mod async_await;
mod async_runtimes;
mod result;
mod wait;
