//! CPython's tests of the executor on threads: case 46 to case 66.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Executor, Map, MapOptions, ShutdownOptions, ThreadPoolExecutor};

use crate::support::{Busy, Counter, Gate, MOMENT, pool, tick, timely, until};

fn options() -> MapOptions {
    MapOptions::new()
}

fn values<R>(map: Map<'_, R>) -> Vec<R> {
    map.map(Result::unwrap).collect()
}

/// A map of `1..=3` whose middle item panics.
fn two_of_three(pool: &ThreadPoolExecutor, options: MapOptions) -> Vec<Option<i32>> {
    let map = pool.map_with(options, |n: i32| if n == 2 { panic!("two") } else { n }, 1..=3);
    map.unwrap().map(Result::ok).collect()
}

// case 46, F56
#[test]
fn a_submitted_call_returns_its_result() {
    timely(|| {
        let pool = pool(2);
        assert_eq!(
            *pool.submit(|(base, power)| u64::pow(base, power), (2, 10)).unwrap().result().unwrap(),
            1024
        );
        let text = String::from("captured");
        assert_eq!(pool.spawn(move || text.len()).unwrap().into_result().unwrap(), 8);
    });
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

// case 51, F61: then it is exhausted
/// Results stay in line with items.
#[test]
fn of_a_chunk_that_is_cancelled_each_item_fails() {
    for unordered in [false, true] {
        timely(move || {
            let pool = pool(1);
            let busy = Busy::on(&pool);
            let options = options().chunk_size(3).unordered(unordered);
            let map = pool.map_with(options, |n: i32| n, 0..8).unwrap();
            let options = ShutdownOptions::new().wait(false).cancel_futures(true);
            let _ = pool.shutdown_with(options);
            drop(busy);
            let failures: Vec<_> = map.map(Result::unwrap_err).collect();
            assert_eq!(failures.len(), 8);
            assert!(failures.iter().all(Error::is_cancelled));
        });
    }
}

#[test]
fn a_slow_call_ends_the_map_with_a_timeout() {
    timely(|| {
        let pool = pool(1);
        let gate = Gate::new();
        let task = {
            let gate = gate.clone();
            move |n: i32| {
                if n == 1 {
                    gate.pass()
                }
            }
        };
        let mut map = pool.map_with(options().timeout(MOMENT), task, 0..3).unwrap();
        let ended = map.by_ref().find_map(Result::err).unwrap();
        assert!(ended.is_timeout());
        assert!(map.next().is_none());
        assert!(map.next().is_none());
        gate.open();
    });
}

// F61, F66: with a buffer as well, whose calls are counted; what is done comes first
#[test]
fn a_buffered_map_whose_time_is_up_says_how_many_of_how_many() {
    for unordered in [false, true] {
        timely(move || {
            let (begun, gate) = (Gate::new(), Gate::new());
            let pool = pool(1);
            let task = {
                let (begun, gate) = (begun.clone(), gate.clone());
                move |n: i32| {
                    if n == 1 {
                        begun.open();
                        gate.pass();
                    }
                    n
                }
            };
            let options = options().buffer_size(2).timeout(Duration::ZERO).unordered(unordered);
            let mut map = pool.map_with(options, task, 0..).unwrap();
            begun.pass(); // so the one before has ended
            assert_eq!(map.next().unwrap().unwrap(), 0);
            let error = map.next().unwrap().unwrap_err();
            assert_eq!(error.to_string(), "3 (of 4) futures unfinished", "{unordered}");
            assert!(map.next().is_none());
            gate.open();
        });
    }
}

// F61: the timeout of an unordered map; what is done comes first
#[test]
fn an_unordered_map_runs_out_of_time_after_what_is_done() {
    timely(|| {
        let pool = pool(2);
        let busy = Busy::on(&pool);
        let quick = Arc::new(AtomicUsize::new(0));
        let task = {
            let quick = Arc::clone(&quick);
            move |gate: Option<Gate>| match gate {
                Some(gate) => gate.pass(),
                None => tick(&quick),
            }
        };
        let gate = Gate::new();
        let items = vec![None, None, Some(gate.clone())];
        let options = options().unordered(true).timeout(MOMENT * 50);
        let seen: Vec<_> = pool.map_with(options, task, items).unwrap().collect();
        assert!(seen[0].is_ok() && seen[1].is_ok());
        assert_eq!(seen[2].as_ref().unwrap_err().to_string(), "1 (of 3) futures unfinished");
        assert_eq!(seen.len(), 3);
        gate.open();
        drop(busy);
    });
}

// case 52, F64: dropping it, started or not, cancels what has not started
#[test]
fn dropping_a_map_cancels_what_has_not_started() {
    for started in [false, true] {
        timely(move || {
            let pool = pool(1);
            let ran = Arc::new(AtomicUsize::new(0));
            let task = {
                let ran = Arc::clone(&ran);
                move |_: i32| tick(&ran)
            };
            let busy = if started { None } else { Some(Busy::on(&pool)) };
            let gate = Gate::new();
            let first = {
                let gate = gate.clone();
                move |n: i32| {
                    if started && n == 1 {
                        gate.pass();
                    }
                    task(n);
                }
            };
            let mut map = pool.map(first, 0..50);
            if started {
                map.next().unwrap().unwrap();
                until(|| format!("{pool:?}").contains("pending: 48"));
            }
            drop(map);
            gate.open();
            drop(busy);
            pool.shutdown();
            assert_eq!(ran.load(Ordering::SeqCst), if started { 2 } else { 0 });
        });
    }
}

// case 54, F66, F65
#[test]
fn sizes_of_zero_are_refused() {
    let pool = pool(1);
    let message = |options| pool.map_with(options, |n: i32| n, 0..3).unwrap_err().to_string();
    assert_eq!(message(options().buffer_size(0)), "buffersize must be None or > 0");
    assert_eq!(message(options().chunk_size(0)), "chunksize must be >= 1.");
}

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

// case 61, F66, F67: exactly the buffer is pulled, and one more call with each next
#[test]
fn without_iterating_exactly_the_buffer_is_pulled() {
    timely(|| {
        let pool = pool(2);
        for (chunk, pulled_at_once) in [(1, 4), (5, 20)] {
            let pulled = Arc::new(AtomicUsize::new(0));
            let items = {
                let pulled = Arc::clone(&pulled);
                (0..).inspect(move |_| tick(&pulled))
            };
            let options = options().buffer_size(4).chunk_size(chunk);
            let mut map = pool.map_with(options, |n: i32| n, items).unwrap();
            assert_eq!(pulled.load(Ordering::SeqCst), pulled_at_once);
            map.next().unwrap().unwrap();
            assert_eq!(pulled.load(Ordering::SeqCst), pulled_at_once + chunk);
        }
    });
}

// case 62
#[test]
fn a_map_and_then_a_shutdown_do_not_hang() {
    timely(|| {
        for _ in 0..crate::support::rounds(100) {
            let pool = pool(5);
            let map = pool.map(|n: i32| n, 0..6);
            pool.shutdown();
            assert_eq!(values(map).len(), 6);
        }
    });
}

// case 63, F15: nor does a cancelled call's place in the queue keep anything
#[test]
fn the_pool_keeps_nothing_of_a_call_that_ran() {
    timely(|| {
        let pool = pool(1);
        let counter = Counter::new();
        let capture = counter.one();
        pool.spawn(move || drop(capture)).unwrap().result().unwrap();
        let kept = counter.one();
        let call = pool.submit(|thing: &'static str| thing.len(), "argument").unwrap();
        drop(call);
        let holder = pool.spawn(move || std::mem::size_of_val(&kept)).unwrap();
        assert!(*holder.result().unwrap() > 0);
        assert_eq!(counter.dropped(), 2, "gone before the result was seen");
    });
}

// case 64, F77
#[test]
fn no_workers_are_refused() {
    let error = ThreadPoolExecutor::new(0).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)));
    assert_eq!(error.to_string(), "max_workers must be greater than 0");
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

