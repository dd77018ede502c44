//! Keys in order: a small binary heap in front of sorted runs.
//!
//! A binary heap alone is best while it fits in the processor's first cache. Beyond that each pop
//! walks through memory at random, so the heap only takes the arrivals. When it is full it is
//! emptied onto a pile. When the pile's least key is the next to go, the pile is sorted and becomes
//! a run, and runs of similar length are merged, so that there are few of them and each key takes
//! part in few merges. All of that walks through memory in order.
//!
//! ```text
//! heap  [ least ... ]              at most HEAP_LIMIT
//! pile  [ any order ]              unsorted until it must be
//! runs  [ greatest ........ least ]
//!       [ greatest ... least ]     each at most half as long as the one before, when it is made
//! ```

use std::cmp::{Ordering, Reverse};

/// How many keys the heap holds: 24 KiB of them, if the time has 64 bits. Tests want runs early.
const HEAP_LIMIT: usize = if cfg!(test) { 8 } else { 1024 };

/// How many keys the memory of a pile holds that is kept for the next.
const LARGEST_SPARE: usize = 16 * HEAP_LIMIT;

/// How many keys of a run are announced together: about as many misses as a processor overlaps.
const LOOK_AHEAD: usize = 16;

/// Where an event stands: time, then rank, then sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<T> {
    pub(super) time: T,
    pub(super) sequence: u64,
    /// Rank and slot: so a key with a 64-bit time is 24 bytes. They are one word, because a key that
    /// is copied right after it was made should be written as it is read.
    place: u64,
}

impl<T> Key<T> {
    #[inline]
    pub(super) fn new(time: T, rank: i32, sequence: u64, slot: u32) -> Self {
        let place = u64::from(rank as u32) << 32 | u64::from(slot);
        Self { time, sequence, place }
    }

    #[inline]
    pub(super) fn rank(&self) -> i32 {
        (self.place >> 32) as i32
    }

    #[inline]
    pub(super) fn slot(&self) -> u32 {
        self.place as u32
    }
}

