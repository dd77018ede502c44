//! Options in pairs, the same for all works: `--rounds 5 --only batch,trip`.

use std::process::exit;

pub struct Options {
    usage: &'static str,
    pairs: Vec<(String, String)>,
}

impl Options {
    /// `usage` names every option. Of two equal options the last one counts.
    pub fn parse(usage: &'static str, arguments: &[String]) -> Self {
        let mut options = Self { usage, pairs: Vec::new() };
        for pair in arguments.chunks(2) {
            match pair {
                [name, value] if usage.contains(&format!("[{name} ")) => {
                    options.pairs.push((name.clone(), value.clone()));
                }
                _ => options.fail(),
            }
        }
        options
    }

    pub fn fail(&self) -> ! {
        eprintln!("peers {}", self.usage);
        exit(2)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let is_it = |pair: &&(String, String)| pair.0 == name;
        self.pairs.iter().rev().find(is_it).map(|(_, value)| value.as_str())
    }

    fn list(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        self.get(name).map(|value| value.split(','))
    }

    pub fn numbers(&self, name: &str, default: &[usize]) -> Vec<usize> {
        let number = |text: &str| match text.parse() {
            Ok(number) if number > 0 => number,
            _ => self.fail(),
        };
        self.list(name).map_or(default.to_vec(), |list| list.map(number).collect())
    }

    pub fn number(&self, name: &str, default: usize) -> usize {
        *self.numbers(name, &[default]).last().expect("a list has an item")
    }

    /// Whether this work is to be measured.
    pub fn wants(&self, work: &str) -> bool {
        self.list("--only").is_none_or(|mut works| works.any(|one| work == one))
    }

    /// Whether this peer takes part, by the beginning of its name; ours always does.
    pub fn has(&self, peer: &str) -> bool {
        peer.starts_with("concurrent")
            || self.list("--peers").is_none_or(|mut names| names.any(|name| peer.starts_with(name)))
    }
}
