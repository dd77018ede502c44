//! A worker that waits runs the awaited call in place, where it may.

mod compositions;
mod left_in_queue;
#[cfg(all(target_os = "linux", not(any(miri, concurrent_tsan))))]
mod no_stack;
mod only_worker;
mod who_runs;
