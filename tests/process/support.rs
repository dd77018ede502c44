//! Tests of this harness, and what they share.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::Command;
use std::time::{Duration, Instant};

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::OnWorkerDeath;
use libtest_mimic::Trial;

use crate::common::watchdog;

pub(crate) use crate::common::proc::children;
use crate::common::proc::count;
pub(crate) use crate::common::process_gate::ProcessGate;
pub(crate) use crate::common::watchdog::LIMIT;

/// A test under the watchdog.
pub(crate) fn trial(name: &'static str, limit: Duration, test: fn()) -> Trial {
    Trial::test(name, move || {
        watchdog::named(name, limit, test);
        Ok(())
    })
}

/// Names the functions of a module as its tests.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        $crate::support::trials![within $crate::support::LIMIT, $($name),*];
    };
    (within $limit:expr, $($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            let limit = $limit;
            vec![$({
                let name = concat!(module_path!(), "::", stringify!($name));
                crate::support::trial(name, limit, $name)
            }),*]
        }
    };
}
pub(crate) use trials;

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A pool that replaces dead workers.
pub(crate) fn replacing(workers: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers);
    builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap()
}

/// This program, to be started as a program of its own: see `programs::act`.
pub(crate) fn own(arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("--act").args(arguments);
    command
}

/// Runs a part of a test in a process of its own.
pub(crate) fn in_own_process(arguments: &[&str]) {
    // A file and no pipe: a worker that outlived its parent would hold the other end.
    let said = rustix::fs::memfd_create("said", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut said = File::from(said);
    let status = own(arguments).stderr(said.try_clone().unwrap()).status().unwrap();
    if !status.success() {
        let mut text = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut text).unwrap();
        panic!("{arguments:?} ended with {status}:\n{text}");
    }
}

/// The resources that this process has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) children: usize,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// Mappings of shared memory.
    pub(crate) shared: usize,
}

pub(crate) fn census() -> Census {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    Census {
        children: children(std::process::id()).len(),
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        shared: maps.lines().filter(|line| line.contains("/memfd:concurrent")).count(),
    }
}

/// Whether a process is there and not a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    !matches!(state, Some("Z" | "X") | None)
}

/// Waits for something that another process or the kernel does, without a sleep to tune.
pub(crate) fn eventually(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} does not happen");
        // Not a yield: on a busy machine that takes the processor from what is waited for.
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

/// In a worker that is about to die with words that the runtime writes itself: nobody is to read them.
pub(crate) fn hush() {
    let nowhere = File::options().write(true).open("/dev/null").unwrap();
    rustix::stdio::dup2_stderr(nowhere).unwrap();
}

/// Signals a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}
