//! Peers in other languages: programs in `outside/` that answer a line with a line.

use super::work::{Peer, Sample};
use crate::outside::{Program, path};

pub struct Outside {
    program: Program,
    /// The works that it can do.
    works: &'static [&'static str],
}

impl Outside {
    pub fn python() -> Option<Self> {
        let works = &["bulk", "hold", "cancel", "memory", "lateness", "earlier"];
        let program = Program::start("CPython sched", "python3", &[&path("cpython.py")])?;
        Some(Self { program, works })
    }

    pub fn java() -> Option<Self> {
        let works = &["bulk", "cancel", "memory", "lateness", "earlier"];
        let arguments = ["-Xmx4g", &path("Executor.java")];
        let program = Program::start("Java ScheduledThreadPoolExecutor", "java", &arguments)?;
        Some(Self { program, works })
    }

    /// The numbers of its answer. After an answer without numbers it is asked no more.
    fn ask(&mut self, work: &str, count: usize) -> Option<Vec<f64>> {
        if !self.works.contains(&work) {
            return None;
        }
        let answer = self.program.ask(&format!("{work} {count}"));
        if answer.is_none() {
            self.works = &[];
        }
        answer
    }

    fn sample(&mut self, work: &str, count: usize) -> Option<Sample> {
        let answer = self.ask(work, count)?;
        Some(Sample { wall: answer[0], cpu: *answer.get(1)? })
    }
}

impl Peer for Outside {
    fn name(&self) -> &'static str {
        self.program.name
    }

    fn bulk(&mut self, count: usize) -> Option<Sample> {
        self.sample("bulk", count)
    }

    fn hold(&mut self, pending: usize) -> Option<Sample> {
        self.sample("hold", pending)
    }

    fn cancel(&mut self, count: usize) -> Option<Sample> {
        self.sample("cancel", count)
    }

    fn memory(&mut self, count: usize) -> Option<f64> {
        Some(self.ask("memory", count)?[0])
    }

    fn lateness(&mut self, count: usize) -> Option<(Vec<f64>, f64)> {
        let answer = self.ask("lateness", count)?;
        Some((answer[1..].to_vec(), answer[0]))
    }

    fn earlier(&mut self) -> Option<f64> {
        Some(self.ask("earlier", 1)?[0])
    }
}
