//! How many workers there are: limits, idle ones that leave, and pools that grow and shrink.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, ThreadPoolBuilder, ThreadPoolExecutor};

use crate::support::{Busy, builder, timely, until};

const SHORT: Duration = Duration::from_millis(1);

const LONG: Duration = Duration::from_secs(3600);

fn message(builder: ThreadPoolBuilder) -> String {
    let error = builder.build().unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)));
    error.to_string()
}

/// The names of the workers that run `count` calls at a time.
fn names(pool: &ThreadPoolExecutor, count: usize) -> BTreeSet<String> {
    let barrier = Arc::new(Barrier::new(count));
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            let name = move || {
                barrier.wait();
                thread::current().name().unwrap().to_owned()
            };
            pool.spawn(name).unwrap()
        })
        .collect();
    calls.into_iter().map(|call| call.into_result().unwrap()).collect()
}

#[test]
fn settings_that_make_no_sense_are_invalid_arguments() {
    let zero = message(builder(1).keep_alive(Duration::ZERO));
    assert_eq!(zero, "keep_alive must be greater than 0");
    let above = message(builder(2).min_workers(3));
    assert_eq!(above, "min_workers must not be greater than max_workers");
    assert_eq!(message(builder(0)), "max_workers must be greater than 0");
}

#[test]
fn resize_to_0_or_below_the_minimum_is_an_invalid_argument_and_changes_nothing() {
    let pool = builder(4).min_workers(2).build().unwrap();
    assert_eq!(pool.resize(0).unwrap_err().to_string(), "max_workers must be greater than 0");
    assert!(matches!(pool.resize(1), Err(Error::InvalidArgument(_))));
    assert_eq!(pool.max_workers(), 4);
    pool.resize(2).unwrap();
    assert_eq!(pool.max_workers(), 2);
}

#[test]
fn prestart_starts_the_minimum_or_all() {
    timely(|| {
        assert_eq!(builder(3).build().unwrap().prestart().unwrap(), 3);
        let pool = builder(3).min_workers(2).build().unwrap();
        assert_eq!(pool.stats().workers, 0);
        assert_eq!(pool.prestart().unwrap(), 2);
        assert_eq!(pool.prestart().unwrap(), 2);
        assert_eq!(pool.stats().workers, 2);
        assert_eq!(names(&pool, 3).len(), 3);
        assert_eq!(pool.prestart().unwrap(), 3);
        pool.shutdown();
        assert!(matches!(pool.prestart(), Err(Error::Shutdown)));
    });
}

#[test]
fn idle_workers_above_the_minimum_end_after_keep_alive() {
    timely(|| {
        for minimum in [0, 1, 2] {
            let pool = builder(4).min_workers(minimum).keep_alive(SHORT).build().unwrap();
            // A worker may leave while the others are started: the barrier needs four at a time.
            assert_eq!(names(&pool, 4).len(), 4);
            until(|| pool.stats().workers == minimum);
            assert_eq!(pool.stats().peak_workers, 4);
            assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        }
    });
}

#[test]
fn a_worker_that_is_started_later_gets_the_lowest_free_number() {
    timely(|| {
        let pool = builder(3).thread_name_prefix("w").keep_alive(SHORT).build().unwrap();
        for _ in 0..20 {
            let names = names(&pool, 3);
            assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["w_0", "w_1", "w_2"]);
            until(|| pool.stats().workers == 0);
        }
    });
}

#[test]
fn calls_that_come_while_workers_leave_are_all_run() {
    timely(|| {
        let pool = builder(3).keep_alive(Duration::from_nanos(1)).build().unwrap();
        for n in 0..3_000 {
            assert_eq!(pool.submit(|n: u32| n, n).unwrap().into_result().unwrap(), n);
        }
        assert_eq!(pool.stats().finished, 3_000);
        pool.shutdown();
        assert_eq!(pool.stats().workers, 0);
    });
}

#[test]
fn workers_do_not_end_before_keep_alive() {
    timely(|| {
        let pool = builder(2).keep_alive(LONG).build().unwrap();
        let names_before = names(&pool, 2);
        until(|| pool.stats().idle == 2);
        assert_eq!(names(&pool, 2), names_before);
        pool.shutdown();
    });
}

#[test]
fn growing_starts_workers_for_calls_that_wait() {
    timely(|| {
        let pool = builder(1).build().unwrap();
        let barrier = Arc::new(Barrier::new(3));
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                pool.spawn(move || barrier.wait().is_leader()).unwrap()
            })
            .collect();
        pool.resize(3).unwrap();
        let leaders = calls.into_iter().map(|call| call.into_result().unwrap());
        assert_eq!(leaders.filter(|&leads| leads).count(), 1);
        assert_eq!(pool.stats().peak_workers, 3);
    });
}

