//! A system that refuses things.

use std::os::unix::process::CommandExt;

use crate::support::{in_own_process, own, trials};

trials![
    more_workers_than_descriptors_allow,
    no_descriptors_at_all,
    more_workers_than_the_process_limit_allows,
];

// case 130, case 132
fn more_workers_than_descriptors_allow() {
    in_own_process(&["few-descriptors"]);
}

fn no_descriptors_at_all() {
    in_own_process(&["no-descriptors"]);
}

/// A user who has no processes but those of this test: their number is limited for each user, whoever
/// started them.
pub(crate) fn somebody() -> u32 {
    1_000_000 + std::process::id()
}

// The system knows no such limit for root, so that this needs root to become somebody.
fn more_workers_than_the_process_limit_allows() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let mut command = own(&["few-processes"]);
    command.uid(somebody()).gid(somebody()).current_dir("/");
    assert!(command.status().unwrap().success());
}

fn allow_descriptors(count: u64) {
    let limit = rustix::process::Rlimit { current: Some(count), maximum: Some(count) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

pub(crate) fn act(test: &str) {
    let pool = concurrent::futures::ProcessPoolExecutor::new(40).unwrap();
    match test {
        "few-descriptors" => {
            allow_descriptors(40);
            let calls: Vec<_> =
                (0..400u64).map(|n| pool.submit(|n: u64| n * 2, n).unwrap()).collect();
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(call.into_result().unwrap(), n as u64 * 2);
            }
        }
        "few-processes" => {
            // Each worker is a process with two threads, and a thread that minds it.
            let limit = rustix::process::Rlimit { current: Some(12), maximum: Some(12) };
            rustix::process::setrlimit(rustix::process::Resource::Nproc, limit).unwrap();
            let calls: Vec<_> =
                (0..400u64).map(|n| pool.submit(|n: u64| n * 2, n).unwrap()).collect();
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(call.into_result().unwrap(), n as u64 * 2);
            }
            assert!(pool.stats().workers < 12);
        }
        "no-descriptors" => {
            allow_descriptors(4);
            let error = pool.submit(|n: u64| n, 1).unwrap().into_result().unwrap_err();
            assert!(error.is_broken_executor(), "{error}");
            assert!(error.to_string().contains("can't start new process"), "{error}");
        }
        _ => unreachable!("no such act"),
    }
}
