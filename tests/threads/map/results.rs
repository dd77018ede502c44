//! The results of a map: in order, in chunks, and errors in their places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::Error;
use concurrent::futures::{MapOptions, ThreadPoolExecutor};

use super::{options, values};
use crate::support::{Counter, pool, tick, timely};

#[test]
fn a_chunk_larger_than_the_input_is_one_call() {
    timely(|| {
        let pool = pool(1);
        let map = pool.map_with(MapOptions::new().chunk_size(usize::MAX), |n: i32| n, 0..10);
        assert_eq!(map.unwrap().map(Result::unwrap).sum::<i32>(), 45);
    });
}

// F63, F62: a map goes on after an error
#[test]
fn a_map_goes_on_after_an_error() {
    timely(|| {
        let pool = pool(2);
        let odd = |n: i32| if n % 2 == 0 { panic!("even") } else { n };
        let good: Vec<i32> = pool.map(odd, 0..50).filter_map(Result::ok).collect();
        assert_eq!(good, (0..50).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    });
}

/// A map of `1..=3` whose middle item panics.
fn two_of_three(pool: &ThreadPoolExecutor, options: MapOptions) -> Vec<Option<i32>> {
    let map = pool.map_with(options, |n: i32| if n == 2 { panic!("two") } else { n }, 1..=3);
    map.unwrap().map(Result::ok).collect()
}

// case 48, F59, F65: F65 ignores the chunk size on threads, here it is kept and checked
#[test]
fn map_gives_what_the_sequential_one_does_with_any_chunk_size() {
    timely(|| {
        let pool = pool(3);
        let expected: Vec<u32> = (0..50).map(|n| n * n).collect();
        assert_eq!(values(pool.map(|n: u32| n * n, 0..50)), expected);
        for size in [1, 2, 7, 50, 99] {
            let map = pool.map_with(options().chunk_size(size), |n: u32| n * n, 0..50).unwrap();
            assert_eq!(values(map), expected, "chunks of {size}");
        }
    });
}

// F59: zipped to the shortest
#[test]
fn several_inputs_are_zipped_to_the_shortest() {
    timely(|| {
        let pool = pool(2);
        let sums = pool.map(|(a, b): (i32, i32)| a + b, (1..10).zip([10, 20, 30]));
        assert_eq!(values(sums), [11, 22, 33]);
    });
}

// case 49, F63: the iteration goes on after an error, in chunks too
#[test]
fn an_error_comes_in_its_place_and_the_iteration_goes_on() {
    timely(|| {
        let pool = pool(2);
        for chunk in [1, 2, 3] {
            let seen = two_of_three(&pool, options().chunk_size(chunk));
            assert_eq!(seen, [Some(1), None, Some(3)], "chunks of {chunk}");
            let buffered = two_of_three(&pool, options().chunk_size(chunk).buffer_size(1));
            assert_eq!(buffered, [Some(1), None, Some(3)]);
        }
        let mut unordered = two_of_three(&pool, options().unordered(true));
        unordered.sort_unstable();
        assert_eq!(unordered, [None, Some(1), Some(3)]);
    });
}

// case 50, F21, F63: a task's own timeout is not the map's
#[test]
fn a_timeout_inside_a_call_does_not_end_the_map() {
    timely(|| {
        let pool = pool(2);
        let own = Error::Timeout { unfinished: 1, total: 1 };
        let task = move |n: i32| if n == 1 { Err(own.clone()) } else { Ok(n) };
        let seen = values(pool.map(task, 0..3));
        assert_eq!(seen[0].as_ref().unwrap(), &0);
        assert!(seen[1].as_ref().unwrap_err().is_timeout(), "the call's own, as a value");
        assert_eq!(seen[2].as_ref().unwrap(), &2);
    });
}

// case 59
#[test]
fn an_empty_input_gives_an_empty_map() {
    timely(|| {
        let pool = pool(1);
        let none = std::iter::empty::<i32>;
        assert!(pool.map(|n: i32| n, none()).next().is_none());
        for options in
            [options().buffer_size(2), options().unordered(true), options().chunk_size(3)]
        {
            assert!(pool.map_with(options, |n: i32| n, none()).unwrap().next().is_none());
        }
    });
}

// case 65, F69
#[test]
fn a_map_keeps_no_result_that_it_yielded() {
    timely(|| {
        let pool = pool(2);
        for options in [options(), options().unordered(true), options().buffer_size(2)] {
            let counter = Counter::new();
            let make = counter.clone();
            let mut map = pool.map_with(options, move |_| make.one(), 0..5).unwrap();
            for n in 1..=5 {
                drop(map.next().unwrap().unwrap());
                assert_eq!(counter.dropped(), n);
            }
        }
    });
}

// case 67, F59
#[test]
fn a_map_that_is_never_advanced_still_runs_everything() {
    timely(|| {
        let pool = pool(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let task = {
            let ran = Arc::clone(&ran);
            move |_: i32| tick(&ran)
        };
        let map = pool.map(task, 0..20);
        pool.shutdown();
        assert_eq!(ran.load(Ordering::SeqCst), 20);
        drop(map);
    });
}
