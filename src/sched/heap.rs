//! The queue: a binary heap of small keys over a slab of actions.
//!
//! Pure: no clock, no lock, no thread.
//!
//! ```text
//! keys   [ time rank sequence slot | ... ]     least first, some of them dead
//!                              |
//! slots  [ id sequence action | vacant | away (its action is running) | ... ]
//! ```
//!
//! Cancelling takes the action out of its slot, which is free for the next event at once; the key
//! stays behind, dead, because its sequence is no longer the slot's. Dead keys are thrown out when
//! they reach the top, and all together when they are more than half. So a cancel costs constant
//! time on average, and dead keys never outnumber the live ones.
//!
//! Sequences are 64 bits and never reused: a stale ticket can only miss.

/// Where an event stands: time, then rank, then sequence. The order of the fields is the run order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<T> {
    pub(super) time: T,
    /// Rank and slot share a word, so that a key with a 64-bit time is 24 bytes.
    pub(super) rank: i32,
    pub(super) sequence: u64,
    slot: u32,
}

/// What a handle needs to find its event again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    slot: u32,
    /// The sequence of the first entry. Entering again under the same ticket does not change it.
    id: u64,
}

#[derive(Debug)]
struct Slot<A> {
    id: u64,
    /// INVARIANT: equal to the sequence of the slot's one live key, if it has one.
    sequence: u64,
    entry: Entry<A>,
}

#[derive(Debug)]
enum Entry<A> {
    Queued(A),
    /// Taken out to run, to be entered again: the ticket is still good.
    Away,
    Vacant {
        next: Option<u32>,
    },
}

/// A cancelled event.
pub(super) struct Cancelled<A> {
    /// `None` if it was away.
    pub(super) action: Option<A>,
    /// It was the first to run.
    pub(super) first: bool,
}

#[derive(Debug)]
pub(super) struct Heap<T, A> {
    /// INVARIANT: a heap by `Key`'s order; the top, if any, is live; at least half are.
    keys: Vec<Key<T>>,
    slots: Vec<Slot<A>>,
    vacant: Option<u32>,
    live: usize,
    next_sequence: u64,
}

impl<T: Copy + Ord, A> Heap<T, A> {
    pub(super) fn new() -> Self {
        Self { keys: Vec::new(), slots: Vec::new(), vacant: None, live: 0, next_sequence: 0 }
    }

    /// How many events are queued; those away do not count.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// The sequence that the next event gets.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The first to run.
    pub(super) fn first(&self) -> Option<&Key<T>> {
        self.keys.first()
    }

    /// Enters an event, and tells whether it is now the first to run.
    pub(super) fn push(&mut self, time: T, rank: i32, action: A) -> (Key<T>, Ticket, bool) {
        let id = self.next_sequence;
        let slot = Slot { id, sequence: id, entry: Entry::Queued(action) };
        let index = if let Some(index) = self.vacant {
            let place = &mut self.slots[index as usize];
            if let Entry::Vacant { next } = place.entry {
                self.vacant = next;
            }
            *place = slot;
            index
        } else {
            let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 events are queued");
            self.slots.push(slot);
            index
        };
        let first = self.push_key(time, rank, index);
        (Key { time, rank, sequence: id, slot: index }, Ticket { slot: index, id }, first)
    }

    /// Takes the first event out. With `away` its ticket stays good for [`reenter`](Self::reenter).
    pub(super) fn pop(&mut self, away: impl FnOnce(&A) -> bool) -> Option<(Key<T>, Ticket, A)> {
        let key = *self.keys.first()?;
        let slot = &mut self.slots[key.slot as usize];
        let ticket = Ticket { slot: key.slot, id: slot.id };
        let Entry::Queued(action) = std::mem::replace(&mut slot.entry, Entry::Away) else {
            unreachable!("the top of the heap is live")
        };
        self.live -= 1;
        if !away(&action) {
            self.free(key.slot);
        }
        self.pop_key();
        self.settle();
        Some((key, ticket, action))
    }

    /// Enters an event again that [`pop`](Self::pop) left away, as a new one but with the same
    /// ticket, and tells whether it is now the first to run. If it was cancelled meanwhile, hands
    /// the action back.
    pub(super) fn reenter(
        &mut self,
        ticket: Ticket,
        time: T,
        rank: i32,
        action: A,
    ) -> Result<bool, A> {
        let sequence = self.next_sequence;
        match self.slots.get_mut(ticket.slot as usize) {
            Some(slot) if slot.id == ticket.id && matches!(slot.entry, Entry::Away) => {
                slot.sequence = sequence;
                slot.entry = Entry::Queued(action);
            }
            _ => return Err(action),
        }
        Ok(self.push_key(time, rank, ticket.slot))
    }

