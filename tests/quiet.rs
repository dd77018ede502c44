//! Nothing is logged in the usual life of a pool.
//!
//! A program of its own, because the log is of the whole process: other tests fail on purpose and are
//! logged.

#[path = "common/mod.rs"]
mod common;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use concurrent::futures::ReturnWhen::AllCompleted;
use concurrent::futures::{
    Discipline, FullQueue, Future, MapOptions, ShutdownOptions, ThreadPoolBuilder,
    ThreadPoolExecutor, as_completed, join_all, wait,
};

use common::log_lines::{all_logged, keep_log};

/// Calls of every kind, none of which fails without somebody who looks.
fn live(builder: ThreadPoolBuilder) {
    let pool = Arc::new(builder.max_workers(3).build().unwrap());
    assert_eq!(pool.prestart().unwrap(), 3);
    let calls: Vec<_> = (0..50).map(|n| pool.submit(|n: u64| n * n, n).unwrap()).collect();
    assert_eq!(wait(&calls, None, AllCompleted).done.len(), 50);
    let sum: u64 = as_completed(calls).map(|call| call.into_result().unwrap()).sum();
    assert_eq!(sum, 40_425);
    assert_eq!(pool.map(|n| n, 0..100).map(Result::unwrap).sum::<u64>(), 4950);
    let options = MapOptions::new().buffer_size(4).chunk_size(3).unordered(true);
    let endless = pool.map_with(options, |n| n, 0_u64..).unwrap();
    assert_eq!(endless.take(20).map(Result::unwrap).count(), 20);

    // Failures and cancels that somebody sees, and values that nobody takes.
    assert!(pool.spawn(|| -> () { panic!("seen") }).unwrap().into_result().is_err());
    let begun = Arc::new(Barrier::new(4));
    let busy = [(); 3].map(|()| {
        let begun = Arc::clone(&begun);
        pool.spawn(move || begun.wait().is_leader()).unwrap()
    });
    let cancelled = pool.spawn(|| ()).unwrap();
    assert!(cancelled.cancel());
    begun.wait();
    let leaders = busy.into_iter().filter(|call| *call.result().unwrap());
    assert!(leaders.count() <= 1);
    drop(pool.spawn(|| vec![1]).unwrap());
    pool.execute(|| ()).unwrap();
    drop(pool.try_spawn(|| ()));

    // Calls in calls, composed ones, borrowing ones.
    let own = Arc::clone(&pool);
    let nested = move || own.spawn(|| 1).unwrap().into_result().unwrap();
    assert_eq!(pool.spawn(nested).unwrap().into_result().unwrap(), 1);
    let group = join_all([pool.spawn(|| 1).unwrap(), pool.spawn(|| 2).unwrap()]);
    let limited = group.map(|all| all.len()).with_timeout(Duration::from_secs(3600));
    assert_eq!(limited.and_then(Future::ready).into_result().unwrap(), 2);
    let mut local = 0;
    pool.scope(|s| drop(s.spawn(|| local += 1).unwrap()));
    assert_eq!(local, 1);

    pool.resize(1).unwrap();
    pool.resize(2).unwrap();
    assert!(pool.shutdown_with(ShutdownOptions::new().cancel_futures(true)).is_complete());
    assert!(pool.spawn(|| ()).is_err());
}

#[test]
fn a_usual_life_of_a_pool_logs_nothing() {
    keep_log();
    let builder = ThreadPoolExecutor::builder;
    live(builder());
    live(builder().initializer(|| Ok::<(), concurrent::Error>(())).on_worker_stop(|| ()));
    live(builder().worker_state(|| Ok::<_, concurrent::Error>(0)).on_worker_start(|| ()));
    live(builder().keep_alive(Duration::from_nanos(1)));
    live(builder().discipline(Discipline::Priority));
    live(builder().queue_capacity(2));
    live(builder().queue_capacity(2).when_full(FullQueue::RunInCaller));
    assert_eq!(all_logged(), []);
}
