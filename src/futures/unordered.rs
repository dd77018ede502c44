//! The calls of an unordered map, handed out as they are done.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Future;
use super::map::Piece;
use super::waiter::{Signal, Until, Waiter};

pub(crate) struct Unordered<R> {
    /// Slots are reused, so that an endless input takes no endless memory.
    slots: Vec<Option<Piece<R>>>,
    free: Vec<usize>,
    ready: VecDeque<usize>,
    signal: Arc<Signal>,
}

impl<R> Unordered<R> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), ready: VecDeque::new(), signal: Signal::new() }
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

    /// The next call that is done; `None` if time ran out before, or if there is none.
    pub(crate) fn next_done(&mut self, deadline: Option<Instant>) -> Option<Piece<R>> {
        if self.ready.is_empty() {
            let none_left = self.free.len() == self.slots.len();
            if none_left || !self.signal.wait(Until::ONE, deadline) {
                return None;
            }
            self.signal.take_ended(&mut self.ready);
        }
        let slot = self.ready.pop_front()?;
        self.free.push(slot);
        self.slots[slot].take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Piece<R>> {
        self.slots.iter().flatten()
    }
}

/// Has `call` report its end; false if it is done already.
fn watch<T>(call: &Future<T>, signal: &Arc<Signal>, slot: usize) -> bool {
    call.call().core().register(Waiter::Done(Arc::clone(signal), slot)).is_ok()
}
