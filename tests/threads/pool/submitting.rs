//! Submitted calls run, and the pool keeps nothing of them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use concurrent::futures::Future;

use crate::support::{Counter, pool, rounds, timely, within};

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

// Results of every kind: not Sync, not Clone, zero-sized, huge.
#[test]
fn any_result_that_is_send_will_do() {
    struct Unit;
    timely(|| {
        let pool = pool(1);
        let cell = pool.spawn(|| Cell::new(5)).unwrap();
        cell.result().unwrap().set(6);
        assert_eq!(cell.into_result().unwrap().get(), 6);
        let Unit = pool.spawn(|| Unit).unwrap().into_result().unwrap();
        let zeros = pool.spawn(|| [0_u8; 65_536]).unwrap();
        assert_eq!(zeros.result().unwrap().len(), 65_536);
        assert!(zeros.into_result().unwrap().iter().all(|byte| *byte == 0));
        let boxed = pool.spawn(|| vec![7_u8; 1 << 20].into_boxed_slice()).unwrap();
        assert_eq!(boxed.into_result().unwrap()[1 << 19], 7);
        let never: Future<std::convert::Infallible> = pool.spawn(|| panic!("none")).unwrap();
        assert!(never.exception().unwrap().is_some());
    });
}

// F57: a million calls of eight submitters, none lost
#[test]
fn a_million_calls_of_eight_submitters_are_all_run() {
    within(Duration::from_secs(120), || {
        let pool = Arc::new(pool(2));
        let each = rounds(1_000_000) / 8;
        let submitters: Vec<_> = (0..8_u64)
            .map(|submitter| {
                let pool = Arc::clone(&pool);
                let submit = move || {
                    let calls: Vec<_> = (0..each)
                        .map(|n| pool.spawn(move || n as u64 ^ submitter).unwrap())
                        .collect();
                    let right = |(n, call): (usize, Future<u64>)| {
                        call.into_result().unwrap() == n as u64 ^ submitter
                    };
                    calls
                        .into_iter()
                        .enumerate()
                        .filter_map(|pair| right(pair).then_some(()))
                        .count()
                };
                std::thread::spawn(submit)
            })
            .collect();
        for submitter in submitters {
            assert_eq!(submitter.join().unwrap(), each);
        }
    });
}
