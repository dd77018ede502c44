//! A program of another language in `outside/`, which answers a line with a line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Program {
    pub name: &'static str,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    /// `None`, and a line that says so, if the program is not there.
    pub fn start(name: &'static str, program: &str, arguments: &[&str]) -> Option<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            println!("SKIPPED: {name}: no {program} here");
            return None;
        };
        let questions = child.stdin.take()?;
        let answers = BufReader::new(child.stdout.take()?);
        Some(Self { name, child, questions, answers })
    }

    /// Waits until it has printed `word`.
    #[cfg(feature = "mpi")]
    pub fn expect(mut self, word: &str) -> Option<Self> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        if read.is_err() || line.trim() != word {
            println!("SKIPPED: {}: it did not say that it is {word}", self.name);
            return None;
        }
        Some(self)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The numbers of its answer; `None` if it has ended, or if the answer has no numbers, which it
    /// prints.
    pub fn ask(&mut self, question: &str) -> Option<Vec<f64>> {
        writeln!(self.questions, "{question}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        let numbers: Option<Vec<f64>> =
            answer.split_whitespace().map(|number| number.parse().ok()).collect();
        numbers.filter(|numbers| !numbers.is_empty()).or_else(|| {
            let work = question.split(' ').next().unwrap_or_default();
            println!("SKIPPED: {}: no answer to {work}", self.name);
            None
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It would end by itself at the end of its input, but it may be working.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a program.
pub fn path(file: &str) -> String {
    format!("{}/outside/{file}", env!("CARGO_MANIFEST_DIR"))
}
