//! Nothing is left behind: processes, descriptors, threads, counted from `/proc`.

use concurrent::futures::ProcessPoolExecutor;

use crate::support::{census, eventually, in_own_process, replacing, trials};

trials![pools_leave_nothing_behind, dead_workers_leave_nothing_behind];

/// The count is of the whole process: these tests need it for themselves.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

// 1,000 pools, each with a worker that answers.
fn pools_leave_nothing_behind() {
    let _alone = alone();
    in_own_process(&["pools"]);
}

fn dead_workers_leave_nothing_behind() {
    let _alone = alone();
    in_own_process(&["deaths"]);
}

pub(crate) fn act(test: &str) {
    match test {
        "pools" => pools(),
        "deaths" => deaths(),
        _ => unreachable!("no such act"),
    }
}

fn pools() {
    let count = std::env::var("CONCURRENT_POOLS").ok().and_then(|n| n.parse().ok());
    let before = census();
    for n in 0..count.unwrap_or(1000u64) {
        let pool = ProcessPoolExecutor::new(1).unwrap();
        assert_eq!(pool.submit(|n: u64| n + 1, n).unwrap().into_result().unwrap(), n + 1);
        drop(pool);
        let now = census();
        assert_eq!((now.children, now.descriptors), (0, before.descriptors), "after {n} pools");
    }
    // The kernel takes a thread from the list shortly after it was joined.
    eventually("the end of all threads", || census() == before);
}

fn deaths() {
    let before = census();
    {
        let pool = replacing(2);
        for n in 0..100 {
            let die = |n: i32| -> () { std::process::exit(n) };
            let error = pool.submit(die, n).unwrap().into_result().unwrap_err();
            assert_eq!(error.worker_death().unwrap().exit_code, Some(n));
        }
    }
    eventually("the end of all", || census() == before);
}
