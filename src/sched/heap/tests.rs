//! The heap against a vector that is kept sorted.

use super::{Heap, Taken, Ticket};
use proptest::prelude::*;

/// What a test does to both.
#[derive(Clone, Debug)]
enum Op {
    Push {
        time: i8,
        rank: i32,
    },
    Pop,
    /// Pops, leaves the event away, and remembers it.
    Leave,
    /// Enters the oldest event that is away again.
    Reenter {
        time: i8,
    },
    /// Cancels one of all tickets that were ever given out.
    Cancel(prop::sample::Index),
    Clear,
}

/// Many that are equal, and many that are not.
fn time() -> impl Strategy<Value = i8> {
    prop_oneof![-3..4_i8, any::<i8>()]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (time(), -1..2_i32).prop_map(|(time, rank)| Op::Push { time, rank }),
        3 => Just(Op::Pop),
        1 => Just(Op::Leave),
        1 => time().prop_map(|time| Op::Reenter { time }),
        6 => any::<prop::sample::Index>().prop_map(Op::Cancel),
        1 => prop_oneof![20 => Just(Op::Pop), 1 => Just(Op::Clear)],
    ]
}

/// The obvious implementation.
#[derive(Default)]
struct Model {
    /// Time, rank, sequence, and the number of the ticket.
    queued: Vec<(i8, i32, u64, usize)>,
    away: Vec<(i32, usize)>,
    tickets: Vec<Ticket>,
    sequence: u64,
}

impl Model {
    fn insert(&mut self, time: i8, rank: i32, ticket: usize) -> bool {
        let event = (time, rank, self.sequence, ticket);
        self.sequence += 1;
        let at = self.queued.partition_point(|other| *other < event);
        self.queued.insert(at, event);
        at == 0
    }
}

fn apply(heap: &mut Heap<i8, usize>, model: &mut Model, op: Op) {
    match op {
        Op::Push { time, rank } => {
            let number = model.tickets.len();
            let (ticket, first) = heap.push(time, rank, number);
            assert_eq!(ticket.id, model.sequence);
            model.tickets.push(ticket);
            assert_eq!(first, model.insert(time, rank, number));
        }
        Op::Pop | Op::Leave => {
            let leave = matches!(op, Op::Leave);
            let popped = heap.pop(|_| leave);
            let expected = (!model.queued.is_empty()).then(|| model.queued.remove(0));
            let seen = popped
                .map(|Taken { key, action, .. }| (key.time, key.rank(), key.sequence, action));
            assert_eq!(seen, expected);
            if let (true, Some((_, rank, _, number))) = (leave, expected) {
                model.away.push((rank, number));
            }
        }
        Op::Reenter { time } => {
            if !model.away.is_empty() {
                let (rank, number) = model.away.remove(0);
                let first = heap.reenter(model.tickets[number], time, rank, number);
                assert_eq!(first, Ok(model.insert(time, rank, number)));
            }
        }
        Op::Cancel(index) => {
            if !model.tickets.is_empty() {
                let number = index.index(model.tickets.len());
                let cancelled = heap.cancel(model.tickets[number]);
                let queued = model.queued.iter().position(|event| event.3 == number);
                let away = model.away.iter().position(|event| event.1 == number);
                assert_eq!(cancelled.is_some(), queued.is_some() || away.is_some());
                if let Some(cancelled) = cancelled {
                    assert_eq!(cancelled.action, queued.map(|_| number));
                    assert_eq!(cancelled.first, queued == Some(0));
                }
                queued.map(|at| model.queued.remove(at));
                away.map(|at| model.away.remove(at));
            }
        }
        Op::Clear => {
            let (mut actions, away) = heap.clear();
            actions.sort_unstable();
            let mut expected: Vec<_> = model.queued.drain(..).map(|event| event.3).collect();
            expected.sort_unstable();
            assert_eq!((actions, away), (expected, model.away.drain(..).count()));
        }
    }
}

