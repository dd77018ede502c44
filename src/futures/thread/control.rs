//! [`Control`]: what is under the control lock, and the record of one [`Worker`].

use std::collections::VecDeque;
use std::sync::Arc;

use super::bounded::Blocked;
use super::store::Store;
use crate::error::Error;
use crate::sync::{AtomicBool, JoinHandle, Ordering};

#[derive(Debug)]
pub(crate) struct Control {
    pub(super) incoming: Store,
    /// INVARIANT: workers that are inside `wake.wait`, woken or not.
    pub(super) sleeping: usize,
    /// INVARIANT: of those, how many were notified and have not run since; at most `sleeping`.
    pub(super) notified: usize,
    pub(super) workers: Vec<Worker>,
    /// Workers that have not left their loop.
    pub(super) alive: usize,
    /// Threads taken out of `workers` by somebody who is joining them.
    pub(super) joining: usize,
    pub(super) max_workers: usize,
    pub(super) closed: bool,
    pub(super) broken: Option<Error>,
    /// Bounded queue: calls that hold a [`Place`](super::bounded::Place), blocked ones included.
    pub(super) places: usize,
    /// INVARIANT: if somebody is blocked, the queue is full, or somebody is about to give back a
    /// place. The longest waiting first, so that tickets rise.
    pub(super) blocked: VecDeque<Blocked>,
    pub(super) next_ticket: u64,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) flag: Arc<Flag>,
    pub(super) thread: JoinHandle<()>,
}

/// A worker's word on whether it is inside of user code. On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Flag {
    busy: AtomicBool,
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Self { busy: AtomicBool::new(false) })
    }

    pub(super) fn raise(&self) {
        self.busy.store(true, Ordering::Relaxed); // ORDERING: read under the same lock
    }

    /// Says that this worker looks at the queue next.
    pub(crate) fn lower(&self) {
        // ORDERING: Relaxed suffices for those who saw the result: it is published after this
        // with Release. Others may see it late and start a worker too many.
        self.busy.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_raised(&self) -> bool {
        self.busy.load(Ordering::Relaxed) // ORDERING: see `raise` and `lower`
    }
}

/// What is left of a queue's work, as a count of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    /// Submitters that wait for room.
    pub(crate) blocked: usize,
}

/// Starts a worker that owns this flag.
pub(crate) type Start<'a> = &'a dyn Fn(Arc<Flag>, usize) -> std::io::Result<JoinHandle<()>>;

impl Control {
    pub(super) fn new(incoming: Store, max_workers: usize) -> Self {
        Self {
            incoming,
            sleeping: 0,
            notified: 0,
            workers: Vec::new(),
            alive: 0,
            joining: 0,
            max_workers,
            closed: false,
            broken: None,
            places: 0,
            blocked: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Why no more calls are taken.
    pub(super) fn refusal(&self) -> Option<Error> {
        // Broken wins over shut down, as in Python.
        self.broken.clone().or_else(|| self.closed.then_some(Error::Shutdown))
    }

    /// Starts a worker if there is none. Done before a call is queued: if it fails, nobody but
    /// the caller is hurt.
    pub(super) fn ensure_worker(&mut self, start: Start<'_>) -> Result<(), Error> {
        if !self.workers.is_empty() {
            return Ok(());
        }
        self.start_worker(start).map_err(|error| Error::ThreadStart(Arc::new(error)))
    }

    pub(super) fn start_worker(&mut self, start: Start<'_>) -> std::io::Result<()> {
        let flag = Flag::new();
        let thread = start(Arc::clone(&flag), self.workers.len())?;
        self.workers.push(Worker { flag, thread });
        self.alive += 1;
        Ok(())
    }

    /// Whether to notify a sleeper: one sleeps, and none is on its way already.
    pub(super) fn wake_one(&mut self) -> bool {
        let wake = self.sleeping > 0 && self.notified == 0;
        self.notified += usize::from(wake);
        wake
    }
}
