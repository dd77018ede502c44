//! The queue: small keys in order over a slab of actions.
//!
//! Pure: no clock, no lock, no thread.
//!
//! ```text
//! keys   [ time rank sequence slot | ... ]     least first, some of them dead
//!                              |
//! slots  [ id action | vacant | away (its action is running) | ... ]
//! ```
//!
//! A cancel takes the action out of its slot, which is free for the next event at once. The key
//! stays behind as a dead key: it is older than the next event in the slot. Dead keys are removed
//! when they come first, and all together when they are more than half. So a cancel takes constant
//! time on average, and dead keys never outnumber the live ones.
//!
//! Sequences have 64 bits and are never used again, so a stale ticket finds no event.

use std::hint::black_box;
use std::ops::{Index, IndexMut};

use super::key::Key;
use super::key_queue::KeyQueue;

/// The number of slots that are likely to stay in the processor's cache.
const CACHED_SLOTS: usize = if cfg!(test) { 16 } else { 8192 };

/// Finds an event again, from its handle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventTicket {
    slot: u32,
    /// The sequence of the first entry; a recurrence keeps it.
    pub(crate) id: u64,
}

/// As small as possible, because in a long queue each access is a cache miss.
#[derive(Debug)]
#[repr(C)] // the tag of the action comes first, the id last, because `pop` loads both ends
struct Slot<A> {
    /// `None` in an occupied slot means that the action runs, and will be entered again. The ticket
    /// stays valid.
    action: Option<A>,
    /// In a vacant slot: [`VACANT`] plus the index of the next vacant one; no ticket has it, and it
    /// is greater than any sequence.
    ///
    /// INVARIANT: not greater than the sequence of the slot's live key, but greater than that of
    /// any dead one.
    id: u64,
}

/// Marks a vacant slot; greater than any sequence.
const VACANT: u64 = 1 << 63;

/// The end of the list of vacant slots.
const NONE: u32 = u32::MAX;

/// The size of an event without its key.
#[cfg(test)]
pub(crate) fn slot_size<A>() -> usize {
    size_of::<Slot<A>>()
}

/// An event that was removed to run.
#[derive(Debug)]
pub(crate) struct PoppedEvent<T, A> {
    pub(crate) key: Key<T>,
    pub(crate) ticket: EventTicket,
    pub(crate) action: A,
}

/// A cancelled event.
pub(crate) struct Cancelled<A> {
    /// `None` if the action was running.
    pub(crate) action: Option<A>,
    /// Whether it was the first to run.
    pub(crate) first: bool,
}

/// Slots in chunks, so that growing moves none of them.
#[derive(Debug)]
struct Slots<A> {
    /// INVARIANT: all but the last are full.
    chunks: Vec<Vec<Slot<A>>>,
}

impl<A> Slots<A> {
    const CHUNK: usize = 1024;

    fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    fn len(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * Self::CHUNK;
        full + self.chunks.last().map_or(0, Vec::len)
    }

    #[inline]
    fn push(&mut self, slot: Slot<A>) -> u32 {
        let index = u32::try_from(self.len()).ok().filter(|index| *index != NONE);
        let index = index.expect("fewer than 2^32 - 1 events are queued");
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < Self::CHUNK => chunk.push(slot),
            // The first chunk grows on demand, because most schedulers never fill it.
            None => self.chunks.push(vec![slot]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(Self::CHUNK);
                chunk.push(slot);
                self.chunks.push(chunk);
            }
        }
        index
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Slot<A>> {
        self.chunks.get_mut(index as usize / Self::CHUNK)?.get_mut(index as usize % Self::CHUNK)
    }
}

impl<A> Index<u32> for Slots<A> {
    type Output = Slot<A>;

    fn index(&self, index: u32) -> &Slot<A> {
        &self.chunks[index as usize / Self::CHUNK][index as usize % Self::CHUNK]
    }
}

impl<A> IndexMut<u32> for Slots<A> {
    fn index_mut(&mut self, index: u32) -> &mut Slot<A> {
        &mut self.chunks[index as usize / Self::CHUNK][index as usize % Self::CHUNK]
    }
}

#[derive(Debug)]
pub(crate) struct EventQueue<T, A> {
    /// INVARIANT: the first, if any, is live, and so is at least half.
    keys: KeyQueue<T>,
    slots: Slots<A>,
    /// The first vacant slot, or [`NONE`].
    vacant: u32,
    live: usize,
    next_sequence: u64,
}

impl<T: Copy + Ord, A> EventQueue<T, A> {
    /// With `bounded_latency` no operation sorts, see `key_queue.rs`.
    pub(crate) fn new(bounded_latency: bool) -> Self {
        let keys = KeyQueue::new(bounded_latency);
        Self { keys, slots: Slots::new(), vacant: NONE, live: 0, next_sequence: 0 }
    }

    /// The number of queued events, without those that run.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// The sequence that the next event gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The first to run.
    pub(crate) fn first(&self) -> Option<&Key<T>> {
        self.keys.first()
    }

