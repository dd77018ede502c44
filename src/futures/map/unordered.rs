//! The calls of an unordered map, handed out as they are done.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::waiter::{Signal, Until, Waiter};
use crate::futures::deadlock::{self, Goal};
use crate::futures::map::Piece;

pub(crate) struct Unordered<R> {
    /// Slots are reused, so that an endless input takes no endless memory.
    slots: Vec<Option<Piece<R>>>,
    free: Vec<usize>,
    ready: VecDeque<usize>,
    signal: Arc<Signal>,
    /// The slot that was last looked at for running its call in place.
    cursor: usize,
}

impl<R> Unordered<R> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            signal: Signal::new(),
            cursor: 0,
        }
    }

    pub(crate) fn insert(&mut self, piece: Piece<R>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let watched = match &piece {
            Piece::One(call) => watch(call, &self.signal, slot),
            Piece::Chunk(call) => watch(call, &self.signal, slot),
        };
        if !watched {
            self.ready.push_back(slot);
        }
        self.slots[slot] = Some(piece);
    }

    /// The next call that is done; `None` if there is none left.
    pub(crate) fn next_done(&mut self, deadline: Option<Instant>) -> Result<Option<Piece<R>>> {
        if self.ready.is_empty() {
            let left = self.slots.len() - self.free.len();
            if left == 0 {
                return Ok(None);
            }
            match deadline {
                Some(_) if self.signal.wait(Until::ONE, deadline) => {}
                Some(_) => return Err(Error::Timeout { unfinished: left, total: left }),
                None => self.wait_in_call()?,
            }
            self.signal.take_ended(&mut self.ready);
        }
        let Some(slot) = self.ready.pop_front() else { return Ok(None) };
        self.free.push(slot);
        Ok(self.slots[slot].take())
    }

    /// Waits without a time limit, running in place what waits for this worker.
    fn wait_in_call(&mut self) -> Result<()> {
        for _ in 0..self.slots.len() {
            if self.signal.holds(Until::ONE) {
                return Ok(());
            }
            // Where the last look ended: each call is looked at once a round.
            self.cursor = (self.cursor + 1) % self.slots.len();
            if let Some(piece) = &self.slots[self.cursor] {
                piece.help();
            }
        }
        let awaited = || self.slots.iter().flatten().map(Piece::awaited).collect();
        let help_all = || {
            for piece in self.iter().take_while(|_| !self.signal.holds(Until::ONE)) {
                piece.help();
            }
        };
        deadlock::wait(&self.signal, Until::ONE, Goal::Any, awaited, help_all)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Piece<R>> {
        self.slots.iter().flatten()
    }
}

/// Has `call` report its end; false if it is done already.
fn watch<T>(call: &Future<T>, signal: &Arc<Signal>, slot: usize) -> bool {
    call.call().core().register(Waiter::Done(Arc::clone(signal), slot)).is_ok()
}