    /// Cancels the event, queued or away. `None` if it is neither.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<Cancelled<A>> {
        let slot = self.slots.get(ticket.slot as usize).filter(|slot| slot.id == ticket.id)?;
        let sequence = slot.sequence;
        match slot.entry {
            Entry::Vacant { .. } => None,
            Entry::Away => {
                self.free(ticket.slot);
                Some(Cancelled { action: None, first: false })
            }
            Entry::Queued(_) => {
                let Entry::Queued(action) = self.free(ticket.slot) else {
                    unreachable!("it was queued a line above")
                };
                self.live -= 1;
                let first = self.keys[0].sequence == sequence;
                self.settle();
                Some(Cancelled { action: Some(action), first })
            }
        }
    }

    /// Cancels everything. Returns the actions, and how many events were away.
    pub(super) fn clear(&mut self) -> (Vec<A>, usize) {
        let mut actions = Vec::with_capacity(self.live);
        let mut away = 0;
        for slot in std::mem::take(&mut self.slots) {
            match slot.entry {
                Entry::Queued(action) => actions.push(action),
                Entry::Away => away += 1,
                Entry::Vacant { .. } => {}
            }
        }
        self.keys = Vec::new();
        self.vacant = None;
        self.live = 0;
        (actions, away)
    }

    /// The queued events, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key<T>, Ticket, &A)> {
        self.keys.iter().filter_map(|key| {
            let slot = &self.slots[key.slot as usize];
            match &slot.entry {
                Entry::Queued(action) if slot.sequence == key.sequence => {
                    Some((key, Ticket { slot: key.slot, id: slot.id }, action))
                }
                _ => None,
            }
        })
    }

    fn free(&mut self, index: u32) -> Entry<A> {
        let vacant = Entry::Vacant { next: self.vacant.replace(index) };
        std::mem::replace(&mut self.slots[index as usize].entry, vacant)
    }

    fn is_live(slots: &[Slot<A>], key: &Key<T>) -> bool {
        let slot = &slots[key.slot as usize];
        slot.sequence == key.sequence && matches!(slot.entry, Entry::Queued(_))
    }

    fn push_key(&mut self, time: T, rank: i32, slot: u32) -> bool {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.live += 1;
        self.keys.push(Key { time, rank, sequence, slot });
        self.sift_up(self.keys.len() - 1) == 0
    }

    fn pop_key(&mut self) {
        if let Some(last) = self.keys.pop() {
            if !self.keys.is_empty() {
                let leaf = self.sink_hole();
                self.keys[leaf] = last;
                self.sift_up(leaf);
            }
        }
    }

    /// Throws dead keys out: those at the top, or all if they are more than half.
    fn settle(&mut self) {
        if self.live < self.keys.len() / 2 {
            let slots = &self.slots;
            self.keys.retain(|key| Self::is_live(slots, key));
            for root in (0..self.keys.len() / 2).rev() {
                self.sift_down(root);
            }
        }
        while self.keys.first().is_some_and(|key| !Self::is_live(&self.slots, key)) {
            self.pop_key();
        }
    }

    fn sift_up(&mut self, mut at: usize) -> usize {
        let key = self.keys[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.keys[parent] <= key {
                break;
            }
            self.keys[at] = self.keys[parent];
            at = parent;
        }
        self.keys[at] = key;
        at
    }

    /// Moves the hole at the top down to a leaf. The key that comes to fill it was at the bottom
    /// before: going all the way and back up a little saves the comparison with it on each level.
    fn sink_hole(&mut self) -> usize {
        let keys = self.keys.as_mut_slice();
        let mut hole = 0;
        let mut child = 1;
        while child + 1 < keys.len() {
            child += usize::from(keys[child + 1] < keys[child]);
            keys[hole] = keys[child];
            hole = child;
            child = 2 * hole + 1;
        }
        if child < keys.len() {
            keys[hole] = keys[child];
            hole = child;
        }
        hole
    }

    /// Stops early: the keys that stay after dead ones went are mostly close to their place.
    fn sift_down(&mut self, mut at: usize) {
        let keys = self.keys.as_mut_slice();
        let key = keys[at];
        loop {
            let mut child = 2 * at + 1;
            if child >= keys.len() {
                break;
            }
            if child + 1 < keys.len() && keys[child + 1] < keys[child] {
                child += 1;
            }
            if key <= keys[child] {
                break;
            }
            keys[at] = keys[child];
            at = child;
        }
        keys[at] = key;
    }
}

#[cfg(test)]
mod tests;