impl<T: Ord> Key<T> {
    /// Whether it runs before `other`. Times are rarely equal: a processor guesses that branch
    /// right, and the comparison itself needs none.
    #[inline]
    fn before(&self, other: &Self) -> bool {
        if self.time == other.time {
            (self.rank(), self.sequence) < (other.rank(), other.sequence)
        } else {
            self.time < other.time
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

#[derive(Debug)]
pub(super) struct Keys<T> {
    /// INVARIANT: no key is less than its parent, the one at half its index.
    heap: Vec<Key<T>>,
    /// The heap never holds more.
    limit: usize,
    pile: Vec<Key<T>>,
    /// INVARIANT: the least of the pile.
    pile_first: Option<Key<T>>,
    /// INVARIANT: each descends. Those that were used up are empty.
    runs: Vec<Vec<Key<T>>>,
    /// The least key of each run that is not empty, and the index of the run.
    ///
    /// INVARIANT: descends. The run of the last is the longest more often than not, and then its next
    /// key has not far to go.
    ends: Vec<(Key<T>, usize)>,
    len: usize,
}

impl<T: Copy + Ord> Keys<T> {
    /// With `only_heap` no key ever leaves the heap for a run.
    pub(super) fn new(only_heap: bool) -> Self {
        Self {
            heap: Vec::new(),
            limit: if only_heap { usize::MAX } else { HEAP_LIMIT },
            pile: Vec::new(),
            pile_first: None,
            runs: Vec::new(),
            ends: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit > HEAP_LIMIT);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key<T>> {
        self.heap.iter().chain(&self.pile).chain(self.runs.iter().flatten())
    }

    /// The least key.
    #[inline]
    pub(super) fn first(&self) -> Option<&Key<T>> {
        least(self.heap.first(), self.first_behind())
    }

    /// The least key that is not in the heap.
    #[inline]
    fn first_behind(&self) -> Option<&Key<T>> {
        least(self.pile_first.as_ref(), self.ends.last().map(|(key, _)| key))
    }

    /// Adds a key, and tells whether it is now the first.
    #[inline]
    pub(super) fn push(&mut self, key: Key<T>) -> bool {
        if self.heap.len() == self.limit {
            self.empty_heap();
        }
        self.len += 1;
        let at = self.heap.len();
        self.heap.push(key);
        let at = sift_up(&mut self.heap, at, key);
        at == 0 && self.first_behind().is_none_or(|first| key < *first)
    }

    /// Removes and returns the least key; now and then with those that will probably follow.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Key<T>, &[Key<T>])> {
        if self.heap.len() < self.len {
            let behind = self.first_behind();
            if behind.is_some_and(|behind| self.heap.first().is_none_or(|top| behind < top)) {
                return self.pop_behind();
            }
        }
        let last = self.heap.pop()?;
        self.len -= 1;
        let heap = self.heap.as_mut_slice();
        let Some(top) = heap.first().copied() else { return Some((last, &[])) };
        let leaf = sink_hole(heap);
        sift_up(heap, leaf, last);
        Some((top, &[]))
    }

    /// [`pop`](Self::pop) if it is not in the heap.
    fn pop_behind(&mut self) -> Option<(Key<T>, &[Key<T>])> {
        let of_runs = self.ends.last().map(|(end, _)| end);
        if self.pile_first.as_ref().is_some_and(|first| of_runs.is_none_or(|end| first < end)) {
            self.sort_pile();
        }
        let (key, index) = self.ends.pop()?;
        self.len -= 1;
        let run = &mut self.runs[index];
        run.pop();
        let left = run.len();
        if let Some(next) = run.last().copied() {
            let at = self.ends.iter().rposition(|(end, _)| next < *end).map_or(0, |at| at + 1);
            self.ends.insert(at, (next, index));
        }
        let announce = left > 0 && left % LOOK_AHEAD == 0;
        let from = if announce { left - LOOK_AHEAD } else { left };
        Some((key, &self.runs[index][from..]))
    }

    /// Removes the keys that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(&Key<T>) -> bool) {
        self.heap.retain(&keep);
        make_heap(&mut self.heap);
        self.pile.retain(&keep);
        self.pile_first = self.pile.iter().min().copied();
        for run in &mut self.runs {
            run.retain(&keep);
        }
        self.find_ends();
        self.len =
            self.heap.len() + self.pile.len() + self.runs.iter().map(Vec::len).sum::<usize>();
    }

    fn find_ends(&mut self) {
        self.runs.retain(|run| !run.is_empty());
        let ends = self.runs.iter().enumerate();
        self.ends = ends.filter_map(|(index, run)| Some((*run.last()?, index))).collect();
        self.ends.sort_unstable_by_key(|(end, _)| Reverse(*end));
    }

    /// Moves the heap onto the pile.
    #[cold]
    fn empty_heap(&mut self) {
        self.pile_first = least(self.pile_first.as_ref(), self.heap.first()).copied();
        self.pile.append(&mut self.heap);
    }

    /// Makes a run of the pile.
    fn sort_pile(&mut self) {
        self.pile_first = None;
        let mut run = std::mem::take(&mut self.pile);
        run.sort_unstable_by(|a, b| b.cmp(a));
        self.runs.retain(|run| !run.is_empty());
        while let Some(mut longer) = self.runs.pop() {
            if longer.len() >= 2 * run.len() {
                self.runs.push(longer);
                break;
            }
            merge(&mut longer, &run);
            if run.capacity() <= LARGEST_SPARE {
                run.clear();
                self.pile = run; // the next pile needs no memory of its own
            }
            run = longer;
        }
        self.runs.push(run);
        self.find_ends();
    }

    /// The invariants.
    #[cfg(test)]
    pub(super) fn check(&self)
    where
        T: std::fmt::Debug,
    {
        assert!(self.heap.len() <= self.limit);
        assert_eq!(self.iter().count(), self.len);
        for at in 1..self.heap.len() {
            assert!(self.heap[(at - 1) / 2] < self.heap[at], "not a heap");
        }
        assert_eq!(self.pile_first.as_ref(), self.pile.iter().min());
        for run in &self.runs {
            assert!(run.is_sorted_by(|a, b| a > b), "a run that does not descend");
        }
        assert!(self.ends.is_sorted_by(|a, b| a.0 > b.0), "ends that do not descend");
        let ends = self.runs.iter().filter(|run| !run.is_empty()).count();
        assert_eq!(self.ends.len(), ends);
        assert!(self.ends.iter().all(|(end, index)| self.runs[*index].last() == Some(end)));
    }
}

fn least<'a, T: Ord>(a: Option<&'a Key<T>>, b: Option<&'a Key<T>>) -> Option<&'a Key<T>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// Moves the hole at `at` up to where `key` belongs, puts it there, and returns where that is.
#[inline]
fn sift_up<T: Copy + Ord>(heap: &mut [Key<T>], mut at: usize, key: Key<T>) -> usize {
    while at > 0 {
        let parent = (at - 1) / 2;
        if heap[parent] <= key {
            break;
        }
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = key;
    at
}

/// Moves the hole at the top down to a leaf. The key that comes to fill it was at the bottom before:
/// going all the way and back up a little saves the comparison with it on each level.
#[inline]
fn sink_hole<T: Copy + Ord>(heap: &mut [Key<T>]) -> usize {
    let mut hole = 0;
    let mut child = 1;
    while child + 1 < heap.len() {
        child += usize::from(heap[child + 1] < heap[child]);
        heap[hole] = heap[child];
        hole = child;
        child = 2 * hole + 1;
    }
    if child < heap.len() {
        heap[hole] = heap[child];
        hole = child;
    }
    hole
}

/// Merges `other` into `run`, both descending. Begins with the least, at the end: what is greater than
/// all of `other` stays where it is.
fn merge<T: Copy + Ord>(run: &mut Vec<Key<T>>, other: &[Key<T>]) {
    let (mut left, mut right) = (run.len(), other.len());
    run.extend_from_slice(other);
    let run = run.as_mut_slice();
    while left > 0 && right > 0 {
        let (a, b) = (run[left - 1], other[right - 1]);
        // Which it is cannot be guessed: there is no branch in choosing.
        let from_run = a < b;
        run[left + right - 1] = if from_run { a } else { b };
        left -= usize::from(from_run);
        right -= usize::from(!from_run);
    }
    run[..right].copy_from_slice(&other[..right]);
}

/// Makes a heap of keys in any order, from the bottom up.
fn make_heap<T: Copy + Ord>(heap: &mut [Key<T>]) {
    for top in (0..heap.len() / 2).rev() {
        let mut at = top;
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(heap.len());
            let Some(child) = children.min_by_key(|child| heap[*child]) else { break };
            if heap[at] < heap[child] {
                break;
            }
            heap.swap(at, child);
            at = child;
        }
    }
}
