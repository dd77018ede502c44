//! Peers in other languages: programs in `outside/` that answer a line with a line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::work::{Peer, Sample};

pub struct Outside {
    name: &'static str,
    /// What it is asked for; the rest is not its work.
    works: &'static [&'static str],
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Outside {
    pub fn python() -> Option<Self> {
        let works = &["bulk", "hold", "cancel", "memory", "lateness", "earlier"];
        Self::start("CPython sched", works, "python3", &[], "cpython.py")
    }

    pub fn java() -> Option<Self> {
        let works = &["bulk", "cancel", "memory", "lateness", "earlier"];
        Self::start("Java ScheduledThreadPoolExecutor", works, "java", &["-Xmx4g"], "Executor.java")
    }

    /// `None`, and a line that says so, if the program is not there.
    fn start(
        name: &'static str,
        works: &'static [&'static str],
        program: &str,
        options: &[&str],
        file: &str,
    ) -> Option<Self> {
        let path = format!("{}/outside/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(program);
        command.args(options).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            println!("SKIPPED: {name}: no {program} here");
            return None;
        };
        let questions = child.stdin.take()?;
        let answers = BufReader::new(child.stdout.take()?);
        Some(Self { name, works, child, questions, answers })
    }

    /// The numbers that it answers with.
    fn ask(&mut self, work: &str, count: usize) -> Option<Vec<f64>> {
        if !self.works.contains(&work) {
            return None;
        }
        writeln!(self.questions, "{work} {count}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        let numbers: Option<Vec<f64>> =
            answer.split_whitespace().map(|number| number.parse().ok()).collect();
        numbers.filter(|numbers| !numbers.is_empty()).or_else(|| {
            println!("SKIPPED: {}: no answer to {work}", self.name);
            self.works = &[];
            None
        })
    }

    fn sample(&mut self, work: &str, count: usize) -> Option<Sample> {
        let answer = self.ask(work, count)?;
        Some(Sample { wall: answer[0], cpu: *answer.get(1)? })
    }
}

impl Peer for Outside {
    fn name(&self) -> &'static str {
        self.name
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

impl Drop for Outside {
    fn drop(&mut self) {
        // It would end by itself with its input; but it may be at work.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
