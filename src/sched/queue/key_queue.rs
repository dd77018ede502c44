//! [`KeyQueue`]: keys in order, in a small binary heap in front of buckets.
//!
//! Only the keys that are due next are in order: those of the heap and of the front. All others are
//! in buckets, each for a range of keys, in any order. When heap and front are used up, the first
//! bucket is sorted and becomes the front. A new key goes to the heap, or to the bucket that
//! bisection finds. A full bucket is split at its median. When the heap is full, the later half of
//! heap and front becomes a bucket.
//!
//! ```text
//! heap     [ least ... ]                   at most HEAP_LIMIT
//! front    [ greatest ............ least ]
//! ------------------------------------------ all above are less than all below
//! buckets  [ any order, from bound on ]
//!          [ any order, from bound on ]    the last is the first to be due
//! ```
//!
//! If the comparison contradicts itself, keys leave in a wrong order, but each leaves once: no
//! index, count or end of a loop depends on a comparison.
//!
//! A key is moved when it arrives, in a split or two, and when its bucket is sorted. A push or a
//! pop never touches more keys than a few buckets hold, however many there are.
//!
//! The alternative is one binary heap. It is simpler, and best while it fits into the processor's
//! cache: with `BinaryHeap` in place of this, entering and running an event takes 819 instructions
//! instead of 922 (`.ci/instructions`). Beyond that each pop walks through memory at random. Beside
//! a `BinaryHeap` with the same slots, a pop and a push take 34.5 ns to 34.8 with 1,000 events
//! queued, 44.7 to 94.5 with 100,000, and 66.3 to 540.6 with a million (`docs/sched.csv`, the
//! structures alone). Sorted runs behind a small heap, which came before the buckets, took 136 ns
//! at a million where the buckets took 70, and their longest pause was 71 ms instead of 62 µs.

use std::cmp::Reverse;
use std::mem;

use super::heap::{make_heap, pop_heap, sift_up};
use super::key::Key;
use super::time_order::{arrange, earlier};

/// The most keys in the heap: 24 KiB, if the time has 64 bits. Small in tests, so that these reach
/// the buckets.
const HEAP_LIMIT: usize = if cfg!(test) { 8 } else { 1024 };

/// The most keys in a bucket.
const BUCKET_LIMIT: usize = 2 * HEAP_LIMIT;

/// The number of arrivals that are distributed to buckets together.
const ARRIVALS: usize = HEAP_LIMIT / 4;

/// The number of keys of the front that are announced together: about as many cache misses as a
/// processor overlaps.
const LOOK_AHEAD: usize = 16;

#[derive(Debug)]
pub(crate) struct KeyQueue<T> {
    /// INVARIANT: no key is less than its parent, the one at half its index.
    heap: Vec<Key<T>>,
    /// The most keys in the heap.
    limit: usize,
    /// INVARIANT: descends. Not empty if the buckets are not, unless the heap is not.
    front: Vec<Key<T>>,
    /// INVARIANT: descends. All keys in the heap and the front are less than all bounds.
    bounds: Vec<Key<T>>,
    /// INVARIANT: no bucket is empty or over the limit. No key of a bucket is less than the bound
    /// of the same index, and all are less than the bound before.
    buckets: Vec<Vec<Key<T>>>,
    /// Keys to be distributed to the buckets, many at once: the buckets are far apart in memory,
    /// and the cache misses overlap.
    ///
    /// INVARIANT: empty if there are no buckets. No key is less than the last bound.
    arrivals: Vec<Key<T>>,
    len: usize,
}

impl<T: Copy + Ord> KeyQueue<T> {
    /// With `only_heap` no key ever leaves the heap for a bucket.
    pub(crate) fn new(only_heap: bool) -> Self {
        Self {
            heap: Vec::new(),
            limit: if only_heap { usize::MAX } else { HEAP_LIMIT },
            front: Vec::new(),
            bounds: Vec::new(),
            buckets: Vec::new(),
            arrivals: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit > HEAP_LIMIT);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key<T>> {
        let due = self.heap.iter().chain(&self.front);
        due.chain(&self.arrivals).chain(self.buckets.iter().flatten())
    }

    /// The least key.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Key<T>> {
        if self.front_is_first() { self.front.last() } else { self.heap.first() }
    }

    /// Whether the least key is in the front, not in the heap.
    #[inline]
    fn front_is_first(&self) -> bool {
        match (self.heap.first(), self.front.last()) {
            (Some(top), Some(first)) => first < top,
            (top, _) => top.is_none(),
        }
    }

    /// Adds a key; returns whether it is now the first.
    #[inline]
    pub(crate) fn push(&mut self, key: Key<T>) -> bool {
        if self.heap.len() >= self.limit {
            self.halve_heap();
        }
        self.len += 1;
        if self.bounds.last().is_some_and(|bound| *bound < key) {
            self.arrivals.push(key);
            if self.arrivals.len() == ARRIVALS {
                self.distribute();
            }
            return false;
        }
        let at = self.heap.len();
        self.heap.push(key);
        let at = sift_up(&mut self.heap, at, key);
        at == 0 && self.front.last().is_none_or(|first| key < *first)
    }

