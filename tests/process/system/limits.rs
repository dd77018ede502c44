//! Limits of the system on descriptors, processes and threads, as a pool starts.

use std::os::unix::process::CommandExt;

use concurrent::Error;

use crate::support::{in_own_process, own, trials};

trials![
    more_workers_than_descriptors_allow,
    no_descriptors_at_all,
    more_workers_than_the_process_limit_allows,
    no_thread_for_the_first_worker,
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

fn no_thread_for_the_first_worker() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let mut command = own(&["no-threads"]);
    command.uid(somebody() + 1).gid(somebody()).current_dir("/");
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
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let few = rustix::process::Rlimit { current: Some(4), ..limit };
            for _ in 0..2 {
                rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
                let calls = [1, 2].map(|n| pool.submit(|n: u64| n, n).unwrap());
                for call in calls {
                    let error = call.into_result().unwrap_err();
                    assert!(matches!(error, Error::ProcessStart(_)), "{error}");
                    assert!(error.to_string().contains("can't start new process"), "{error}");
                }
                // They were the errors of these calls: the pool goes on.
                rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
            }
            assert_eq!(pool.submit(|n: u64| n, 7).unwrap().into_result().unwrap(), 7);
        }
        "no-threads" => {
            use rustix::process::Resource::Nproc;
            let limit = rustix::process::getrlimit(Nproc);
            let none = rustix::process::Rlimit { current: Some(1), ..limit };
            rustix::process::setrlimit(Nproc, none).unwrap();
            let error = pool.submit(|n: u64| n, 1).unwrap().into_result().unwrap_err();
            assert!(matches!(error, Error::ThreadStart(_)), "{error}");
            rustix::process::setrlimit(Nproc, limit).unwrap();
            assert_eq!(pool.submit(|n: u64| n, 7).unwrap().into_result().unwrap(), 7);
        }
        _ => unreachable!("no such act"),
    }
}
