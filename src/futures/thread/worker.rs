//! The life of one worker thread.

use std::sync::Arc;

use super::pool::Shared;
use super::queue::Flag;
use crate::LOG_TARGET;
use crate::error::{Cause, Error, Result};
use crate::futures::context::{become_worker_of, worker_of};
use crate::futures::job::Stage;
use crate::guard::{catch, contain};

/// Whether this thread is a worker of `pool`, so that it cannot wait for the workers to end.
pub(crate) fn is_worker_of(pool: &Shared) -> bool {
    // Thread-locals are gone while a thread ends; its destructors may still drop a pool.
    worker_of().is_none_or(|own| own == pool.id())
}

/// Runs calls until the pool ends.
pub(crate) fn work(pool: &Arc<Shared>, flag: &Arc<Flag>) {
    become_worker_of(pool.id());
    match initialize(pool) {
        Ok(()) => {
            let stage = AtWork { pool, flag };
            let start = |flag, index| pool.start(flag, index);
            let mut fresh = true;
            while let Some(job) = pool.queue().take(flag, fresh, &start) {
                fresh = false;
                // Calls contain the user's panics; this is for what is dropped with them.
                contain("running a call", || job.run(&stage));
                flag.lower();
            }
        }
        Err(cause) => break_pool(pool, cause),
    }
    pool.queue().worker_ended(flag);
}

fn initialize(pool: &Shared) -> Result<()> {
    match pool.initializer() {
        Some(initializer) => catch(|| initializer()).unwrap_or_else(|p| Err(Error::Panicked(p))),
        None => Ok(()),
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

/// Tells the queue whether this worker is inside of user code.
struct AtWork<'a> {
    pool: &'a Arc<Shared>,
    flag: &'a Arc<Flag>,
}

impl Stage for AtWork<'_> {
    fn leaves_user_code(&self) {
        self.flag.lower();
    }

    fn enters_user_code(&self) {
        self.pool.queue().enter_user_code(self.flag, &|flag, index| self.pool.start(flag, index));
    }
}
