//! Hand-written schedulers: a standard heap with tombstones, and the `priority-queue` crate, each behind
//! a lock, since ours may be used from several threads.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{Hash, Hasher};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use priority_queue::PriorityQueue;

use super::work::{Peer, Sample, WARM_UP, boxed_action, bytes_each, hold_operations, take_ran};
use crate::random::Random;

type Action = Box<dyn FnOnce() + Send>;
/// Time, priority, sequence.
type Order = (u64, i32, u64);

/// A queue of actions.
trait Queue: Default {
    const NAME: &'static str;
    fn push(&mut self, order: Order, action: Action) -> usize;
    fn pop(&mut self) -> Option<(u64, Action)>;
    /// Removes the action of the event for which `push` returned `handle`.
    fn cancel(&mut self, handle: usize) -> Option<Action>;
}

/// The standard library's heap of order and slot; cancelling empties the slot.
#[derive(Default)]
pub struct StdHeap {
    heap: BinaryHeap<Reverse<(Order, usize)>>,
    slots: Vec<Option<Action>>,
    vacant: Vec<usize>,
}

impl Queue for StdHeap {
    const NAME: &'static str = "std BinaryHeap + tombstones";

    fn push(&mut self, order: Order, action: Action) -> usize {
        let slot = self.vacant.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(Some(action));
        } else {
            self.slots[slot] = Some(action);
        }
        self.heap.push(Reverse((order, slot)));
        slot
    }

    fn pop(&mut self) -> Option<(u64, Action)> {
        loop {
            let Reverse(((time, ..), slot)) = self.heap.pop()?;
            self.vacant.push(slot); // not before: its key would find the next tenant
            if let Some(action) = self.slots[slot].take() {
                return Some((time, action));
            }
        }
    }

    fn cancel(&mut self, handle: usize) -> Option<Action> {
        self.slots[handle].take()
    }
}

/// `priority-queue` finds its items by hash.
#[derive(Default)]
pub struct HashedHeap(PriorityQueue<Item, Reverse<Order>>);

struct Item(usize, Action);

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Item {}

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Borrow<usize> for Item {
    fn borrow(&self) -> &usize {
        &self.0
    }
}

impl Queue for HashedHeap {
    const NAME: &'static str = "priority-queue";

    fn push(&mut self, order: Order, action: Action) -> usize {
        let id = order.2 as usize;
        self.0.push(Item(id, action), Reverse(order));
        id
    }

    fn pop(&mut self) -> Option<(u64, Action)> {
        self.0.pop().map(|(Item(_, action), Reverse((time, ..)))| (time, action))
    }

    fn cancel(&mut self, handle: usize) -> Option<Action> {
        self.0.remove(&handle).map(|(item, _)| item.1)
    }
}

/// A queue as a scheduler with a virtual clock.
#[derive(Default)]
struct Locked<Q>(Mutex<(Q, u64)>);

impl<Q: Queue> Locked<Q> {
    fn enter(&self, time: u64, action: Action) -> usize {
        let mut state = self.0.lock().unwrap();
        let sequence = state.1;
        state.1 += 1;
        state.0.push((time, 1, sequence), action)
    }

    fn next(&self) -> Option<(u64, Action)> {
        self.0.lock().unwrap().0.pop()
    }

    fn fill(count: usize, random: &mut Random) -> Self {
        let queue = Self::default();
        (0..count).for_each(|_| {
            queue.enter(random.time(), boxed_action(1, 0));
        });
        queue
    }
}

/// The peer that uses a `Q`.
#[derive(Default)]
pub struct ByHand<Q>(std::marker::PhantomData<Q>);

impl<Q> ByHand<Q> {
    pub fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<Q: Queue> Peer for ByHand<Q> {
    fn name(&self) -> &'static str {
        Q::NAME
    }

    fn bulk(&mut self, count: usize) -> Option<Sample> {
        let mut random = Random::new();
        let sample = Sample::of(count, || {
            let queue = Locked::<Q>::fill(count, &mut random);
            while let Some((_, action)) = queue.next() {
                action();
            }
        });
        assert_eq!(take_ran(), count as u64);
        Some(sample)
    }

    fn hold(&mut self, pending: usize) -> Option<Sample> {
        let operations = hold_operations(pending);
        let mut random = Random::new();
        let queue = Locked::<Q>::fill(pending, &mut random);
        let mut hold = |operations| {
            for _ in 0..operations {
                let (now, action) = queue.next().unwrap();
                action();
                queue.enter(now + random.time(), boxed_action(1, 0));
            }
        };
        hold(WARM_UP);
        let sample = Sample::of(operations, || hold(operations));
        assert_eq!(take_ran(), (WARM_UP + operations) as u64);
        Some(sample)
    }

    fn cancel(&mut self, count: usize) -> Option<Sample> {
        let mut random = Random::new();
        let queue = Locked::<Q>::default();
        let mut handles: Vec<_> =
            (0..count).map(|_| queue.enter(random.time(), boxed_action(1, 0))).collect();
        random.shuffle(&mut handles);
        let half = &handles[..count / 2];
        Some(Sample::of(half.len(), || {
            for handle in half {
                let action = queue.0.lock().unwrap().0.cancel(*handle);
                assert!(action.is_some());
            }
        }))
    }

    fn memory(&mut self, count: usize) -> Option<f64> {
        Some(bytes_each(count, || Locked::<Q>::fill(count, &mut Random::new())))
    }
}

/// A thread that sleeps on a condition variable: the lateness of the wait alone.
pub struct StdCondvar;

impl Peer for StdCondvar {
    fn name(&self) -> &'static str {
        "std Condvar, nothing else"
    }

    fn lateness(&mut self, count: usize) -> Option<(Vec<f64>, f64)> {
        let (lock, condvar) = (Mutex::new(()), Condvar::new());
        let mut late = Vec::with_capacity(count);
        let start = Instant::now() + Duration::from_millis(5);
        let sample = Sample::of(count, || {
            for number in 0..count {
                let due = start + Duration::from_millis(number as u64);
                let mut guard = lock.lock().unwrap();
                loop {
                    let now = Instant::now();
                    if now >= due {
                        late.push((now - due).as_nanos() as f64 / 1e3);
                        break;
                    }
                    guard = condvar.wait_timeout(guard, due - now).unwrap().0;
                }
            }
        });
        Some((late, sample.cpu / 1e3))
    }
}
