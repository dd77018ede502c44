//! A gate for calls in other processes.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// A pair of named pipes: a call says that it has begun, and waits until it may go on.
pub(crate) struct ProcessGate {
    directory: PathBuf,
    /// Open for both, so that nothing in the pipes is ever lost.
    begun: File,
    go: File,
}

impl ProcessGate {
    pub(crate) fn new() -> Self {
        let directory = Self::new_directory();
        for pipe in ["begun", "go"] {
            let status = Command::new("mkfifo").arg(directory.join(pipe)).status();
            assert!(status.unwrap().success());
        }
        let open =
            |pipe| OpenOptions::new().read(true).write(true).open(directory.join(pipe)).unwrap();
        let (begun, go) = (open("begun"), open("go"));
        Self { directory, begun, go }
    }

    /// One that was not there: a process that was killed left its own behind, and numbers of
    /// processes come again.
    fn new_directory() -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("concurrent-gate-{}-{number}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            match std::fs::create_dir(&directory) {
                Ok(()) => return directory,
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
            }
        }
    }

    /// The name by which a call finds the gate.
    pub(crate) fn name(&self) -> String {
        self.directory.to_str().unwrap().to_owned()
    }

    /// Waits until a call stands at the gate; gives the id of its process.
    pub(crate) fn wait_begun(&self) -> u32 {
        let mut pid = [0; 4];
        (&self.begun).read_exact(&mut pid).unwrap();
        u32::from_ne_bytes(pid)
    }

    /// Waits until so many calls stand at the gate.
    pub(crate) fn wait_begun_by(&self, calls: usize) {
        for _ in 0..calls {
            self.wait_begun();
        }
    }

    /// Lets one call through.
    pub(crate) fn open(&self) {
        (&self.go).write_all(b"x").unwrap();
    }

    /// A function that lets one call through, wherever it is called.
    pub(crate) fn open_from(name: String) -> impl Fn() + Send + 'static {
        move || {
            let pipe = OpenOptions::new().write(true).open(Path::new(&name).join("go"));
            pipe.unwrap().write_all(b"x").unwrap();
        }
    }

    /// In the call.
    pub(crate) fn pass(name: &str) {
        let mut go = File::open(Path::new(name).join("go")).unwrap();
        Self::arrive(name);
        go.read_exact(&mut [0]).unwrap();
    }

    /// In the call: says that it has begun, and goes on.
    pub(crate) fn arrive(name: &str) {
        let pipe = OpenOptions::new().write(true).open(Path::new(name).join("begun"));
        pipe.unwrap().write_all(&std::process::id().to_ne_bytes()).unwrap();
    }
}

impl Drop for ProcessGate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
