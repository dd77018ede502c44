//! How the timer hands user code over to other threads: a queue, and the threads that serve it.
//!
//! One thread is enough while each piece of code returns. But a callback may block, even for a
//! piece that is later in the queue: a continuation of another deadline. So the timer checks after
//! a while: if no piece was taken meanwhile and one is left, it starts a further thread. That
//! thread ends when it finds the queue empty and another thread free. So a piece that blocks delays
//! no other piece, and there are no more threads than pieces that block, plus one.
//!
//! Pure but for the lock: the callers start the threads and do the checks.

use std::collections::VecDeque;

use crate::sync::{Condvar, Mutex, MutexGuard, wait_until};

/// The pieces that wait for a thread, and the number of threads.
pub(crate) struct Handover<P> {
    state: Mutex<HandoverState<P>>,
    /// Notified for each piece that a free thread is to take.
    wake: Condvar,
}

struct HandoverState<P> {
    pieces: VecDeque<P>,
    threads: usize,
    /// How many of them have not begun yet.
    coming: usize,
    /// How many of them are asleep, or about to wake up: at most one.
    free: usize,
    /// How many pieces were taken in all.
    taken: u64,
    /// `taken` at the latest check, if there will be another check.
    watched: Option<u64>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No piece is left: no further check is needed.
    Idle,
    /// Pieces are left, and the threads make progress: check again.
    Busy,
    /// Pieces are left, and none was taken since the last check: start a thread, which is counted
    /// already, and check again.
    Stalled,
}

impl<P> Handover<P> {
    #[cfg(not(concurrent_loom))]
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new(HandoverState::new()), wake: Condvar::new() }
    }

    #[cfg(concurrent_loom)]
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(HandoverState::new()), wake: Condvar::new() }
    }

    /// Counts the first thread; true if the caller is to start it.
    pub(crate) fn wants_first_thread(&self) -> bool {
        let mut state = self.state.lock();
        let first = state.threads == 0;
        state.threads += usize::from(first);
        state.coming += usize::from(first);
        first
    }

    /// A thread that was counted already could not be started.
    #[cfg_attr(concurrent_loom, expect(dead_code, reason = "loom always has threads"))]
    pub(crate) fn thread_failed_to_start(&self) {
        let mut state = self.state.lock();
        state.threads -= 1;
        state.coming -= 1;
    }

    /// Leaves `pieces` to the threads; returns whether the caller must [check](Self::check) after a
    /// while.
    #[must_use = "a piece that blocks would delay the others"]
    pub(crate) fn put(&self, pieces: Vec<P>) -> bool {
        let mut state = self.state.lock();
        let to_wake = state.free.min(pieces.len());
        state.pieces.extend(pieces);
        let check = state.watched.is_none() && state.pieces.len() > state.free;
        if check {
            state.watched = Some(state.taken);
        }
        drop(state);
        for _ in 0..to_wake {
            self.wake.notify_one();
        }
        check
    }

    /// Makes sure that a piece that blocks does not delay the others.
    pub(crate) fn check(&self) -> Progress {
        let mut state = self.state.lock();
        if state.pieces.is_empty() {
            state.watched = None;
            return Progress::Idle;
        }
        let stalled = state.watched == Some(state.taken) && state.free == 0 && state.coming == 0;
        state.watched = Some(state.taken);
        state.threads += usize::from(stalled);
        state.coming += usize::from(stalled);
        if stalled { Progress::Stalled } else { Progress::Busy }
    }

    /// The first piece for a thread that has just started; `None` if it must end.
    pub(crate) fn first(&self) -> Option<P> {
        let mut state = self.state.lock();
        state.coming -= 1;
        self.take(state)
    }

    /// The next piece for this thread; `None` if it must end.
    pub(crate) fn next(&self) -> Option<P> {
        self.take(self.state.lock())
    }

    fn take(&self, mut state: MutexGuard<'_, HandoverState<P>>) -> Option<P> {
        loop {
            if let Some(piece) = state.pieces.pop_front() {
                state.taken += 1;
                return Some(piece);
            }
            if state.free > 0 {
                state.threads -= 1;
                return None;
            }
            state.free += 1;
            wait_until(&self.wake, &mut state, None);
            state.free -= 1;
        }
    }
}

impl<P> HandoverState<P> {
    const fn new() -> Self {
        Self { pieces: VecDeque::new(), threads: 0, coming: 0, free: 0, taken: 0, watched: None }
    }
}

#[cfg(test)]
mod tests;
