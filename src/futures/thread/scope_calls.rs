//! The calls of one scope: which are pending, what waits until all are gone.

use std::collections::VecDeque;
use std::sync::Arc;

use super::pool::Shared;
use super::worker::is_worker_of;
use crate::futures::Future;
use crate::futures::call::{AnyCall, Call, Elsewhere, Job, Run};
use crate::guard::contain;
use crate::sync::{Condvar, Mutex, wait_until};

/// Runs `call` in this thread, unless it was started or cancelled.
pub(super) fn run_in_place(call: &Arc<ScopedCall>) {
    contain("running a call", || Arc::clone(call).run(&Elsewhere));
}

/// What the calls of scopes are named for: the name of a function that borrows cannot be had.
pub(super) struct Borrowing;

pub(super) type ScopedCall = Call<(), Job<Box<dyn FnOnce() + Send>, Borrowing>>;

/// The calls of one scope.
pub(super) struct Calls {
    state: Mutex<State>,
    /// Notified when the last ticket goes, and when a call is added.
    changed: Condvar,
}

struct State {
    /// INVARIANT: how many [`Ticket`]s there are.
    tickets: usize,
    /// In the order spawned. Has all that may be pending or running, and lost failures.
    known: VecDeque<Arc<ScopedCall>>,
    /// With this many calls known, those that are of no interest any more are forgotten.
    sweep_at: usize,
}

/// How many calls a scope knows before it looks for those that it may forget.
const FIRST_SWEEP: usize = 64;

/// One task of a scope that was neither called nor dropped.
pub(super) struct Ticket(Arc<Calls>);

impl Ticket {
    pub(super) fn of(calls: &Arc<Calls>) -> Self {
        calls.state.lock().tickets += 1;
        Self(Arc::clone(calls))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let last = {
            let mut state = self.0.state.lock();
            state.tickets -= 1;
            state.tickets == 0
        };
        if last {
            self.0.changed.notify_all();
        }
    }
}

/// Blocks when dropped until no ticket is left.
pub(super) struct WaitsOnDrop<'a>(pub(super) &'a Calls);

impl Drop for WaitsOnDrop<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        while state.tickets > 0 {
            wait_until(&self.0.changed, &mut state, None);
        }
    }
}

impl Calls {
    pub(super) fn new() -> Arc<Self> {
        let state = State { tickets: 0, known: VecDeque::new(), sweep_at: FIRST_SWEEP };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    pub(super) fn add(&self, call: Arc<ScopedCall>) {
        let _forgotten = {
            let mut state = self.state.lock();
            state.known.push_back(call);
            if state.known.len() < state.sweep_at { VecDeque::new() } else { state.sweep() }
        }; // dropped without the lock: an error may hold what is the user's
        self.changed.notify_all();
    }

    /// How many calls were neither called and returned nor dropped.
    pub(super) fn unfinished(&self) -> usize {
        self.state.lock().tickets
    }

    /// The call number `index`, counted from the earliest that is known.
    fn nth(&self, index: usize) -> Option<Arc<ScopedCall>> {
        self.state.lock().known.get(index).cloned()
    }

    pub(super) fn cancel_pending(&self) {
        let mut index = 0;
        while let Some(call) = self.nth(index) {
            Run::cancel(call);
            index += 1;
        }
    }

    /// Waits until all calls have ended and no ticket is left. Returns the first failure that nobody
    /// looked at.
    pub(super) fn wait(&self, pool: &Arc<Shared>) -> Option<Future<()>> {
        let in_worker = is_worker_of(pool);
        let mut failed = None;
        loop {
            let mut index = 0;
            // Before it waits for any that runs. What a sweep moves out of its way comes below.
            while let Some(call) = self.nth(index).filter(|_| in_worker) {
                run_in_place(&call);
                index += 1;
            }
            while let Some(call) = self.earliest() {
                if in_worker {
                    run_in_place(&call);
                }
                let call = Future::from_call(call as AnyCall<()>);
                let _ = call.wait_until(None);
                if failed.is_none() && call.call().core().state().is_lost_failure() {
                    failed = Some(call);
                }
            }
            // All known calls are done. A destructor of a cancelled one may still be at work, and
            // even spawn.
            let mut state = self.state.lock();
            while state.known.is_empty() {
                if state.tickets == 0 {
                    return failed;
                }
                wait_until(&self.changed, &mut state, None);
            }
        }
    }

    fn earliest(&self) -> Option<Arc<ScopedCall>> {
        self.state.lock().known.pop_front()
    }
}

impl State {
    /// Takes out the calls that are done and whose failure, if any, was looked at.
    fn sweep(&mut self) -> VecDeque<Arc<ScopedCall>> {
        let known = std::mem::take(&mut self.known);
        let (kept, done) = known.into_iter().partition(|call| {
            let state = call.core().state();
            !state.is_done() || state.is_lost_failure()
        });
        self.known = kept;
        self.sweep_at = FIRST_SWEEP.max(2 * self.known.len());
        done
    }
}
