//! The scheduler: one file for each behaviour.
//!
//! A comment above a test names the points of CPython's behaviour (`S7`) and the cases of its own suite
//! (`case 3`) that the test covers; `docs/conformance.md` lists them all.
//!
//! Nothing here sleeps: tests run on clocks of their own, or meet at channels.

mod cancel;
mod clocks;
mod dispatch;
mod every;
mod failing_time;
mod failures;
mod logging;
mod on_error;
mod order;
mod real_clock;
mod run;
mod spin_and_latency;
mod support;
mod threads;
mod time_points;
