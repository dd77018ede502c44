//! How maps end: time limits, cancels, drops, closed pools, inputs that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{MapOptions, ShutdownOptions};

use super::{options, values};
use crate::support::{Busy, Gate, MOMENT, pool, tick, timely, until};

// F61: a timeout of nothing on a map of nothing
#[test]
fn an_empty_map_ends_before_its_timeout() {
    let options = MapOptions::new().timeout(Duration::ZERO);
    assert!(pool(1).map_with(options, |n: i32| n, 0..0).unwrap().next().is_none());
}

// F64: dropping a map that was never advanced cancels it
#[test]
fn a_map_always_cancels_on_drop() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        drop(pool.map(|_: i32| panic!("must not run"), 0..20));
        let report = pool.shutdown_with(ShutdownOptions::new().wait(false));
        assert_eq!(report.pending, 0);
        drop(busy);
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
            assert_eq!(error.to_string(), "2 (of 3) futures unfinished", "{unordered}");
            assert!(map.next().is_none());
            gate.open();
        });
    }
}

#[test]
fn a_map_whose_time_is_up_counts_what_is_done_behind_as_finished() {
    for chunk in [1, 2] {
        timely(move || {
            let (begun, gate) = (Gate::new(), Gate::new());
            let pool = pool(2);
            let (task_begun, task_gate) = (begun.clone(), gate.clone());
            let task = move |n: usize| {
                // The other worker runs the second call, and then begins the third.
                if n == 2 * chunk {
                    task_begun.open();
                }
                if n == 0 || n == 2 * chunk {
                    task_gate.pass();
                }
            };
            let options = options().timeout(MOMENT).chunk_size(chunk);
            let mut map = pool.map_with(options, task, 0..3 * chunk).unwrap();
            begun.pass();
            let error = map.next().unwrap().unwrap_err();
            assert_eq!(error.to_string(), "2 (of 3) futures unfinished", "{chunk}");
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

// F60: an input that fails
#[test]
fn a_panicking_input_surfaces_at_the_map_or_at_the_next() {
    timely(|| {
        let pool = pool(1);
        let bad = || (0..5).inspect(|n| assert!(*n < 2, "bad input"));
        let at_once = std::panic::AssertUnwindSafe(|| pool.map(|n: i32| n, bad()).count());
        assert!(std::panic::catch_unwind(at_once).is_err());
        for unordered in [false, true] {
            let options = options().buffer_size(2).unordered(unordered);
            let mut map = pool.map_with(options, |n: i32| n, bad()).unwrap();
            let next = std::panic::AssertUnwindSafe(|| map.next().is_some());
            assert!(std::panic::catch_unwind(next).is_err());
            assert_eq!(values(map), [0, 1], "what was submitted before is still there");
        }
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
            #[cfg(feature = "process")]
            {
                use concurrent::futures::Executor;
                let refused = Executor::map_with(&pool, options, |n: i32| n, 0..9);
                assert!(matches!(refused, Err(Error::Shutdown)), "{options:?}, by the trait");
            }
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

// case 73, F62: a map's timeout cancels the element that is waited for, too
#[test]
fn a_maps_timeout_cancels_the_element_it_waits_for() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let ran = Arc::new(AtomicUsize::new(0));
        let task = {
            let ran = Arc::clone(&ran);
            move |_: i32| tick(&ran)
        };
        let mut map = pool.map_with(MapOptions::new().timeout(MOMENT), task, 0..2).unwrap();
        assert!(map.next().unwrap().unwrap_err().is_timeout());
        busy.let_go();
        pool.shutdown();
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    });
}