// F57: calls start in the order they were submitted
#[test]
fn one_worker_runs_calls_in_the_order_they_came() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..500 {
            let order = Arc::clone(&order);
            drop(pool.spawn(move || order.lock().unwrap().push(n)).unwrap());
        }
        busy.let_go();
        pool.shutdown();
        assert_eq!(*order.lock().unwrap(), (0..500).collect::<Vec<_>>());
    });
}

// F60: an input that fails
#[test]
fn a_panicking_input_surfaces_at_the_map_or_at_the_next() {
    timely(|| {
        let pool = pool(1);
        let bad = || (0..5).inspect(|n| assert!(*n < 2, "bad input"));
        let at_once = std::panic::AssertUnwindSafe(|| pool.map(|n: i32| n, bad()).count());
        assert!(std::panic::catch_unwind(at_once).is_err());
        let mut map = pool.map_with(options().buffer_size(2), |n: i32| n, bad()).unwrap();
        let next = std::panic::AssertUnwindSafe(|| map.next().is_some());
        assert!(std::panic::catch_unwind(next).is_err());
        assert_eq!(values(map), [0, 1], "what was submitted before is still there");
    });
}

#[test]
fn a_map_whose_items_panic_when_dropped_cancels_its_calls_all_the_same() {
    struct Items(std::ops::Range<i32>);
    impl Iterator for Items {
        type Item = i32;
        fn next(&mut self) -> Option<i32> {
            self.0.next()
        }
    }
    impl Drop for Items {
        fn drop(&mut self) {
            panic!("as asked");
        }
    }
    timely(|| {
        for options in [options(), options().unordered(true)] {
            let pool = pool(1);
            let busy = Busy::on(&pool);
            let ran = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&ran);
            let count = move |_| tick(&counts);
            drop(pool.map_with(options.buffer_size(3), count, Items(0..9)).unwrap());
            busy.let_go();
            pool.shutdown();
            assert_eq!(ran.load(Ordering::SeqCst), 0);
        }
    });
}

