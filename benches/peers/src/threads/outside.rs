//! Peers in other languages: programs in `outside/` that answer a line with a line.

use std::fs;
use std::time::Duration;

use super::work::{Memory, Peer, Sample};
use crate::outside::{Program, path};

pub struct Outside {
    program: Program,
    /// More calls would take too long, at the same price each.
    at_most: usize,
}

impl Outside {
    pub fn python(workers: usize) -> Option<Self> {
        let arguments = [path("threads.py"), workers.to_string()];
        let arguments = arguments.each_ref().map(String::as_str);
        let program = Program::start("CPython ThreadPoolExecutor", "python3", &arguments)?;
        Some(Self { program, at_most: 20_000 })
    }

    pub fn java_pool(workers: usize) -> Option<Self> {
        Self::java("Java ThreadPoolExecutor", workers)
    }

    pub fn java_fork_join(workers: usize) -> Option<Self> {
        Self::java("Java ForkJoinPool", workers)
    }

    fn java(name: &'static str, workers: usize) -> Option<Self> {
        let class = name.rsplit(' ').next()?;
        let arguments = ["-Xmx4g", &path("Threads.java"), class, &workers.to_string()];
        Some(Self { program: Program::start(name, "java", &arguments)?, at_most: usize::MAX })
    }

    /// The numbers of its answer.
    fn ask(&mut self, work: &str, calls: usize, more: usize) -> Option<Vec<f64>> {
        self.program.ask(&format!("{work} {calls} {more}"))
    }

    fn sample(&mut self, work: &str, calls: usize, more: usize) -> Option<Sample> {
        let calls = calls.min(self.at_most);
        let before = switches(self.program.id());
        let mut times = self.ask(work, calls, more)?;
        let switches = switches(self.program.id()).saturating_sub(before);
        let cpu = times.remove(0);
        Some(Sample { times, cpu, switches: switches as f64 / calls as f64 })
    }
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

    /// The program chooses the depth; the figures are for one call.
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
