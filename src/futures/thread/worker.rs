//! The life of one worker thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::queue::{TaskRef, WorkerStatus, discard};
use super::shared::PoolShared;
use super::worker_local::{WorkerHook, drop_state, put_state};
use crate::LOG_TARGET;
use crate::error::{Cause, Error, Result};
use crate::futures::call::assist::{Begin, RunInPlace, WorkerContext, Working};
use crate::futures::call::cancel_token::StopFlag;
use crate::futures::call::current::{become_worker_of, leave_pool, thread_of, worker_of};
use crate::futures::call::run::RunObserver;
use crate::futures::call::state::Phase;
use crate::user_code::{catch, contain};

/// Whether this thread is a worker of `pool`, so that it cannot wait for the workers to end.
pub(crate) fn is_worker_of(pool: &PoolShared) -> bool {
    worker_of() == pool.id()
}

/// Whether this thread is a worker of `pool`, or was one and is about to end. A wait for the pool's
/// threads includes this one.
pub(crate) fn is_thread_of(pool: &PoolShared) -> bool {
    thread_of() == pool.id()
}

/// Runs calls until the pool ends.
pub(crate) fn work(pool: Arc<PoolShared>, status: Arc<WorkerStatus>) {
    become_worker_of(pool.id());
    // The loop reads both for each call, so it has owners of its own.
    let (own_pool, own_status) = (Arc::clone(&pool), Arc::clone(&status));
    let (over, has_over) = (RefCell::default(), Cell::new(false));
    let worker = Rc::new(Worker { pool, status, over, has_over });
    let (pool, status, queue) = (&own_pool, &*own_status, own_pool.queue());
    let at_work = Working::begin(Rc::clone(&worker) as Rc<dyn WorkerContext>);
    let hooks = &pool.settings().hooks;
    run_hook("on_worker_start", hooks.on_start.as_ref());
    match initialize(pool) {
        Ok(()) => {
            let start = |status, index| pool.start(status, index);
            let bounded = queue.capacity.is_some();
            let mut fresh = true;
            let mut ended = false;
            while !ended {
                // Calls contain the user's panics; this is for values that are dropped with them.
                contain("running a call", || {
                    while let Some(task) = queue.take(status, fresh, &start) {
                        fresh = false;
                        if bounded {
                            task.run_started(&*worker)
                        } else {
                            task.run(&*worker)
                        }
                        worker.drop_over();
                        status.lower();
                    }
                    ended = true;
                });
                status.lower();
            }
        }
        Err(cause) => break_pool(pool, cause),
    }
    drop_state();
    run_hook("on_worker_stop", hooks.on_stop.as_ref());
    drop(at_work);
    // Destructors of thread-locals run later. They may wait like any thread, but not for this one.
    leave_pool();
    queue.worker_ended(&own_status);
}

fn initialize(pool: &PoolShared) -> Result<()> {
    if let Some(initializer) = pool.initializer() {
        catch(|| initializer()).unwrap_or_else(|panic| Err(Error::Panicked(panic)))?;
    }
    if let Some(state) = &pool.settings().hooks.state {
        let state = catch(|| state()).unwrap_or_else(|panic| Err(Error::Panicked(panic)))?;
        put_state(state);
    }
    Ok(())
}

fn run_hook(name: &str, hook: Option<&WorkerHook>) {
    if let Some(hook) = hook {
        contain(name, || hook());
    }
}

fn break_pool(pool: &PoolShared, cause: Error) {
    let error = Error::BrokenThreadPool(Cause::new(cause));
    contain("logging a failed initializer", || {
        log::error!(target: LOG_TARGET, "Exception in initializer: {error}");
    });
    let queue = pool.queue();
    let given_up = queue.break_off(error.clone());
    discard(given_up.cancelled.into_iter().chain(given_up.in_place));
    for task in given_up.pending {
        match task.fail(error.clone()) {
            Phase::Pending => {}
            found => queue.was_not_pending(found, |counts| &mut counts.failed),
        }
    }
    contain("dropping the error of an initializer", || drop(error));
}

/// A worker in its loop; marks itself as busy or free.
struct Worker {
    pool: Arc<PoolShared>,
    status: Arc<WorkerStatus>,
    /// Ended tasks that it removed from the queue when it ran a call in place.
    over: RefCell<Vec<TaskRef>>,
    has_over: Cell<bool>,
}

impl Worker {
    /// Drops the tasks that it removed from the queue, which may hold user values; marked as busy
    /// meanwhile.
    #[inline]
    fn drop_over(&self) {
        if self.has_over.get() {
            self.has_over.set(false);
            self.status.raise_after_call();
            discard(self.over.take());
        }
    }
}

impl WorkerContext for Worker {
    fn run_in_place(&self) -> RunInPlace {
        self.pool.settings().run_in_place
    }

    fn begin_in_place(&self, unless_free: bool, start: &mut dyn FnMut() -> bool) -> Begin {
        self.drop_over();
        let start_worker = |status, index| self.pool.start(status, index);
        let mut over = Vec::new();
        let queue = self.pool.queue();
        let begun = queue.begin_nested(&self.status, unless_free, start, &mut over, &start_worker);
        if !over.is_empty() {
            self.over.borrow_mut().append(&mut over);
            self.has_over.set(true);
        }
        begun
    }

    fn ended(&self, failed: bool) {
        self.status.ended(failed);
    }

    fn stop_flag(&self) -> StopFlag {
        self.pool.stop_flag()
    }
}

impl RunObserver for Worker {
    fn begins(&self) {
        self.status.begins();
    }

    fn found_cancelled(&self) {
        self.status.found_cancelled();
    }

    fn ended(&self, failed: bool) {
        self.status.ended(failed);
    }

    fn leaves_user_code(&self) {
        self.status.lower();
    }

    fn enters_user_code(&self) {
        self.pool
            .queue()
            .enter_user_code(&self.status, &|status, index| self.pool.start(status, index));
    }

    fn stop_flag(&self) -> Option<StopFlag> {
        Some(self.pool.stop_flag())
    }
}