// F60: as in Python the call fails where it can; a refusal that comes later follows the results
#[test]
fn a_map_with_options_on_a_closed_pool_fails_at_the_call() {
    timely(|| {
        let pool = pool(1);
        pool.shutdown();
        for options in [options(), options().buffer_size(2), options().unordered(true)] {
            let refused = pool.map_with(options, |n: i32| n, 0..9);
            assert!(matches!(refused, Err(Error::Shutdown)), "{options:?}");
            let refused = Executor::map_with(&pool, options, |n: i32| n, 0..9);
            assert!(matches!(refused, Err(Error::Shutdown)), "{options:?}, by the trait");
            assert!(pool.map_with(options, |n: i32| n, 0..0).unwrap().next().is_none());
        }
    });
}

// F60, F68: a map of nothing on a closed pool is no error; of something, it yields the refusal
#[test]
fn a_map_on_a_closed_pool_yields_the_refusal_and_ends() {
    timely(|| {
        let pool = pool(1);
        let mut buffered = pool.map_with(options().buffer_size(2), |n: i32| n, 0..9).unwrap();
        pool.shutdown();
        assert!(pool.map(|n: i32| n, 0..0).next().is_none());
        let mut refused = pool.map(|n: i32| n, 0..9);
        assert!(matches!(refused.next(), Some(Err(Error::Shutdown))));
        assert!(refused.next().is_none());
        let seen: Vec<_> = buffered.by_ref().collect();
        assert_eq!(seen.len(), 3, "the buffer, then the refusal");
        assert!(matches!(seen[2], Err(Error::Shutdown)));
    });
}

// F61, F62: after the timeout nothing comes, also if the pool was closed halfway
#[test]
fn nothing_follows_the_timeout_of_a_map() {
    timely(|| {
        let pool = Arc::new(pool(1));
        let busy = Busy::on(&pool);
        let closer = Arc::clone(&pool);
        let items = (0..5).inspect(move |n| {
            if *n == 2 {
                let now = concurrent::futures::ShutdownOptions::new().wait(false);
                closer.shutdown_with(now);
            }
        });
        let mut map = pool.map_with(options().timeout(Duration::ZERO), |n: i32| n, items).unwrap();
        assert!(map.next().unwrap().unwrap_err().is_timeout());
        assert!(map.next().is_none());
        drop(busy);
    });
}