    /// Enters an event; also returns whether it is now the first to run.
    #[inline]
    pub(crate) fn push(&mut self, time: T, rank: i32, action: A) -> (EventTicket, bool) {
        let id = self.next_sequence;
        let index = self.vacant;
        let index = if index == NONE {
            self.slots.push(Slot { id, action: Some(action) })
        } else {
            let slot = &mut self.slots[index];
            self.vacant = slot.id as u32; // VACANT is beyond these bits
            slot.action = Some(action);
            slot.id = id;
            index
        };
        let first = self.push_key(time, rank, index);
        (EventTicket { slot: index, id }, first)
    }

    /// Removes the first event. If `away` returns true, its ticket stays valid for
    /// [`reenter`](Self::reenter).
    #[inline]
    pub(crate) fn pop(&mut self, away: impl FnOnce(&A) -> bool) -> Option<PoppedEvent<T, A>> {
        loop {
            let (key, upcoming) = self.keys.pop()?;
            if !upcoming.is_empty() && self.slots.len() > CACHED_SLOTS {
                // The slots are anywhere in memory. Loaded together, their cache misses overlap.
                for key in upcoming {
                    let slot = &self.slots[key.slot()];
                    black_box((slot.action.is_some(), slot.id)); // its two ends
                }
            }
            let slot = &mut self.slots[key.slot()];
            let id = slot.id;
            // The first key is live, unless the comparison contradicts itself.
            let Some(action) = slot.action.take_if(|_| id <= key.sequence) else { continue };
            let ticket = EventTicket { slot: key.slot(), id };
            self.live -= 1;
            if !away(&action) {
                slot.id = VACANT | u64::from(self.vacant);
                self.vacant = key.slot();
            }
            self.settle();
            return Some(PoppedEvent { key, ticket, action });
        }
    }

    /// Enters an event again that [`pop`](Self::pop) has removed to run, with the same ticket;
    /// returns whether it is now the first to run, or the action if the event was cancelled
    /// meanwhile.
    pub(crate) fn reenter(
        &mut self,
        ticket: EventTicket,
        time: T,
        rank: i32,
        action: A,
    ) -> Result<bool, A> {
        match self.slots.get_mut(ticket.slot) {
            Some(slot) if slot.id == ticket.id && slot.action.is_none() => {
                slot.action = Some(action);
            }
            _ => return Err(action),
        }
        Ok(self.push_key(time, rank, ticket.slot))
    }

    /// Cancels the event, whether it is queued or runs; `None` if it is neither.
    pub(crate) fn cancel(&mut self, ticket: EventTicket) -> Option<Cancelled<A>> {
        let slot = self.slots.get_mut(ticket.slot).filter(|slot| slot.id == ticket.id)?;
        let action = slot.action.take();
        slot.id = VACANT | u64::from(self.vacant);
        self.vacant = ticket.slot;
        let mut first = false;
        if action.is_some() {
            self.live -= 1;
            first = self.keys.first().is_some_and(|key| key.slot() == ticket.slot);
            self.settle();
        }
        Some(Cancelled { action, first })
    }

    /// Cancels all events. Returns the queued actions, and how many others run.
    pub(crate) fn clear(&mut self) -> (Vec<A>, usize) {
        let mut actions = Vec::with_capacity(self.live);
        let mut away = 0;
        for slot in std::mem::replace(&mut self.slots, Slots::new()).chunks.into_iter().flatten() {
            match slot.action {
                Some(action) => actions.push(action),
                None => away += usize::from(slot.id < VACANT),
            }
        }
        self.keys.clear();
        self.vacant = NONE;
        self.live = 0;
        (actions, away)
    }

    /// The queued events, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key<T>, EventTicket, &A)> {
        self.keys.iter().filter_map(|key| {
            let slot = &self.slots[key.slot()];
            let action = slot.action.as_ref().filter(|_| slot.id <= key.sequence)?;
            Some((key, EventTicket { slot: key.slot(), id: slot.id }, action))
        })
    }

    /// The number of buckets of the keys.
    #[cfg(test)]
    pub(crate) fn buckets(&self) -> usize {
        self.keys.buckets()
    }

    fn is_live(slots: &Slots<A>, key: &Key<T>) -> bool {
        let slot = &slots[key.slot()];
        slot.id <= key.sequence && slot.action.is_some()
    }

    #[inline]
    fn push_key(&mut self, time: T, rank: i32, slot: u32) -> bool {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.live += 1;
        self.keys.push(Key::new(time, rank, sequence, slot))
    }

    /// Removes dead keys: those that come first, or all if they are more than half.
    #[inline]
    fn settle(&mut self) {
        if self.live < self.keys.len() {
            self.throw_out();
        }
    }

    fn throw_out(&mut self) {
        let slots = &self.slots;
        if self.live < self.keys.len() / 2 {
            self.keys.retain(|key| Self::is_live(slots, key));
        }
        while self.keys.pop_if(|key| !Self::is_live(slots, key)) {}
    }
}

#[cfg(test)]
#[path = "event_queue/tests.rs"] // also where `benches/peers` includes this file
mod tests;