/// The invariants that the comments promise.
fn check(heap: &Heap<i8, usize>) {
    let live = |key| Heap::is_live(&heap.slots, key);
    assert_eq!(heap.keys.iter().filter(|key| live(key)).count(), heap.len());
    assert!(heap.keys.first().is_none_or(live), "the top is dead");
    assert!(heap.keys.len() <= 2 * heap.len() + 1, "too many dead keys");
    heap.keys.check();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // S4, S5, S6, S7, S8: the order, and a sequence that is never reused; S20: exact cancellation.
    #[test]
    fn agrees_with_a_sorted_vector(
        ops in prop::collection::vec(op(), 0..300),
        bounded_latency: bool,
    ) {
        let mut heap = Heap::new(bounded_latency);
        let mut model = Model::default();
        for op in ops {
            apply(&mut heap, &mut model, op);
            check(&heap);
            prop_assert_eq!(heap.len(), model.queued.len());
            let first = heap.first().map(|key| key.sequence);
            prop_assert_eq!(first, model.queued.first().map(|event| event.2));
            let mut listed: Vec<_> = heap.iter().map(|(key, _, number)| (*key, *number)).collect();
            listed.sort_unstable();
            let listed: Vec<_> = listed.into_iter().map(|(_, number)| number).collect();
            let expected: Vec<_> = model.queued.iter().map(|event| event.3).collect();
            prop_assert_eq!(listed, expected);
        }
    }
}

// S6: the order in which they leave does not depend on the order in which they came.
#[test]
fn arrivals_in_any_pattern_leave_in_order() {
    let patterns: [fn(i64) -> i64; 5] =
        [|n| n, |n| -n, |_| 0, |n| n % 10 * 100 + n / 10, |n| n * 7_919 % 1_009];
    for pattern in patterns {
        let mut heap = Heap::new(false);
        let mut sorted: Vec<_> = (0..1_000).map(|n| (pattern(n), n)).collect();
        for (time, number) in &sorted {
            heap.push(*time, 0, *number);
            heap.keys.check();
        }
        sorted.sort_unstable();
        let mut left = Vec::new();
        while let Some(taken) = heap.pop(|_| false) {
            left.push((taken.key.time, taken.action));
            heap.keys.check();
        }
        assert_eq!(left, sorted);
    }
}

#[test]
fn cancelling_everything_frees_slots_and_keys() {
    let mut heap = Heap::new(false);
    for round in 0..10 {
        let tickets: Vec<_> = (0..1000).map(|n| heap.push(n * 7 % 1000, 0, round).0).collect();
        for ticket in tickets {
            assert!(heap.cancel(ticket).is_some());
        }
        assert!(heap.keys.len() == 0);
        assert_eq!(heap.slots.len(), 1000, "slots of cancelled events are used again");
    }
}

#[test]
fn what_is_behind_comes_up_when_all_in_front_was_cancelled() {
    for count in 30..50 {
        for left in [1, count / 2 - 1] {
            let mut heap = Heap::new(false);
            let tickets: Vec<_> = (0..count).map(|n| heap.push(n, 0, n).0).collect();
            // The first at last, so that the dead stay until they are more than half.
            for ticket in tickets[..(count - left) as usize].iter().rev() {
                assert!(heap.cancel(*ticket).is_some());
                heap.keys.check();
            }
            assert_eq!(heap.pop(|_| false).map(|taken| taken.action), Some(count - left));
        }
    }
}

// Each round enters more that are due before the rest than it runs.
#[test]
fn a_crowd_in_front_is_split_too() {
    let mut heap = Heap::new(false);
    for round in 0..100 {
        for n in 0..12 {
            heap.push(-100 * round + n, 0, n);
            heap.keys.check();
        }
        for n in 0..6 {
            assert_eq!(heap.pop(|_| false).map(|taken| taken.action), Some(n));
            heap.keys.check();
        }
    }
    assert_eq!(heap.len(), 600);
}

#[test]
fn a_key_with_a_64_bit_time_is_24_bytes() {
    assert_eq!(size_of::<super::super::key::Key<u64>>(), 24);
}
