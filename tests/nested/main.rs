//! Calls that wait for calls: run in place where they can be, refused where they never could end.
//!
//! Nothing here sleeps to be in step: futures that a call needs are handed to it through a
//! [`support::Place`], which it waits for.

mod callbacks;
mod cycles;
mod ends;
mod handles;
mod helping;
mod no_false_alarm;
#[cfg(all(target_os = "linux", not(any(miri, concurrent_tsan))))]
mod no_stack;
#[path = "../common/place.rs"]
mod place;
mod random;
mod support;
mod tokens;
mod who_runs;
