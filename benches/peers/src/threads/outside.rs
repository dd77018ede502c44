//! Peers in other languages: programs in `outside/` that answer a line with a line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::work::{Memory, Peer, Sample};

pub struct Outside {
    name: &'static str,
    /// More would take too long, and each call would cost the same.
    at_most: usize,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Outside {
    pub fn python(workers: usize) -> Option<Self> {
        let arguments = [outside("threads.py"), workers.to_string()];
        let arguments = arguments.each_ref().map(String::as_str);
        Self::start("CPython ThreadPoolExecutor", 20_000, "python3", &arguments)
    }

    pub fn java_pool(workers: usize) -> Option<Self> {
        Self::java("Java ThreadPoolExecutor", workers)
    }

    pub fn java_fork_join(workers: usize) -> Option<Self> {
        Self::java("Java ForkJoinPool", workers)
    }

    fn java(name: &'static str, workers: usize) -> Option<Self> {
        let class = name.rsplit(' ').next()?;
        let arguments = ["-Xmx4g", &outside("Threads.java"), class, &workers.to_string()];
        Self::start(name, usize::MAX, "java", &arguments)
    }

    /// `None`, and a line that says so, if the program is not there.
    fn start(
        name: &'static str,
        at_most: usize,
        program: &str,
        arguments: &[&str],
    ) -> Option<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            println!("SKIPPED: {name}: no {program} here");
            return None;
        };
        let questions = child.stdin.take()?;
        let answers = BufReader::new(child.stdout.take()?);
        Some(Self { name, at_most, child, questions, answers })
    }

    /// The numbers that it answers with.
    fn ask(&mut self, work: &str, calls: usize, more: usize) -> Option<Vec<f64>> {
        writeln!(self.questions, "{work} {calls} {more}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        let numbers: Option<Vec<f64>> =
            answer.split_whitespace().map(|number| number.parse().ok()).collect();
        numbers.filter(|numbers| !numbers.is_empty()).or_else(|| {
            println!("SKIPPED: {}: no answer to {work}", self.name);
            None
        })
    }

    fn sample(&mut self, work: &str, calls: usize, more: usize) -> Option<Sample> {
        let calls = calls.min(self.at_most);
        let before = switches(self.child.id());
        let mut times = self.ask(work, calls, more)?;
        let switches = switches(self.child.id()).saturating_sub(before);
        let cpu = times.remove(0);
        Some(Sample { times, cpu, switches: switches as f64 / calls as f64 })
    }
}

fn outside(file: &str) -> String {
    format!("{}/outside/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// Context switches of the threads that a process has.
fn switches(id: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let of_thread = |status: String| -> u64 {
        let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
    };
    status.map(of_thread).sum()
}

impl Peer for Outside {
    fn batch(&mut self, calls: usize, submitters: usize) -> Option<Sample> {
        self.sample("batch", calls, submitters)
    }

    fn fire(&mut self, calls: usize) -> Option<Sample> {
        self.sample("fire", calls, 0)
    }

    fn trips(&mut self, trips: usize, pause: Duration) -> Option<Sample> {
        self.sample("trips", trips, pause.as_nanos() as usize)
    }

    /// It chooses the depth; the figures are for a call.
    fn tree(&mut self) -> Option<Sample> {
        self.sample("tree", super::work::NODES, 0)
    }

    fn drain(&mut self, calls: usize) -> Option<Sample> {
        self.sample("drain", calls, 0)
    }

    fn memory(&mut self, calls: usize) -> Option<Memory> {
        let bytes = self.ask("memory", calls.min(self.at_most.saturating_mul(5)), 0)?[0];
        Some(Memory { bytes, allocations: None })
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It would end by itself with its input; but it may be at work.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
