//! A worker that is starting is about to be free: a queued call is left to it, but by `Always`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use concurrent::futures::{RunInPlace, ThreadPoolExecutor};

use super::{SETTINGS, until};
use crate::support::{OnceSlot, timely};

/// Whether a call runs in the thread that waits for it, while the only other worker is in its hook.
fn runs_in_place(setting: RunInPlace) -> bool {
    let hook_ends = OnceSlot::new();
    let hook = {
        let (hook_ends, is_second) = (hook_ends.clone(), AtomicBool::new(false));
        move || {
            if is_second.swap(true, Ordering::SeqCst) {
                hook_ends.get();
            }
        }
    };
    let builder = ThreadPoolExecutor::builder().max_workers(2).on_worker_start(hook);
    let pool = Arc::new(builder.run_in_place(setting).build().unwrap());
    let inner = Arc::clone(&pool);
    let call = pool.spawn(move || {
        let other = inner.spawn(|| thread::current().id()).unwrap();
        other.into_result().unwrap() == thread::current().id()
    });
    let call = call.unwrap();
    until(|| call.done() || pool.stats().blocked > 0);
    hook_ends.fill(());
    call.into_result().unwrap()
}

#[test]
fn a_call_is_left_to_a_worker_that_is_starting_unless_always() {
    for setting in SETTINGS {
        let in_place = timely(move || runs_in_place(setting));
        assert_eq!(in_place, setting == RunInPlace::Always, "{setting:?}");
    }
}
