//! A thread, one for all pools, that keeps user code from holding up the supervision of workers.
//!
//! It checks the [`SupervisorThreads`] every few milliseconds while user code runs in any of them, and
//! sleeps otherwise. It ends some time after the last pool, and runs no user code itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::threads::{Activity, SupervisorThreads};
use crate::sync::{Condvar, Mutex, spawn, wait_until};

/// How long user code may hold up a supervisor, at least; at most it is twice as long.
const TICK: Duration = Duration::from_millis(5);

/// How long the thread stays when it has nothing to watch.
const LINGER: Duration = Duration::from_millis(500);

struct Watchdog {
    watched: Vec<Weak<SupervisorThreads>>,
    /// The thread is there.
    is_alive: bool,
}

/// LOCK: before that of `SupervisorThreads`; no other is taken under it.
static WATCHDOG: Mutex<Watchdog> = Mutex::new(Watchdog { watched: Vec::new(), is_alive: false });

static WAKE: Condvar = Condvar::new();

/// The thread sleeps until user code begins, or is not there.
static IS_ASLEEP: AtomicBool = AtomicBool::new(false);

/// Watches these threads from now on; false if the system refuses the watchdog's own thread.
pub(super) fn watch(threads: &Arc<SupervisorThreads>) -> bool {
    let mut watchdog = WATCHDOG.lock();
    if !watchdog.is_alive {
        watchdog.is_alive = spawn("concurrent-watch".into(), None, run).is_ok();
    }
    if watchdog.is_alive {
        watchdog.watched.push(Arc::downgrade(threads));
    }
    watchdog.is_alive
}

/// This thread is about to run user code. It has put down its supervisor before.
pub(super) fn user_code_begins() {
    // ORDERING: Relaxed; the watchdog says that it sleeps before it checks once more, under the lock of
    // the `SupervisorThreads`. Either it sees there that this thread has put down its supervisor, or this
    // thread sees that it sleeps.
    if IS_ASLEEP.load(Ordering::Relaxed) {
        let _watchdog = WATCHDOG.lock();
        IS_ASLEEP.store(false, Ordering::Relaxed); // ORDERING: as above; the lock orders the wake-up
        WAKE.notify_one();
    }
}

/// The supervision of a worker is over.
pub(super) fn supervision_ends() {
    let _watchdog = WATCHDOG.lock();
    WAKE.notify_one();
}

fn run() {
    let mut since = Instant::now();
    let mut watchdog = WATCHDOG.lock();
    loop {
        IS_ASLEEP.store(true, Ordering::Relaxed); // ORDERING: see `user_code_begins`
        let mut busy = false;
        let mut watched = std::mem::take(&mut watchdog.watched);
        if !watched.is_empty() {
            since = Instant::now(); // those that are over now were watched until now
        }
        watched.retain(|threads| match threads.upgrade().map(|threads| threads.check()) {
            None | Some(Activity::Over) => false,
            Some(Activity::Quiet) => true,
            Some(Activity::UserCode) => {
                busy = true;
                true
            }
        });
        watchdog.watched = watched;
        let wait = if busy {
            IS_ASLEEP.store(false, Ordering::Relaxed); // ORDERING: no thread needs to wake it
            Some(Instant::now() + TICK)
        } else if watchdog.watched.is_empty() {
            let end = since + LINGER;
            if Instant::now() >= end {
                watchdog.is_alive = false;
                return;
            }
            Some(end)
        } else {
            None
        };
        wait_until(&WAKE, &mut watchdog, wait);
    }
}
