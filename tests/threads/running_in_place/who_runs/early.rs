//! Waits that end before all that they wait for has: also in a call, and whatever else runs.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use concurrent::futures::ReturnWhen::{FirstCompleted, FirstException};
use concurrent::futures::{
    Future, MapOptions, Promise, RunInPlace, ThreadPoolExecutor, as_completed, first_ok, join_all,
    wait,
};

use super::{Others, SETTINGS, warm_up};
use crate::support::{OnceSlot, Pool, timely};

const SHORT: Duration = Duration::from_millis(5);

/// A call that ends only when the test is over, and a quick one that stands before it in the queue.
struct Calls<'a> {
    pool: &'a Pool,
    over: &'a OnceSlot<()>,
}

impl Calls<'_> {
    fn slow(&self) -> Future<u64> {
        let over = self.over.clone();
        self.pool.spawn(move || *over.get()).unwrap().map(|()| 1)
    }

    fn quick(&self) -> Future<u64> {
        self.pool.spawn(|| 2).unwrap()
    }

    fn fails(&self) -> Future<u64> {
        self.pool.spawn(|| Err("as asked")).unwrap().flatten()
    }

    /// The slow one first, although it was submitted last.
    fn slow_and(&self, other: Future<u64>) -> [Future<u64>; 2] {
        [self.slow(), other]
    }
}

type Ends = fn(&Calls<'_>) -> bool;

const WAITS: [(&str, Ends); 10] = [
    ("wait for the first", |own| {
        wait(own.slow_and(own.quick()), None, FirstCompleted).done.len() == 1
    }),
    ("wait for a failure", |own| {
        wait(own.slow_and(own.fails()), None, FirstException).done.len() == 1
    }),
    ("as_completed", |own| {
        let first = as_completed(own.slow_and(own.quick())).next();
        first.unwrap().into_result().unwrap() == 2
    }),
    ("unordered map", |own| {
        let (over, options) = (own.over.clone(), MapOptions::new().unordered(true));
        let function = move |slow: bool| {
            if slow {
                over.get();
            }
            slow
        };
        let map = own.pool.map_with(options, function, [false, true]).unwrap();
        !map.into_iter().next().unwrap().unwrap()
    }),
    ("first_ok", |own| first_ok(own.slow_and(own.quick())).into_result().unwrap() == 2),
    ("join_all of a failure", |own| join_all(own.slow_and(own.fails())).into_result().is_err()),
    ("with_timeout", |own| {
        own.slow().with_timeout(SHORT).into_result().is_err_and(|error| error.is_timeout())
    }),
    ("and_then of with_timeout", |own| {
        let late = own.slow().with_timeout(SHORT).and_then(Future::ready);
        late.into_result().is_err_and(|error| error.is_timeout())
    }),
    ("result_timeout", |own| {
        own.slow().result_timeout(SHORT).is_err_and(|error| error.is_timeout())
    }),
    ("wait in time", |own| {
        !wait(own.slow_and(own.quick()), SHORT, FirstException).not_done.is_empty()
    }),
];

fn ends(wait: Ends, setting: RunInPlace, workers: usize, others: Others) -> bool {
    let builder = ThreadPoolExecutor::builder().max_workers(workers);
    let pool = Arc::new(builder.run_in_place(setting).build().unwrap());
    if others == Others::Free {
        warm_up(&pool, workers);
    }
    let over = OnceSlot::new();
    let (inner, ends) = (Arc::clone(&pool), over.clone());
    let call = pool.spawn(move || wait(&Calls { pool: &inner, over: &ends })).unwrap();
    let ended = call.into_result();
    over.fill(());
    ended.unwrap()
}

#[test]
fn a_wait_that_may_end_early_does_while_other_calls_run() {
    for (name, wait) in WAITS {
        for setting in SETTINGS {
            for workers in [2, 3, 4] {
                for others in [Others::Free, Others::NotStarted] {
                    let row = format!("{name}, {setting:?}, {workers} workers, others {others:?}");
                    println!("{row}"); // shown if it hangs
                    assert!(timely(move || ends(wait, setting, workers, others)), "{row}");
                }
            }
        }
    }
}

/// The listener ends only when its submitter has seen the producer end, and tells it so: by a channel,
/// or by a promise.
#[test]
fn a_call_that_is_fed_by_the_one_that_waits_for_it_ends() {
    for (setting, workers) in SETTINGS.into_iter().flat_map(|setting| [(setting, 3), (setting, 4)])
    {
        for by_promise in [false, true] {
            timely(move || {
                let builder = ThreadPoolExecutor::builder().max_workers(workers);
                let pool = Arc::new(builder.run_in_place(setting).build().unwrap());
                let inner = Arc::clone(&pool);
                let call = pool.spawn(move || {
                    let (sender, receiver) = channel();
                    let (promise, future) = Promise::pair();
                    let listener = inner.spawn(move || match by_promise {
                        true => future.into_result().unwrap(),
                        false => receiver.recv().unwrap(),
                    });
                    let producer = inner.spawn(|| 1);
                    let mut calls = as_completed([listener.unwrap(), producer.unwrap()]);
                    assert_eq!(calls.next().unwrap().into_result().unwrap(), 1);
                    sender.send(2).unwrap_or(());
                    promise.set_result(2).unwrap();
                    calls.next().unwrap().into_result().unwrap()
                });
                assert_eq!(call.unwrap().into_result().unwrap(), 2);
            });
        }
    }
}
