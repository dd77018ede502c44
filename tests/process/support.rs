//! Gates, counts from `/proc`, and a watchdog.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::OnWorkerDeath;
use libtest_mimic::Trial;

pub(crate) use crate::proc::children;
use crate::proc::count;

/// How long a test may take on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A test that turns a hang into the end of the run.
pub(crate) fn trial(name: &'static str, limit: Duration, test: fn()) -> Trial {
    Trial::test(name, move || {
        let (done, watched) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if watched.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{name} hangs");
                std::process::abort();
            }
        });
        test();
        drop(done);
        watchdog.join().unwrap();
        Ok(())
    })
}

/// Names the functions of a module as its tests.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            let limit = crate::support::LIMIT;
            vec![$({
                let name = concat!(module_path!(), "::", stringify!($name));
                crate::support::trial(name, limit, $name)
            }),*]
        }
    };
}
pub(crate) use trials;

/// A pool that replaces dead workers.
pub(crate) fn replacing(workers: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers);
    builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap()
}

/// A pair of named pipes: a call says that it has begun, and waits until it may go on.
pub(crate) struct Gate {
    directory: PathBuf,
    /// Open for both, so that nothing in the pipes is ever lost.
    begun: File,
    go: File,
}

impl Gate {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("concurrent-gate-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        for pipe in ["begun", "go"] {
            let status = Command::new("mkfifo").arg(directory.join(pipe)).status();
            assert!(status.unwrap().success());
        }
        let open =
            |pipe| OpenOptions::new().read(true).write(true).open(directory.join(pipe)).unwrap();
        let (begun, go) = (open("begun"), open("go"));
        Self { directory, begun, go }
    }

    /// What a call gets to know the gate by.
    pub(crate) fn name(&self) -> String {
        self.directory.to_str().unwrap().to_owned()
    }

    /// Waits until a call stands at the gate; gives the id of its process.
    pub(crate) fn wait_begun(&self) -> u32 {
        let mut pid = [0; 4];
        (&self.begun).read_exact(&mut pid).unwrap();
        u32::from_ne_bytes(pid)
    }

    /// Lets one call through.
    pub(crate) fn open(&self) {
        (&self.go).write_all(b"x").unwrap();
    }

    /// In the call.
    pub(crate) fn pass(name: &str) {
        Self::arrive(name);
        let directory = Path::new(name);
        File::open(directory.join("go")).unwrap().read_exact(&mut [0]).unwrap();
    }

    /// In the call: says that it has begun, and goes on.
    pub(crate) fn arrive(name: &str) {
        let pipe = OpenOptions::new().write(true).open(Path::new(name).join("begun"));
        pipe.unwrap().write_all(&std::process::id().to_ne_bytes()).unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
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

/// What this process has at a moment.
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
        std::thread::yield_now();
    }
}

/// Signals a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}