    /// Removes the least key; sometimes also returns the keys that will probably follow.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Key<T>, &[Key<T>])> {
        let from_front = self.front_is_first();
        let key = self.take(from_front)?;
        let left = self.front.len();
        let announce = from_front && left % LOOK_AHEAD == 0;
        let from = if announce { left.saturating_sub(LOOK_AHEAD) } else { left };
        Some((key, &self.front[from..]))
    }

    /// Removes the least key if it is `unwanted`; returns whether it was.
    pub(crate) fn pop_if(&mut self, unwanted: impl Fn(&Key<T>) -> bool) -> bool {
        let from_front = self.front_is_first();
        let first = if from_front { self.front.last() } else { self.heap.first() };
        first.is_some_and(unwanted) && self.take(from_front).is_some()
    }

    /// Removes the first key of the front, or of the heap.
    #[inline]
    fn take(&mut self, from_front: bool) -> Option<Key<T>> {
        let key = if from_front { self.front.pop()? } else { pop_heap(&mut self.heap)? };
        self.len -= 1;
        self.refill();
        Some(key)
    }

    /// Removes the keys that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Key<T>) -> bool) {
        self.heap.retain(&keep);
        make_heap(&mut self.heap);
        self.front.retain(&keep);
        self.distribute();
        // Beginning with the bucket that is due first. The remains of a bucket go to the one before
        // if they fit.
        let mut kept: Vec<(Key<T>, Vec<Key<T>>)> = Vec::new();
        for (bound, mut bucket) in
            mem::take(&mut self.bounds).into_iter().zip(mem::take(&mut self.buckets)).rev()
        {
            bucket.retain(&keep);
            match kept.last_mut() {
                Some((_, before)) if before.len() + bucket.len() <= BUCKET_LIMIT / 2 => {
                    before.append(&mut bucket)
                }
                _ if bucket.is_empty() => {}
                _ => kept.push((bound, bucket)),
            }
        }
        (self.bounds, self.buckets) = kept.into_iter().rev().unzip();
        self.refill();
        self.len = self.iter().count();
    }

    /// Makes sure that the heap or the front has a key, if there are any keys.
    #[inline]
    fn refill(&mut self) {
        while self.front.is_empty() && self.heap.is_empty() && !self.buckets.is_empty() {
            self.open_bucket();
        }
    }

    /// Makes the first bucket the front.
    #[cold]
    fn open_bucket(&mut self) {
        self.distribute();
        if let Some(bucket) = self.buckets.last_mut() {
            arrange(|| bucket.sort_unstable_by_key(|key| Reverse(*key)));
            self.front = self.buckets.pop().unwrap_or_default();
            self.bounds.pop();
        }
    }

    /// Moves the later half of heap and front into a bucket.
    #[cold]
    fn halve_heap(&mut self) {
        self.heap.append(&mut self.front);
        let later = split_off(&mut self.heap, HEAP_LIMIT / 2);
        make_heap(&mut self.heap);
        let too_many = later.len() > BUCKET_LIMIT;
        self.bounds.push(later[0]);
        self.buckets.push(later);
        if too_many {
            self.halve_bucket(self.buckets.len() - 1);
        }
    }

    /// Puts the arrivals into their buckets.
    #[cold]
    fn distribute(&mut self) {
        for at in 0..self.arrivals.len() {
            let key = self.arrivals[at];
            let mut index = self.bucket_of(&key);
            if self.buckets[index].len() >= BUCKET_LIMIT {
                index = self.split_bucket(index, key);
            }
            self.buckets[index].push(key);
        }
        self.arrivals.clear();
    }

    /// Splits a full bucket to which `key` belongs; returns the index of the half for `key`.
    fn split_bucket(&mut self, index: usize, key: Key<T>) -> usize {
        if self.buckets[index].iter().all(|other| *other < key) {
            // If keys arrive in order, halves would never be filled.
            self.bounds.insert(index, key);
            self.buckets.insert(index, Vec::with_capacity(BUCKET_LIMIT));
        } else {
            self.halve_bucket(index);
        }
        index + usize::from(key < self.bounds[index])
    }

    /// Splits a bucket in two halves; the later one gets its index.
    fn halve_bucket(&mut self, index: usize) {
        let bucket = &mut self.buckets[index];
        let half = bucket.len() / 2;
        let later = split_off(bucket, half);
        self.bounds.insert(index, later[0]);
        self.buckets.insert(index, later);
    }

    /// The bucket for a key that is not less than the last bound.
    fn bucket_of(&self, key: &Key<T>) -> usize {
        let last = self.bounds.len() - 1;
        let index = self.bounds.partition_point(|bound| earlier(&key.time, &bound.time)).min(last);
        if self.bounds[index] < *key {
            index
        } else {
            (index + self.bounds[index..].partition_point(|bound| key < bound)).min(last)
        }
    }

    /// How many buckets there are.
    #[cfg(test)]
    pub(crate) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// The invariants.
    #[cfg(test)]
    pub(crate) fn check(&self)
    where
        T: std::fmt::Debug,
    {
        assert!(self.heap.len() <= self.limit);
        assert_eq!(self.iter().count(), self.len);
        for at in 1..self.heap.len() {
            assert!(self.heap[(at - 1) / 2] < self.heap[at], "not a heap");
        }
        assert!(self.front.is_sorted_by(|a, b| a > b), "a front that does not descend");
        assert!(self.bounds.is_sorted_by(|a, b| a > b), "bounds that do not descend");
        assert_eq!(self.bounds.len(), self.buckets.len());
        let mut before: Option<&Key<T>> = None;
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            assert!(!bucket.is_empty() && bucket.len() <= BUCKET_LIMIT);
            assert!(
                bucket.iter().all(|key| key >= bound && before.is_none_or(|before| key < before))
            );
            before = Some(bound);
        }
        let last = self.bounds.last();
        assert!(self.arrivals.iter().all(|key| last.is_some_and(|bound| key > bound)));
        let due = || self.heap.iter().chain(&self.front);
        assert!(before.is_none_or(|bound| due().all(|key| key < bound)));
        assert!(due().count() > 0 || self.len == 0, "nothing is in front");
    }
}

