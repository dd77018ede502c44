//! The thread that keeps the deadlines of all calls, a [`Scheduler`] that runs for ever.
//!
//! It runs no user code but hands that over to other threads (`handover.rs`), so that every
//! deadline passes in time, whatever a callback does. If a callback blocks, another thread takes
//! the next piece, so the registry of waits need not know these threads.
//!
//! Not in a model: loom knows no time.

use std::time::{Duration, Instant};

use crate::LOG_TARGET;
use crate::error::{Cause, Error, Result};
use crate::futures::call::continuation::{Continuation, Continuations};
use crate::futures::future::handover::{Handover, Progress};
use crate::sched::{Event, Scheduler};
use crate::sync::{Mutex, spawn};
use crate::user_code::contain;

/// LOCK: held while threads are started; the lock of the handover may be taken under it.
static TIMER: Mutex<Option<Scheduler>> = Mutex::new(None);

static HANDOVER: Handover<Continuation> = Handover::new();

/// For so long a piece of what was handed over may hold up the rest.
const HOLD_UP: Duration = Duration::from_millis(10);

/// Has the timer thread call `expire` at `deadline`; starts it if need be. What `expire` puts off
/// is done by other threads.
pub(crate) fn enter(
    deadline: Instant,
    expire: impl FnOnce(&mut Continuations) + Send + 'static,
) -> Result<Event<Instant>> {
    Ok(timer()?.enterabs(deadline, 0, move || hand_over(Continuations::putting_off(expire))))
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
    // Before the timer can hand anything over.
    if HANDOVER.wants_first_thread() {
        start_server()?;
    }
    let own = scheduler.clone();
    // Not joined: like the scheduler it lives as long as the process.
    spawn("concurrent-timer".into(), None, move || keep(&own)).map_err(cannot_start)?;
    *timer = Some(scheduler.clone());
    Ok(scheduler)
}

fn cannot_start(error: std::io::Error) -> Error {
    Error::ThreadStart(Cause::new(error))
}

fn keep(scheduler: &Scheduler) {
    // `run_forever` returns if an action panics. The timer's own actions run no user code.
    while let Err(error) = scheduler.run_forever() {
        hand_over(vec![Box::new(move |_| {
            contain("logging a failed deadline", || {
                log::error!(target: LOG_TARGET, "a deadline failed: {error}");
            });
        })]);
    }
}

fn hand_over(pieces: Vec<Continuation>) {
    if !pieces.is_empty() && HANDOVER.put(pieces) {
        check_later();
    }
}

fn check_later() {
    let timer = TIMER.lock().clone();
    if let Some(timer) = timer {
        timer.enter(HOLD_UP, 0, check);
    }
}

fn check() {
    match HANDOVER.check() {
        Progress::Idle => return,
        Progress::Busy => {}
        // If the system starts no thread now, it may later.
        Progress::Stalled => drop(start_server()),
    }
    check_later();
}

/// Starts a thread that is counted already.
fn start_server() -> Result<()> {
    // Not joined: the last of these threads never ends.
    let serve = || {
        let mut next = HANDOVER.first();
        while let Some(piece) = next {
            Continuations::with(|continuations| continuations.push(piece));
            next = HANDOVER.next();
        }
    };
    let started = spawn("concurrent-timeouts".into(), None, serve);
    started.map(drop).map_err(|error| {
        HANDOVER.thread_failed_to_start();
        cannot_start(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::{Future, Promise, join_all};

    /// How many deadlines are kept that pass later than any other test's.
    fn kept(longer_than: Duration) -> usize {
        let timer = TIMER.lock().clone();
        let since = Instant::now() + longer_than;
        timer.map_or(0, |timer| timer.queue().iter().filter(|event| event.time() > since).count())
    }

    #[test]
    fn a_call_that_ends_in_time_takes_its_deadline_with_it() {
        const LATER: Duration = Duration::from_secs(1_000_000);
        let limited = || {
            let (promise, future) = Promise::<u8>::pair();
            (promise, future.with_timeout(LATER + LATER))
        };
        let (promise, future) = limited();
        assert_eq!(kept(LATER), 1);
        promise.set_result(1).expect("it is pending");
        assert_eq!(kept(LATER), 0);
        drop(future);

        let (promise, future) = limited();
        promise.set_exception(Error::BrokenPromise).expect("it is pending");
        assert_eq!(kept(LATER), 0);
        assert!(future.into_result().is_err());

        let (_promise, future) = limited();
        assert!(future.cancel());
        assert_eq!(kept(LATER), 0);

        // Of those that are not needed any more, too; a dropped future keeps its deadline.
        let (one, other) = (limited(), limited());
        let both = join_all([one.1, other.1]).map(|all| all.len());
        assert_eq!(kept(LATER), 2);
        one.0.set_exception(Error::BrokenPromise).expect("it is pending");
        assert_eq!(kept(LATER), 0);
        assert!(both.into_result().is_err());

        let (promise, future) = limited();
        drop(future);
        assert_eq!(kept(LATER), 1);
        drop(promise);
        assert_eq!(kept(LATER), 0);
        drop(Future::ready(1).with_timeout(LATER + LATER));
        assert_eq!(kept(LATER), 0);
    }
}
