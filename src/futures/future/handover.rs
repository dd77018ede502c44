//! How the timer hands over what runs code of users: a queue, and the threads that serve it.
//!
//! One thread is enough as long as what it runs returns. A callback may block, though, and for
//! something that comes later in the queue: another deadline's follow-up. So the timer looks again
//! after a while: if nothing was taken meanwhile and something is left, a further thread starts. It
//! ends when it finds nothing to do and another one free. What blocks holds up nothing else, then,
//! however it blocks, and threads are not more than pieces that block.
//!
//! Pure but for the lock: who is told to start a thread, or to look again, does it.

use std::collections::VecDeque;

use crate::sync::{Condvar, Mutex, MutexGuard, wait_until};

/// What waits for a thread, and how many of these there are.
pub(crate) struct Handover<P> {
    desk: Mutex<HandoverState<P>>,
    /// Rung for each piece that a free thread is to take.
    bell: Condvar,
}

struct HandoverState<P> {
    pieces: VecDeque<P>,
    threads: usize,
    /// Those of them that have not begun yet.
    coming: usize,
    /// Those of them that are asleep, or about to wake up: one at most.
    free: usize,
    /// How many pieces were taken, ever.
    taken: u64,
    /// As of the latest look, if there is to be another.
    watched: Option<u64>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is left: no further look.
    Idle,
    /// Something is left, and the threads get on: look again.
    Busy,
    /// Something is left, and nothing was taken since the last look: start a thread, look again. The
    /// thread counts already.
    Stalled,
}

impl<P> Handover<P> {
    #[cfg(not(concurrent_loom))]
    pub(crate) const fn new() -> Self {
        Self { desk: Mutex::new(HandoverState::new()), bell: Condvar::new() }
    }

    #[cfg(concurrent_loom)]
    pub(crate) fn new() -> Self {
        Self { desk: Mutex::new(HandoverState::new()), bell: Condvar::new() }
    }

    /// Counts the first thread; true if the caller is to start it.
    pub(crate) fn wants_first_thread(&self) -> bool {
        let mut desk = self.desk.lock();
        let first = desk.threads == 0;
        desk.threads += usize::from(first);
        desk.coming += usize::from(first);
        first
    }

    /// A thread that counted already could not be started.
    #[cfg_attr(concurrent_loom, expect(dead_code, reason = "loom always has threads"))]
    pub(crate) fn thread_failed_to_start(&self) {
        let mut desk = self.desk.lock();
        desk.threads -= 1;
        desk.coming -= 1;
    }

    /// Leaves `pieces` to the threads; true if the caller is to [look](Self::look) after a while.
    #[must_use = "what blocks would hold up the rest"]
    pub(crate) fn put(&self, pieces: Vec<P>) -> bool {
        let mut desk = self.desk.lock();
        let to_wake = desk.free.min(pieces.len());
        desk.pieces.extend(pieces);
        let look = desk.watched.is_none() && desk.pieces.len() > desk.free;
        if look {
            desk.watched = Some(desk.taken);
        }
        drop(desk);
        for _ in 0..to_wake {
            self.bell.notify_one();
        }
        look
    }

    /// Sees to it that a piece that blocks does not hold up the rest.
    pub(crate) fn look(&self) -> Progress {
        let mut desk = self.desk.lock();
        if desk.pieces.is_empty() {
            desk.watched = None;
            return Progress::Idle;
        }
        let stalled = desk.watched == Some(desk.taken) && desk.free == 0 && desk.coming == 0;
        desk.watched = Some(desk.taken);
        desk.threads += usize::from(stalled);
        desk.coming += usize::from(stalled);
        if stalled { Progress::Stalled } else { Progress::Busy }
    }

    /// The first piece for a thread that has just started; `None` if it is to end.
    pub(crate) fn first(&self) -> Option<P> {
        let mut desk = self.desk.lock();
        desk.coming -= 1;
        self.take(desk)
    }

    /// The next piece for this thread; `None` if it is to end.
    pub(crate) fn next(&self) -> Option<P> {
        self.take(self.desk.lock())
    }

    fn take(&self, mut desk: MutexGuard<'_, HandoverState<P>>) -> Option<P> {
        loop {
            if let Some(piece) = desk.pieces.pop_front() {
                desk.taken += 1;
                return Some(piece);
            }
            if desk.free > 0 {
                desk.threads -= 1;
                return None;
            }
            desk.free += 1;
            wait_until(&self.bell, &mut desk, None);
            desk.free -= 1;
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
