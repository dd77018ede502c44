//! The thread that keeps the deadlines of all calls, a [`Scheduler`] that runs for ever.
//!
//! Not in a model: loom knows no time.

use std::time::Instant;

use crate::LOG_TARGET;
use crate::error::{Cause, Error, Result};
use crate::guard::contain;
use crate::sched::{Event, Scheduler};
use crate::sync::{Mutex, spawn};

/// LOCK: held while the thread is started; nothing is called under it that takes another.
static TIMER: Mutex<Option<Scheduler>> = Mutex::new(None);

/// Has the timer thread run `action` at `deadline`; starts it if need be.
pub(crate) fn enter(
    deadline: Instant,
    action: impl FnOnce() + Send + 'static,
) -> Result<Event<Instant>> {
    Ok(timer()?.enterabs(deadline, 0, action))
}

/// Drops the action, unless it ran or is running.
pub(crate) fn cancel(event: &Event<Instant>) {
    let timer = TIMER.lock().clone();
    if let Some(timer) = timer {
        let _ = timer.cancel(event);
    }
}

fn timer() -> Result<Scheduler> {
    let mut timer = TIMER.lock();
    if let Some(timer) = &*timer {
        return Ok(timer.clone());
    }
    let scheduler = Scheduler::new();
    let own = scheduler.clone();
    // Not joined: like the scheduler it lives as long as the process.
    spawn("concurrent-timer".into(), None, move || keep(&own))
        .map_err(|error| Error::ThreadStart(Cause::new(error)))?;
    *timer = Some(scheduler.clone());
    Ok(scheduler)
}

fn keep(scheduler: &Scheduler) {
    // It comes back if an action panics; those of `with_timeout` contain what could.
    while let Err(error) = scheduler.run_forever() {
        contain("logging a failed deadline", || {
            log::error!(target: LOG_TARGET, "a deadline failed: {error}");
        });
    }
}
