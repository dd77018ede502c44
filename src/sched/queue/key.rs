//! [`Key`]: the position of an event in the order.

use std::cmp::Ordering;

use super::time_order::{earlier, same};

/// The position of an event: time, then rank, then sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<T> {
    pub(crate) time: T,
    pub(crate) sequence: u64,
    /// Rank and slot, so that a key with a 64-bit time has 24 bytes. They are one word, because a
    /// key is often copied right after it was made, and is fast to read only in the units in which
    /// it was written.
    place: u64,
}

impl<T> Key<T> {
    #[inline]
    pub(crate) fn new(time: T, rank: i32, sequence: u64, slot: u32) -> Self {
        let place = u64::from(rank as u32) << 32 | u64::from(slot);
        Self { time, sequence, place }
    }

    #[inline]
    pub(crate) fn rank(&self) -> i32 {
        (self.place >> 32) as i32
    }

    #[inline]
    pub(crate) fn slot(&self) -> u32 {
        self.place as u32
    }
}

impl<T: Ord> Key<T> {
    /// Whether it runs before `other`. Times are rarely equal, so that branch is predicted well,
    /// and the comparison itself needs no branch.
    #[inline]
    fn before(&self, other: &Self) -> bool {
        if same(&self.time, &other.time) {
            (self.rank(), self.sequence) < (other.rank(), other.sequence)
        } else {
            earlier(&self.time, &other.time)
        }
    }
}

impl<T: Ord> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl<T: Ord> Eq for Key<T> {}

impl<T: Ord> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn lt(&self, other: &Self) -> bool {
        self.before(other)
    }

    #[inline]
    fn le(&self, other: &Self) -> bool {
        !other.before(self)
    }

    #[inline]
    fn gt(&self, other: &Self) -> bool {
        other.before(self)
    }
}

impl<T: Ord> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.before(other) {
            Ordering::Less
        } else if other.before(self) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}
