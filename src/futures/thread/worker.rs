//! The life of one worker thread.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use super::life_settings::Hook;
use super::pool::Shared;
use super::queue::Flag;
use super::state::{drop_state, put_state};
use crate::LOG_TARGET;
use crate::error::{Cause, Error, Result};
use crate::futures::call::context::{become_worker_of, worker_of};
use crate::futures::call::job::Stage;
use crate::futures::call::token::StopFlag;
use crate::guard::{catch, contain};
use crate::sync::thread_local_static;

thread_local_static! {
    /// The worker that this thread is, if it is one.
    ///
    /// INVARIANT: null, or what [`AtWork::begins`] was given, whose guard is alive.
    OWN: Cell<*const AtWork<'static>> = Cell::new(ptr::null())
}

/// Asks the worker that this thread is; `None` if it is none.
fn ask_own<R>(question: impl FnOnce(&AtWork<'_>) -> R) -> Option<R> {
    let own = OWN.try_with(Cell::get).ok()?;
    // SAFETY: by the invariant it is alive, and it cannot end before this returns: the frame that
    // it is in is below this one on the same stack. It is shared here as there.
    Some(question(unsafe { own.as_ref() }?))
}

/// Lets a worker that waits for a queued call start it by `start`, and counts it if it does.
///
/// `start` runs under a lock, so that nobody sees the call counted twice or not at all.
pub(crate) fn begin_nested(start: impl FnOnce() -> bool) -> bool {
    let mut start = Some(start);
    let mut begin = || start.take().is_some_and(|start| start());
    let asked = ask_own(|own| own.pool.queue().begin_nested(own.flag, &mut begin));
    asked.unwrap_or_else(begin)
}

/// The stage of a call that a waiting worker runs in place.
pub(crate) struct Nested;

impl Stage for Nested {
    fn ended(&self, failed: bool) {
        ask_own(|own| own.flag.ended(failed));
    }
    fn leaves_user_code(&self) {}
    fn enters_user_code(&self) {}
    fn stop_flag(&self) -> Option<StopFlag> {
        ask_own(|own| own.pool.stop_flag())
    }
}

/// Whether this thread is a worker of `pool`, so that it cannot wait for the workers to end.
pub(crate) fn is_worker_of(pool: &Shared) -> bool {
    worker_of() == pool.id()
}

/// Runs calls until the pool ends.
pub(crate) fn work(pool: &Arc<Shared>, flag: &Arc<Flag>) {
    become_worker_of(pool.id());
    let stage = AtWork { pool, flag };
    let at_work = stage.begins();
    let hooks = &pool.settings().hooks;
    run_hook("on_worker_start", hooks.on_start.as_ref());
    match initialize(pool) {
        Ok(()) => {
            let start = |flag, index| pool.start(flag, index);
            let mut fresh = true;
            let mut ended = false;
            while !ended {
                // Calls contain the user's panics; this is for what is dropped with them.
                contain("running a call", || {
                    while let Some(job) = pool.queue().take(flag, fresh, &start) {
                        fresh = false;
                        job.run(&stage);
                        flag.settle();
                        flag.lower();
                    }
                    ended = true;
                });
                flag.settle();
                flag.lower();
            }
        }
        Err(cause) => break_pool(pool, cause),
    }
    drop_state();
    run_hook("on_worker_stop", hooks.on_stop.as_ref());
    drop(at_work);
    pool.queue().worker_ended(flag);
}

fn initialize(pool: &Shared) -> Result<()> {
    if let Some(initializer) = pool.initializer() {
        catch(|| initializer()).unwrap_or_else(|panic| Err(Error::Panicked(panic)))?;
    }
    if let Some(state) = &pool.settings().hooks.state {
        let state = catch(|| state()).unwrap_or_else(|panic| Err(Error::Panicked(panic)))?;
        put_state(state);
    }
    Ok(())
}

fn run_hook(name: &str, hook: Option<&Hook>) {
    if let Some(hook) = hook {
        contain(name, || hook());
    }
}

fn break_pool(pool: &Shared, cause: Error) {
    let error = Error::BrokenThreadPool(Cause::new(cause));
    contain("logging a failed initializer", || {
        log::error!(target: LOG_TARGET, "Exception in initializer: {error}");
    });
    for job in pool.queue().break_off(error.clone()) {
        job.fail(error.clone());
    }
}

/// A worker in its loop; tells the queue whether it is inside of user code.
struct AtWork<'a> {
    pool: &'a Arc<Shared>,
    flag: &'a Arc<Flag>,
}

/// As long as this is there, the thread knows which worker it is.
struct Begun<'a>(PhantomData<&'a AtWork<'a>>);

impl AtWork<'_> {
    fn begins(&self) -> Begun<'_> {
        OWN.with(|own| own.set(ptr::from_ref(self).cast()));
        Begun(PhantomData)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let _ = OWN.try_with(|own| own.set(ptr::null()));
    }
}

impl Stage for AtWork<'_> {
    fn begins(&self) {
        self.flag.begins();
    }

    fn found_cancelled(&self) {
        self.flag.found_cancelled();
    }

    fn ended(&self, failed: bool) {
        self.flag.ended(failed);
    }

    fn leaves_user_code(&self) {
        self.flag.lower();
    }

    fn enters_user_code(&self) {
        self.pool.queue().enter_user_code(self.flag, &|flag, index| self.pool.start(flag, index));
    }

    fn stop_flag(&self) -> Option<StopFlag> {
        Some(self.pool.stop_flag())
    }
}