/// Splits off all but the `keep` least keys. Of what is split off the first is the least.
fn split_off<T: Copy + Ord>(keys: &mut Vec<Key<T>>, keep: usize) -> Vec<Key<T>> {
    arrange(|| _ = keys.select_nth_unstable(keep));
    let mut later = Vec::with_capacity(BUCKET_LIMIT);
    later.extend(keys.drain(keep..));
    later
}

#[cfg(test)]
mod tests {
    use super::{BUCKET_LIMIT, HEAP_LIMIT, Key, KeyQueue};

    /// With so many keys in the order of `time`, arrivals distributed.
    fn filled(count: usize, time: impl Fn(usize) -> usize) -> KeyQueue<usize> {
        let mut keys = KeyQueue::new(false);
        for n in 0..count {
            keys.push(Key::new(time(n), 0, n as u64, 0));
        }
        keys.distribute();
        keys.check();
        keys
    }

    #[test]
    fn there_are_as_many_buckets_as_the_keys_need() {
        // Up to here the heap has room.
        assert_eq!(filled(HEAP_LIMIT, |n| n).buckets(), 0);
        assert_eq!(filled(HEAP_LIMIT + 1, |n| n).buckets(), 1);
        let count = 100 * BUCKET_LIMIT;
        // In order they fill one after the other; those of the first and the last may not be full.
        let in_order = filled(count, |n| n).buckets();
        assert!((98..=102).contains(&in_order), "{in_order}");
        // In reverse order all come to the heap, whose later half becomes a bucket again and again.
        let reversed = filled(count, |n| count - n).buckets();
        assert_eq!(reversed, (count - HEAP_LIMIT).div_ceil(HEAP_LIMIT / 2));
        // At random they are split at their median: each is half full at least, three quarters on
        // average.
        let random = filled(count, |n| n * 7_919 % 1_000_003).buckets();
        assert!((100..200).contains(&random), "{random}");
    }

    #[test]
    fn a_bucket_is_split_at_its_median() {
        let mut keys = filled(HEAP_LIMIT + 1, |n| 100 * n);
        let later = keys.buckets[0].len();
        // So many that there is one too many, in the midst of the others.
        for n in 0..=BUCKET_LIMIT - later {
            keys.push(Key::new(100 * (HEAP_LIMIT / 2) + 1, 0, (1_000 + n) as u64, 0));
        }
        keys.distribute();
        keys.check();
        let lengths: Vec<_> = keys.buckets.iter().map(Vec::len).collect();
        assert_eq!(lengths.iter().sum::<usize>(), BUCKET_LIMIT + 1);
        assert!(lengths.len() == 2 && lengths.iter().all(|length| *length >= BUCKET_LIMIT / 2));
    }

    #[test]
    fn with_bounded_latency_there_are_no_buckets() {
        let mut keys = KeyQueue::new(true);
        for n in 0..100 * BUCKET_LIMIT {
            keys.push(Key::new(n * 7_919 % 1_003, 0, n as u64, 0));
        }
        assert_eq!((keys.buckets(), keys.heap.len()), (0, 100 * BUCKET_LIMIT));
        keys.clear();
        (0..100 * BUCKET_LIMIT).for_each(|n| _ = keys.push(Key::new(n, 0, n as u64, 0)));
        assert_eq!(keys.buckets(), 0, "it stays so");
    }
}
