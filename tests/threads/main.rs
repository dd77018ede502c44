//! Pools of threads, futures, and what is made of them: one folder for each behaviour.
//!
//! A comment above a test names the points of CPython's behaviour (`F22`) and the cases of its own suite
//! (`case 12`) that the test covers; `docs/conformance.md` lists them all, and says why some have no test.
//!
//! Threads are brought into a state with gates and channels, never with sleeps. A watchdog ends what
//! hangs: see `common::watchdog`.

#[path = "../common/mod.rs"]
mod common;

mod bounded_queue;
mod callbacks;
mod calls;
mod cancelling;
mod composing;
mod deadlock;
mod failures;
mod map;
mod pool;
mod public_types;
mod readme;
mod running_in_place;
mod scopes;
mod shutdown;
mod support;
mod waiting;
