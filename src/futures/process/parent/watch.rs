//! A thread that sees to it that user code holds up no supervisor, for all pools.
//!
//! It looks at the desks every few milliseconds as long as there is user code, and sleeps otherwise.
//! It ends some time after the last pool, and runs no user code itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::desk::{Desk, Found};
use crate::sync::{Condvar, Mutex, spawn, wait_until};

/// How long user code may hold up a supervisor, at least; at most it is twice as long.
const TICK: Duration = Duration::from_millis(5);

/// How long it stays when there is no desk.
const STAYS: Duration = Duration::from_millis(500);

struct Watch {
    desks: Vec<Weak<Desk>>,
    /// The thread is there.
    lives: bool,
}

/// LOCK: before that of a desk; no other is taken under it.
static WATCH: Mutex<Watch> = Mutex::new(Watch { desks: Vec::new(), lives: false });

static WAKE: Condvar = Condvar::new();

/// The thread sleeps until there is user code, or is not there.
static ASLEEP: AtomicBool = AtomicBool::new(false);

/// From now on the desk is looked after. If the system refuses the thread, that is tried again with
/// the next desk.
pub(crate) fn add(desk: &Arc<Desk>) {
    let mut watch = WATCH.lock();
    watch.desks.push(Arc::downgrade(desk));
    if !watch.lives {
        watch.lives = spawn("concurrent-watch".into(), None, keep_watch).is_ok();
    }
}

/// Some thread is about to run user code. It has laid down its supervisor before.
pub(crate) fn rouse() {
    // ORDERING: Relaxed; the thread says that it sleeps before it looks at the desk once more, under
    // the desk's lock. Either it sees there what this thread has laid down, or this sees that it
    // sleeps.
    if ASLEEP.load(Ordering::Relaxed) {
        let _watch = WATCH.lock();
        ASLEEP.store(false, Ordering::Relaxed); // ORDERING: as above; the lock wakes it for good
        WAKE.notify_one();
    }
}

/// A desk was closed.
pub(crate) fn look() {
    let _watch = WATCH.lock();
    WAKE.notify_one();
}

fn keep_watch() {
    let mut since = Instant::now();
    let mut watch = WATCH.lock();
    loop {
        ASLEEP.store(true, Ordering::Relaxed); // ORDERING: see `rouse`
        let mut busy = false;
        let mut desks = std::mem::take(&mut watch.desks);
        if !desks.is_empty() {
            since = Instant::now(); // those that it finds over now were there until now
        }
        desks.retain(|desk| match desk.upgrade().map(|desk| desk.look_after()) {
            None | Some(Found::Over) => false,
            Some(Found::Quiet) => true,
            Some(Found::Busy) => {
                busy = true;
                true
            }
        });
        watch.desks = desks;
        let wait = if busy {
            ASLEEP.store(false, Ordering::Relaxed); // ORDERING: nobody needs to wake it
            Some(Instant::now() + TICK)
        } else if watch.desks.is_empty() {
            let end = since + STAYS;
            if Instant::now() >= end {
                watch.lives = false;
                return;
            }
            Some(end)
        } else {
            None
        };
        wait_until(&WAKE, &mut watch, wait);
    }
}
