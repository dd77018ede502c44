//! A Python that runs one program after the other.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than a program takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Reads a program from each line, and writes its trace as a line.
pub(crate) struct Python {
    process: Child,
    stdin: Option<ChildStdin>,
    traces: Receiver<String>,
}

impl Python {
    /// `None` if there is no Python that could tell.
    pub(crate) fn start(source: &str) -> Option<Self> {
        let recent = "import sys; sys.exit(sys.version_info < (3, 10))";
        if !Command::new("python3").args(["-c", recent]).status().ok()?.success() {
            return None;
        }
        let mut process = Command::new("python3")
            .args(["-c", source])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let stdout = process.stdout.take().expect("it is piped");
        let (sender, traces) = channel();
        // Reads all the time, so that Python never blocks in a write while we are blocked in one.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = process.stdin.take();
        Some(Self { process, stdin, traces })
    }

    /// Sends programs, to be run while this thread does something else.
    pub(crate) fn send(&mut self, programs: &[String]) {
        let text: String = programs.iter().map(|program| format!("{program}\n")).collect();
        let stdin = self.stdin.as_mut().expect("it is open until the drop");
        stdin.write_all(text.as_bytes()).expect("Python reads until the end");
    }

    /// The trace of the earliest program that was sent and not asked for yet.
    pub(crate) fn trace(&self, program: &str) -> String {
        let trace = self.traces.recv_timeout(PATIENCE);
        trace.unwrap_or_else(|_| panic!("Python failed or hangs in {program}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if std::thread::panicking() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}
