//! The queue of this crate alone, without lock, clock or action, beside other structures. Its source
//! is compiled in here: it is not public.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use priority_queue::PriorityQueue;

use super::work::{Peer, Sample, WARM_UP, hold_operations};
use crate::random::Random;

#[path = "../../../../src/sched/queue/event_queue.rs"]
#[expect(dead_code, reason = "only a part of it is used here")]
mod event_queue;
#[path = "../../../../src/sched/queue/heap.rs"]
mod heap;
#[path = "../../../../src/sched/queue/key.rs"]
mod key;
#[path = "../../../../src/sched/queue/key_queue.rs"]
#[expect(clippy::manual_is_multiple_of, reason = "the crate is built with older compilers, too")]
mod key_queue;

/// The order of times as the crate has it, for times that are numbers: these do not panic.
mod time_order {
    pub(super) fn earlier<T: Ord>(a: &T, b: &T) -> bool {
        a < b
    }

    pub(super) fn same<T: Ord>(a: &T, b: &T) -> bool {
        a == b
    }

    pub(super) fn arrange(sort: impl FnOnce()) {
        sort();
    }
}

use event_queue::EventQueue;

pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Alone("concurrent, queue alone", Ours(EventQueue::new(false)))),
        Box::new(Alone("std BinaryHeap + slots, alone", StdHeap::default())),
        Box::new(Alone("priority-queue, alone", Hashed::default())),
    ]
}

trait Structure {
    fn fresh() -> Self;
    fn push(&mut self, time: u64, payload: u64);
    fn pop(&mut self) -> Option<(u64, u64)>;
}

struct Alone<S>(&'static str, S);

impl<S: Structure> Peer for Alone<S> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn hold(&mut self, pending: usize) -> Option<Sample> {
        self.1 = S::fresh();
        let mut random = Random::new();
        (0..pending).for_each(|_| self.1.push(random.time(), 1));
        let mut hold = |operations| {
            for _ in 0..operations {
                let (now, payload) = self.1.pop().unwrap();
                self.1.push(now + random.time(), payload);
            }
        };
        hold(WARM_UP);
        let operations = hold_operations(pending);
        Some(Sample::of(operations, || hold(operations)))
    }
}

struct Ours(EventQueue<u64, u64>);

impl Structure for Ours {
    fn fresh() -> Self {
        Self(EventQueue::new(false))
    }

    fn push(&mut self, time: u64, payload: u64) {
        self.0.push(time, 1, payload);
    }

    fn pop(&mut self) -> Option<(u64, u64)> {
        self.0.pop(|_| false).map(|taken| (taken.key.time, taken.action))
    }
}

/// With slots and tombstones, so that it could cancel too.
#[derive(Default)]
struct StdHeap {
    heap: BinaryHeap<Reverse<(u64, i32, u64, u32)>>,
    slots: Vec<Option<u64>>,
    vacant: Vec<u32>,
    sequence: u64,
}

impl Structure for StdHeap {
    fn fresh() -> Self {
        Self::default()
    }

    fn push(&mut self, time: u64, payload: u64) {
        let slot = self.vacant.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(Some(payload));
        } else {
            self.slots[slot as usize] = Some(payload);
        }
        self.heap.push(Reverse((time, 1, self.sequence, slot)));
        self.sequence += 1;
    }

    fn pop(&mut self) -> Option<(u64, u64)> {
        loop {
            let Reverse((time, _, _, slot)) = self.heap.pop()?;
            self.vacant.push(slot);
            if let Some(payload) = self.slots[slot as usize].take() {
                return Some((time, payload));
            }
        }
    }
}

#[derive(Default)]
struct Hashed {
    queue: PriorityQueue<u64, Reverse<(u64, i32, u64)>>,
    sequence: u64,
}

impl Structure for Hashed {
    fn fresh() -> Self {
        Self::default()
    }

    fn push(&mut self, time: u64, payload: u64) {
        self.queue.push(self.sequence, Reverse((time, payload as i32, self.sequence)));
        self.sequence += 1;
    }

    fn pop(&mut self) -> Option<(u64, u64)> {
        self.queue.pop().map(|(_, Reverse((time, payload, _)))| (time, payload as u64))
    }
}
