//! The counts of owners: the value is dropped once, after all that was done with it, and the memory
//! is freed after that. The very source; in the other models its counts are hidden from loom, as
//! those of an `Arc` would be.

#[path = "../../src/futures/call/pair_arc.rs"]
#[expect(dead_code, reason = "what concerns one thread alone needs no model")]
mod protocol;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::sync::atomic as counting;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::{Outcomes, Watched};
use protocol::{PairArc, WeakPairArc};

/// Loom reports it if the drop is not ordered after what owners read.
struct Value {
    watched: Watched,
    drops: Arc<AtomicUsize>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two owners of a value, and how often it was dropped.
fn pair() -> (PairArc<Value>, PairArc<Value>, impl Fn() -> usize) {
    let drops = Arc::new(AtomicUsize::new(0));
    let (one, other) = PairArc::pair(Value { watched: Watched::new(9), drops: Arc::clone(&drops) });
    (one, other, move || drops.load(Ordering::Relaxed))
}

/// An owner and a weak one.
fn with_weak() -> (PairArc<Value>, WeakPairArc<Value>, impl Fn() -> usize) {
    let (one, other, drops) = pair();
    drop(other);
    let weak = PairArc::downgrade(&one);
    (one, weak, drops)
}

/// Has loom try both orders of what one thread does before [`passes`](Self::passes) and another after
/// [`looks`](Self::looks), and orders nothing. Two looks at one count alone have it try but one.
#[derive(Default)]
struct Crossroads(Arc<AtomicBool>);

impl Crossroads {
    fn other(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn passes(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn looks(&self) {
        self.0.load(Ordering::Relaxed);
    }
}

/// A worker that ends a call while its caller takes the result: one of them is told that it is last.
#[test]
fn what_one_owner_did_comes_before_the_drop_by_the_other() {
    let outcomes = Outcomes::of(|| {
        let (one, other, drops) = pair();
        let roads = Crossroads::default();
        let own = roads.other();
        let worker = thread::spawn(move || {
            assert_eq!(one.watched.get(), 9);
            let is_last = PairArc::leave(one).is_some();
            own.passes();
            is_last
        });
        roads.looks();
        let last = PairArc::leave(other);
        let is_last = last.is_some();
        drop(last);
        assert_eq!(usize::from(worker.join().unwrap()) + usize::from(is_last), 1);
        assert_eq!(drops(), 1);
        is_last
    });
    outcomes.assert([false, true]);
}

/// An owner that sees that it is alone sees what the others did.
#[test]
fn of_three_owners_the_last_drops() {
    let outcomes = Outcomes::of(|| {
        let (one, other, drops) = pair();
        let third = PairArc::clone(&one);
        let roads = Crossroads::default();
        let threads = [one, third].map(|owner| {
            let own = roads.other();
            thread::spawn(move || {
                let value = owner.watched.get();
                drop(owner);
                own.passes();
                value
            })
        });
        roads.looks();
        drop(other);
        let values = threads.map(|thread| thread.join().unwrap());
        assert_eq!(drops(), 1);
        values
    });
    outcomes.assert([[9, 9]]);
}

/// Somebody who only watches a call while its last owner leaves.
#[test]
fn a_weak_one_becomes_an_owner_as_long_as_there_is_one() {
    let outcomes = Outcomes::of(|| {
        let (one, weak, drops) = with_weak();
        let roads = Crossroads::default();
        let own = roads.other();
        let watcher = thread::spawn(move || {
            let owner = weak.upgrade();
            drop(weak);
            let value = owner.map(|owner| owner.watched.get());
            own.passes();
            value
        });
        assert_eq!(one.watched.get(), 9);
        roads.looks();
        drop(one);
        let value = watcher.join().unwrap();
        assert_eq!(drops(), 1);
        value
    });
    outcomes.assert([None, Some(9)]);
}

/// The last owner may find itself alone before or after that, and the value is dropped once.
#[test]
fn a_weak_one_ends_while_the_last_owner_does() {
    let outcomes = Outcomes::of(|| {
        let (one, weak, drops) = with_weak();
        let roads = Crossroads::default();
        let own = roads.other();
        let watcher = thread::spawn(move || {
            drop(weak);
            own.passes();
        });
        roads.looks();
        drop(one);
        watcher.join().unwrap();
        drops()
    });
    outcomes.assert([1]);
}
