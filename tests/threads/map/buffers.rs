//! Maps that run ahead of their reader by a limited number of calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{options, values};
use crate::support::{Busy, pool, tick, timely};

// case 55, F66
#[test]
fn any_buffer_size_keeps_the_order() {
    timely(|| {
        let pool = pool(2);
        for size in [1, 2, 9, 10, 11, usize::MAX] {
            let map = pool.map_with(options().buffer_size(size), |n: i32| n, 0..10).unwrap();
            assert_eq!(values(map), (0..10).collect::<Vec<_>>(), "buffer of {size}");
        }
    });
}

// case 56
#[test]
fn a_buffer_works_with_two_inputs() {
    timely(|| {
        let pool = pool(2);
        for size in [1, 4, 5] {
            let pairs = (0..4).zip(10..20);
            let map = pool.map_with(options().buffer_size(size), |(a, b): (i32, i32)| a * b, pairs);
            assert_eq!(values(map.unwrap()), [0, 11, 24, 39]);
        }
    });
}

// case 57, case 58
#[test]
fn a_buffer_makes_endless_inputs_possible() {
    timely(|| {
        let pool = pool(2);
        let map = pool.map_with(options().buffer_size(4), |n: u64| n * 2, 0..).unwrap();
        let first: Vec<u64> = map.take(3).map(Result::unwrap).collect();
        assert_eq!(first, [0, 2, 4]);
        let pairs = (0u64..).zip(5u64..);
        let map = pool.map_with(options().buffer_size(2), |(a, b)| a + b, pairs).unwrap();
        assert_eq!(map.take(2).map(Result::unwrap).collect::<Vec<u64>>(), [5, 7]);
    });
}

/// An endless input, and how many items were taken from it.
fn endless() -> (Arc<AtomicUsize>, impl Iterator<Item = i32> + Send) {
    let pulled = Arc::new(AtomicUsize::new(0));
    let own = Arc::clone(&pulled);
    (pulled, (0..).inspect(move |_| tick(&own)))
}

// case 61, F66, F67: exactly the buffer is pulled, and one more call with each next
#[test]
fn without_iterating_exactly_the_buffer_is_pulled() {
    timely(|| {
        let pool = pool(2);
        for (chunk, pulled_at_once) in [(1, 4), (5, 20)] {
            let (pulled, items) = endless();
            let options = options().buffer_size(4).chunk_size(chunk);
            let mut map = pool.map_with(options, |n: i32| n, items).unwrap();
            assert_eq!(pulled.load(Ordering::SeqCst), pulled_at_once);
            map.next().unwrap().unwrap();
            assert_eq!(pulled.load(Ordering::SeqCst), pulled_at_once + chunk);
        }
    });
}

// F66: Python's `next` submits before it waits
#[test]
fn a_waiting_next_holds_no_more_than_the_buffer() {
    timely(|| {
        let pool = pool(1);
        let _busy = Busy::on(&pool);
        for unordered in [false, true] {
            let (pulled, items) = endless();
            let options = options().buffer_size(4).timeout(Duration::ZERO).unordered(unordered);
            let mut map = pool.map_with(options, |n: i32| n, items).unwrap();
            assert!(map.next().unwrap().unwrap_err().is_timeout());
            assert_eq!(pulled.load(Ordering::SeqCst), 4);
        }
    });
}
