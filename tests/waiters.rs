//! A wait that is over leaves nothing behind with calls that are still pending.
//!
//! Counted by the allocator: a waiter that stays registered keeps its signal, and a list of waiters
//! that grows grows with it.
//!
//! A program of its own, because it replaces the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use concurrent::futures::ReturnWhen::{AllCompleted, FirstCompleted, FirstException};
use concurrent::futures::{Future, Promise, as_completed, as_completed_timeout, wait};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

thread_local! {
    /// Bytes that this thread has allocated and not freed.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: usize, sign: isize) {
    let bytes = sign * isize::try_from(bytes).expect("it was allocated");
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: all is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: what is asked of the caller here is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: it came from there.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const CALLS: usize = 20;
const ROUNDS: usize = if cfg!(miri) { 2 } else { 200 };

/// Calls that are pending, and stay so.
fn pending() -> Vec<(Promise<u8>, Future<u8>)> {
    (0..CALLS).map(|_| Promise::pair()).collect()
}

/// How many bytes `look` leaves in memory, once lists have grown to their size.
fn left_by(look: impl Fn(&[&Future<u8>])) -> isize {
    let calls = pending();
    let futures: Vec<_> = calls.iter().map(|(_promise, future)| future).collect();
    (0..ROUNDS).for_each(|_| look(&futures));
    let before = HELD.get();
    (0..ROUNDS).for_each(|_| look(&futures));
    HELD.get() - before
}

#[test]
fn a_wait_whose_time_is_up_leaves_no_waiter() {
    for when in [FirstCompleted, FirstException, AllCompleted] {
        for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
            let left = left_by(|futures| {
                let outcome = wait(futures.iter().copied(), timeout, when);
                assert_eq!(outcome.not_done.len(), CALLS);
            });
            assert_eq!(left, 0, "{when:?} {timeout:?}");
        }
    }
}

#[test]
fn a_wait_that_ends_early_leaves_no_waiter() {
    let left = left_by(|futures| {
        let (promise, done) = Promise::pair();
        promise.set_result(1).unwrap();
        let all = futures.iter().copied().chain([&done]);
        assert_eq!(wait(all, None, FirstCompleted).done, [&done]);
    });
    assert_eq!(left, 0);
}

#[test]
fn an_iterator_that_is_dropped_leaves_no_waiter() {
    assert_eq!(left_by(|futures| drop(as_completed(futures.iter().copied()))), 0);
    let left = left_by(|futures| {
        let (promise, done) = Promise::pair();
        promise.set_result(1).unwrap();
        let mut calls = as_completed(futures.iter().copied().chain([&done]));
        assert_eq!(calls.next(), Some(&done));
    });
    assert_eq!(left, 0, "after one was yielded");
    let left = left_by(|futures| {
        let mut calls = as_completed_timeout(futures.iter().copied(), Duration::ZERO);
        assert!(calls.next().unwrap().is_err());
    });
    assert_eq!(left, 0, "after its time was up");
}

#[test]
fn a_result_whose_time_is_up_leaves_no_waiter() {
    let left = left_by(|futures| {
        for future in futures {
            assert!(future.result_timeout(Duration::ZERO).is_err());
            assert!(future.exception_timeout(Duration::from_nanos(1)).is_err());
        }
    });
    assert_eq!(left, 0);
}
