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

use std::cmp::Ordering;

/// How many keys the heap holds: 24 KiB of them, if the time has 64 bits. Tests want runs early.
const HEAP_LIMIT: usize = if cfg!(test) { 8 } else { 1024 };

/// How many keys of a run are announced together: about as many misses as a processor overlaps.
const LOOK_AHEAD: usize = 16;

/// Where an event stands: time, then rank, then sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<T> {
    pub(super) time: T,
    /// Rank and slot share a word, so that a key with a 64-bit time is 24 bytes.
    pub(super) rank: i32,
    pub(super) sequence: u64,
    pub(super) slot: u32,
}

impl<T: Ord> Key<T> {
    /// Whether it runs before `other`. Times are rarely equal: a processor guesses that branch
    /// right, and the comparison itself needs none.
    #[inline]
    fn before(&self, other: &Self) -> bool {
        if self.time == other.time {
            (self.rank, self.sequence) < (other.rank, other.sequence)
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
        (&self.time, self.rank, self.sequence).cmp(&(&other.time, other.rank, other.sequence))
    }
}

#[derive(Debug)]
pub(super) struct Keys<T> {
    /// INVARIANT: no key is less than its parent, the one at half its index.
    heap: Vec<Key<T>>,
    pile: Vec<Key<T>>,
    /// INVARIANT: the least of the pile.
    pile_first: Option<Key<T>>,
    /// INVARIANT: each descends, and none is empty.
    runs: Vec<Vec<Key<T>>>,
    /// INVARIANT: the run whose end is the least, if there are runs.
    least_run: usize,
    len: usize,
}

impl<T: Copy + Ord> Keys<T> {
    pub(super) fn new() -> Self {
        Self {
            heap: Vec::new(),
            pile: Vec::new(),
            pile_first: None,
            runs: Vec::new(),
            least_run: 0,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key<T>> {
        self.heap.iter().chain(&self.pile).chain(self.runs.iter().flatten())
    }

    /// The least key.
    pub(super) fn first(&self) -> Option<&Key<T>> {
        let sorted = match (self.heap.first(), self.first_of_runs()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match (sorted, self.pile_first.as_ref()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Adds a key, and tells whether it is now the first.
    pub(super) fn push(&mut self, key: Key<T>) -> bool {
        let is_first = self.first().is_none_or(|first| key < *first);
        if self.heap.len() == HEAP_LIMIT {
            let least = self.heap[0];
            self.pile_first = Some(self.pile_first.map_or(least, |first| first.min(least)));
            self.pile.append(&mut self.heap);
        }
        self.len += 1;
        self.heap.push(key);
        self.sift_up(self.heap.len() - 1);
        is_first
    }

    /// Removes the least key. Now and then returns the keys that will probably follow.
    pub(super) fn pop(&mut self) -> &[Key<T>] {
        if self.pile_first.is_some() && self.pile_first.as_ref() == self.first() {
            self.sort_pile();
        }
        let in_runs = match (self.heap.first(), self.first_of_runs()) {
            (Some(top), Some(end)) => end < top,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if in_runs {
            self.len -= 1;
            let run = &mut self.runs[self.least_run];
            run.pop();
            let (at, left) = (self.least_run, run.len());
            if left == 0 {
                self.runs.remove(at);
            }
            self.find_least_run();
            if left > 0 && left % LOOK_AHEAD == 0 {
                return &self.runs[at][left - LOOK_AHEAD..];
            }
        } else if let Some(last) = self.heap.pop() {
            self.len -= 1;
            if !self.heap.is_empty() {
                let leaf = self.sink_hole();
                self.heap[leaf] = last;
                self.sift_up(leaf);
            }
        }
        &[]
    }

    /// Removes the keys that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(&Key<T>) -> bool) {
        self.heap.retain(&keep);
        self.heap.sort_unstable(); // what is sorted is a heap
        self.pile.retain(&keep);
        self.pile_first = self.pile.iter().min().copied();
        for run in &mut self.runs {
            run.retain(&keep);
        }
        self.runs.retain(|run| !run.is_empty());
        self.len =
            self.heap.len() + self.pile.len() + self.runs.iter().map(Vec::len).sum::<usize>();
        self.find_least_run();
    }

    fn first_of_runs(&self) -> Option<&Key<T>> {
        self.runs.get(self.least_run)?.last()
    }

    fn find_least_run(&mut self) {
        let ends = self.runs.iter().map(|run| run.last()).enumerate();
        self.least_run = ends.min_by_key(|(_, end)| *end).map_or(0, |(index, _)| index);
    }

    /// Makes a run of the pile.
    fn sort_pile(&mut self) {
        self.pile_first = None;
        let mut run = std::mem::take(&mut self.pile);
        run.sort_unstable_by(|a, b| b.cmp(a));
        while let Some(mut longer) = self.runs.pop() {
            if longer.len() >= 2 * run.len() {
                self.runs.push(longer);
                break;
            }
            // The standard library's stable sort sees the two runs and only merges them.
            longer.append(&mut run);
            longer.sort_by(|a, b| b.cmp(a));
            run = longer;
        }
        self.runs.push(run);
        self.find_least_run();
    }

    fn sift_up(&mut self, mut at: usize) {
        let key = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent] <= key {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = key;
    }

    /// Moves the hole at the top down to a leaf. The key that comes to fill it was at the bottom
    /// before: going all the way and back up a little saves the comparison with it on each level.
    fn sink_hole(&mut self) -> usize {
        let keys = self.heap.as_mut_slice();
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

    /// The invariants.
    #[cfg(test)]
    pub(super) fn check(&self)
    where
        T: std::fmt::Debug,
    {
        assert!(self.heap.len() <= HEAP_LIMIT);
        assert_eq!(self.iter().count(), self.len);
        for at in 1..self.heap.len() {
            assert!(self.heap[(at - 1) / 2] < self.heap[at], "not a heap");
        }
        assert_eq!(self.pile_first.as_ref(), self.pile.iter().min());
        for run in &self.runs {
            assert!(!run.is_empty());
            assert!(run.is_sorted_by(|a, b| a > b), "a run that does not descend");
        }
        let least = self.runs.iter().filter_map(|run| run.last()).min();
        assert_eq!(self.first_of_runs().map(|key| key.sequence), least.map(|key| key.sequence));
    }
}
