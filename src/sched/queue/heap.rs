//! A binary heap of keys in a `Vec`: no key is less than its parent, the one at half its index.

use super::key::Key;
use super::time_order::{earlier, same};

/// Removes the least key of a heap.
#[inline]
pub(super) fn pop_heap<T: Copy + Ord>(heap: &mut Vec<Key<T>>) -> Option<Key<T>> {
    let last = heap.pop()?;
    let Some(top) = heap.first().copied() else { return Some(last) };
    let leaf = sink_hole(heap);
    sift_up(heap, leaf, last);
    Some(top)
}

/// Moves the hole at `at` up to where `key` belongs, puts it there, and returns where that is.
#[inline]
pub(super) fn sift_up<T: Copy + Ord>(heap: &mut [Key<T>], mut at: usize, key: Key<T>) -> usize {
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

/// Moves the hole at the top down to a leaf. The key that will fill it comes from the bottom, so it
/// is cheaper to go all the way down and a little back up than to compare with it on each level.
#[inline]
fn sink_hole<T: Copy + Ord>(heap: &mut [Key<T>]) -> usize {
    let mut hole = 0;
    let mut child = 1;
    while child + 1 < heap.len() {
        let (left, right) = (&heap[child], &heap[child + 1]);
        if same(&left.time, &right.time) {
            child = lesser_of_tied(heap, child);
        } else {
            child += usize::from(earlier(&right.time, &left.time));
        }
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

/// The lesser of `child` and its sibling. A function of its own, so that the usual choice, between
/// times that differ, is one instruction: each level waits for it.
#[cold]
fn lesser_of_tied<T: Ord>(heap: &[Key<T>], child: usize) -> usize {
    child + usize::from(heap[child + 1] < heap[child])
}

/// Turns keys in any order into a heap, from the bottom up.
pub(super) fn make_heap<T: Copy + Ord>(heap: &mut [Key<T>]) {
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