#[test]
fn shrinking_ends_idle_workers_at_once_and_busy_ones_after_their_call() {
    timely(|| {
        let pool = builder(4).build().unwrap();
        let busy: Vec<_> = (0..3).map(|_| Busy::on(&pool)).collect();
        pool.prestart().unwrap();
        assert_eq!(pool.stats().workers, 4);
        pool.resize(1).unwrap();
        until(|| pool.stats().workers == 3);
        let waits = pool.spawn(|| 1).unwrap();
        busy.into_iter().for_each(Busy::finish);
        assert_eq!(waits.into_result().unwrap(), 1);
        until(|| pool.stats().workers == 1);
        assert_eq!(pool.max_workers(), 1);
        assert_eq!(pool.map(|n| n, 0..100).map(Result::unwrap).sum::<u32>(), 4950);
        assert_eq!(pool.stats().workers, 1);
    });
}

// Two calls that wait for each other are a deadlock once no worker is left that could help.
#[test]
fn shrinking_a_pool_whose_workers_all_wait_gives_a_deadlock_error() {
    timely(|| {
        let pool = Arc::new(builder(3).build().unwrap());
        let (sender, receiver) = mpsc::channel::<Arc<Future<bool>>>();
        let first = pool.spawn(move || receiver.recv().unwrap().result().is_err()).unwrap();
        let first = Arc::new(first);
        let awaited = Arc::clone(&first);
        let second = Arc::new(pool.spawn(move || awaited.result().is_err()).unwrap());
        sender.send(Arc::clone(&second)).unwrap();
        pool.resize(1).unwrap();
        let errors = [first.result().unwrap(), second.result().unwrap()];
        assert_eq!(errors.iter().filter(|error| ***error).count(), 1);
    });
}

#[test]
fn resizing_up_and_down_under_load_strands_no_call() {
    timely(|| {
        for builder in [builder(2), builder(2).queue_capacity(3)] {
            let pool = Arc::new(builder.keep_alive(SHORT).build().unwrap());
            let (stop, stopped) = mpsc::channel::<()>();
            let resized = Arc::clone(&pool);
            let resizer = thread::spawn(move || {
                let mut sizes = [1, 4, 2, 3].into_iter().cycle();
                while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    resized.resize(sizes.next().unwrap()).unwrap();
                    thread::yield_now();
                }
            });
            for _ in 0..50 {
                assert_eq!(pool.map(|n| n, 0..100).map(Result::unwrap).sum::<u32>(), 4950);
            }
            drop(stop);
            resizer.join().unwrap();
            pool.shutdown();
            assert_eq!(pool.stats().finished, 5_000);
        }
    });
}

#[test]
fn shrinking_takes_effect_while_calls_wait() {
    timely(|| {
        for builder in [builder(3), builder(3).queue_capacity(100)] {
            let pool = builder.build().unwrap();
            let busy: Vec<_> = (0..3).map(|_| Busy::on(&pool)).collect();
            let (open, opened) = mpsc::channel::<()>();
            let holds = pool.spawn(move || opened.recv().is_err()).unwrap();
            let wait: Vec<_> = (0..5).map(|n| pool.spawn(move || n).unwrap()).collect();
            pool.resize(1).unwrap();
            busy.into_iter().for_each(Busy::finish);
            // Two leave; the third has taken the first of those calls.
            until(|| pool.stats().workers == 1);
            assert!(wait.iter().all(|call| !call.done()), "whoever leaves takes no call before");
            drop(open);
            assert!(holds.into_result().unwrap());
            assert_eq!(wait.into_iter().map(|call| call.into_result().unwrap()).sum::<i32>(), 10);
        }
    });
}

/// How many stretches of memory of this process are so long, and not much longer.
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
fn mappings_of(len: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let length = |line: &str| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        address(end)?.checked_sub(address(start)?)
    };
    maps.lines().filter_map(length).filter(|mapped| (len..len + (1 << 20)).contains(mapped)).count()
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
#[test]
fn the_threads_of_workers_that_left_are_joined() {
    /// A thread that nobody joins keeps its stack. No other test has one of this size.
    const STACK: usize = 123 << 20;

    timely(|| {
        let pool = builder(2).keep_alive(SHORT).stack_size(STACK).build().unwrap();
        let leave = |times: usize| {
            for _ in 0..times {
                assert_eq!(names(&pool, 2).len(), 2);
                until(|| pool.stats().workers == 0);
            }
        };
        leave(5);
        leave(50);
        let kept = mappings_of(STACK);
        assert!(kept < 30, "{kept} stacks are left after 110 workers");
    });
}
