//! The queue against a vector that is kept sorted.

use std::cell::Cell;
use std::cmp::Ordering;
use std::panic::panic_any;

use super::{EventQueue, EventTicket, PoppedEvent};
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
    tickets: Vec<EventTicket>,
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

fn apply(queue: &mut EventQueue<i8, usize>, model: &mut Model, op: Op) {
    match op {
        Op::Push { time, rank } => {
            let number = model.tickets.len();
            let (ticket, first) = queue.push(time, rank, number);
            assert_eq!(ticket.id, model.sequence);
            model.tickets.push(ticket);
            assert_eq!(first, model.insert(time, rank, number));
        }
        Op::Pop | Op::Leave => {
            let leave = matches!(op, Op::Leave);
            let popped = queue.pop(|_| leave);
            let expected = (!model.queued.is_empty()).then(|| model.queued.remove(0));
            let seen = popped.map(|PoppedEvent { key, action, .. }| {
                (key.time, key.rank(), key.sequence, action)
            });
            assert_eq!(seen, expected);
            if let (true, Some((_, rank, _, number))) = (leave, expected) {
                model.away.push((rank, number));
            }
        }
        Op::Reenter { time } => {
            if !model.away.is_empty() {
                let (rank, number) = model.away.remove(0);
                let first = queue.reenter(model.tickets[number], time, rank, number);
                assert_eq!(first, Ok(model.insert(time, rank, number)));
            }
        }
        Op::Cancel(index) => {
            if !model.tickets.is_empty() {
                let number = index.index(model.tickets.len());
                let cancelled = queue.cancel(model.tickets[number]);
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
            let (mut actions, away) = queue.clear();
            actions.sort_unstable();
            let mut expected: Vec<_> = model.queued.drain(..).map(|event| event.3).collect();
            expected.sort_unstable();
            assert_eq!((actions, away), (expected, model.away.drain(..).count()));
        }
    }
}

/// The invariants that the comments promise.
fn check(queue: &EventQueue<i8, usize>) {
    let live = |key| EventQueue::is_live(&queue.slots, key);
    assert_eq!(queue.keys.iter().filter(|key| live(key)).count(), queue.len());
    assert!(queue.keys.first().is_none_or(live), "the top is dead");
    assert!(queue.keys.len() <= 2 * queue.len() + 1, "too many dead keys");
    queue.keys.check();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // S4, S5, S6, S7, S8: the order, and a sequence that is never reused; S20: exact cancellation.
    #[test]
    fn agrees_with_a_sorted_vector(
        ops in prop::collection::vec(op(), 0..300),
        bounded_latency: bool,
    ) {
        let mut queue = EventQueue::new(bounded_latency);
        let mut model = Model::default();
        for op in ops {
            apply(&mut queue, &mut model, op);
            check(&queue);
            prop_assert_eq!(queue.len(), model.queued.len());
            let first = queue.first().map(|key| key.sequence);
            prop_assert_eq!(first, model.queued.first().map(|event| event.2));
            let mut listed: Vec<_> = queue.iter().map(|(key, _, number)| (*key, *number)).collect();
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
        let mut queue = EventQueue::new(false);
        let mut sorted: Vec<_> = (0..1_000).map(|n| (pattern(n), n)).collect();
        for (time, number) in &sorted {
            queue.push(*time, 0, *number);
            queue.keys.check();
        }
        sorted.sort_unstable();
        let mut left = Vec::new();
        while let Some(taken) = queue.pop(|_| false) {
            left.push((taken.key.time, taken.action));
            queue.keys.check();
        }
        assert_eq!(left, sorted);
    }
}

#[test]
fn cancelling_everything_frees_slots_and_keys() {
    let mut queue = EventQueue::new(false);
    for round in 0..10 {
        let tickets: Vec<_> = (0..1000).map(|n| queue.push(n * 7 % 1000, 0, round).0).collect();
        for ticket in tickets {
            assert!(queue.cancel(ticket).is_some());
        }
        assert!(queue.keys.len() == 0);
        assert_eq!(queue.slots.len(), 1000, "slots of cancelled events are used again");
    }
}

#[test]
fn what_is_behind_comes_up_when_all_in_front_was_cancelled() {
    for count in 30..50 {
        for left in [1, count / 2 - 1] {
            let mut queue = EventQueue::new(false);
            let tickets: Vec<_> = (0..count).map(|n| queue.push(n, 0, n).0).collect();
            // The first at last, so that the dead stay until they are more than half.
            for ticket in tickets[..(count - left) as usize].iter().rev() {
                assert!(queue.cancel(*ticket).is_some());
                queue.keys.check();
            }
            assert_eq!(queue.pop(|_| false).map(|taken| taken.action), Some(count - left));
        }
    }
}

// Each round enters more that are due before the rest than it runs.
#[test]
fn a_crowd_in_front_is_split_too() {
    let mut queue = EventQueue::new(false);
    for round in 0..100 {
        for n in 0..12 {
            queue.push(-100 * round + n, 0, n);
            queue.keys.check();
        }
        for n in 0..6 {
            assert_eq!(queue.pop(|_| false).map(|taken| taken.action), Some(n));
            queue.keys.check();
        }
    }
    assert_eq!(queue.len(), 600);
}

#[test]
fn a_key_with_a_64_bit_time_is_24_bytes() {
    assert_eq!(size_of::<super::super::key::Key<u64>>(), 24);
}

#[test]
fn slots_of_events_that_ran_are_used_again() {
    let mut queue = EventQueue::new(false);
    for round in 0..100 {
        (0..10).for_each(|n| _ = queue.push(round, 0, n));
        while queue.pop(|_| false).is_some() {}
    }
    assert_eq!(queue.slots.len(), 10);
    // One that is away keeps its own until it is cancelled.
    let (ticket, _) = queue.push(0, 0, 0);
    assert!(queue.pop(|_| true).is_some());
    (0..10).for_each(|n| _ = queue.push(0, 0, n));
    assert_eq!(queue.slots.len(), 11);
    assert!(queue.cancel(ticket).is_some());
    queue.push(0, 0, 10);
    assert_eq!(queue.slots.len(), 11);
}

/// A time whose comparison answers as the test wants, whatever the times are.
#[derive(Clone, Copy, Debug)]
struct Moody(i8);

thread_local! {
    /// The state of the generator that decides, and whether to panic now and then.
    static MOOD: Cell<(u32, bool)> = const { Cell::new((0, false)) };
}

fn mood(truth: Ordering) -> Ordering {
    let (state, panics) = MOOD.get();
    let state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    MOOD.set((state, panics));
    match state >> 24 {
        0..80 => Ordering::Less,
        80..160 => Ordering::Greater,
        160..163 if panics => panic_any(OnDrop),
        _ => truth,
    }
}

/// The payload of a panic that must not be dropped under a lock.
struct OnDrop;

impl Drop for OnDrop {
    fn drop(&mut self) {
        unreachable!("its drop is the user's");
    }
}

impl Ord for Moody {
    fn cmp(&self, other: &Self) -> Ordering {
        mood(self.0.cmp(&other.0))
    }
}

impl PartialOrd for Moody {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Moody {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Moody {}

/// Enters, cancels and pops as `ops` say; each event must leave once.
fn each_leaves_once(ops: &[Op], seed: u32, panics: bool, bounded_latency: bool) {
    MOOD.set((seed, panics));
    let mut queue = EventQueue::new(bounded_latency);
    let mut tickets = Vec::new();
    let mut left = Vec::new();
    let mut away = Vec::new();
    for op in ops {
        match op {
            Op::Push { time, rank } => {
                // Several, so that there are buckets.
                for add in 0..3 {
                    let time = Moody(time.wrapping_add(add));
                    tickets.push(queue.push(time, *rank, tickets.len()).0);
                }
            }
            Op::Pop => left.extend(queue.pop(|_| false).map(|taken| taken.action)),
            Op::Leave => away.extend(queue.pop(|_| true)),
            Op::Reenter { time } => {
                if let Some(taken) = away.pop() {
                    let again = queue.reenter(taken.ticket, Moody(*time), 0, taken.action);
                    left.extend(again.err());
                }
            }
            Op::Cancel(index) if !tickets.is_empty() => {
                let cancelled = queue.cancel(*index.get(&tickets));
                left.extend(cancelled.and_then(|cancelled| cancelled.action));
            }
            Op::Cancel(_) => {}
            Op::Clear => left.extend(queue.clear().0),
        }
        assert_eq!(queue.first().is_some(), queue.len() > 0, "what is queued can be had");
        assert_eq!(left.len() + away.len() + queue.len(), tickets.len());
    }
    left.extend(std::iter::from_fn(|| queue.pop(|_| false)).map(|taken| taken.action));
    left.extend(away.into_iter().map(|taken| taken.action));
    left.sort_unstable();
    assert_eq!(left, Vec::from_iter(0..tickets.len()));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_order_that_lies_breaks_the_order_only(
        ops in prop::collection::vec(op(), 0..300),
        seed: u32,
        bounded_latency: bool,
    ) {
        each_leaves_once(&ops, seed, false, bounded_latency);
    }
}

// Fewer, since each panic is printed.
proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 16 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_order_that_panics_breaks_the_order_only(
        ops in prop::collection::vec(op(), 0..100),
        seed: u32,
        bounded_latency: bool,
    ) {
        each_leaves_once(&ops, seed, true, bounded_latency);
    }
}
