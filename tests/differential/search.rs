//! Searches for a program that behaves differently here and in Python.

use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::str::FromStr;
use std::{env, fs};

use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::python::Python;

/// Programs of one kind, and how they are run.
pub(crate) trait Language {
    type Program: Serialize + DeserializeOwned + std::fmt::Debug + 'static;
    const NAME: &'static str;
    /// Runs a program from each line, as JSON.
    const PYTHON: &'static str;
    /// Beginnings of entries that many traces must have: a comparison of traces in which nothing
    /// happens proves nothing.
    const KINDS: &'static [&'static str];
    /// How many programs there are if nothing else is said.
    const PROGRAMS: u64 = 10_000;

    fn programs() -> BoxedStrategy<Self::Program>;

    /// Whether the original came to no end. Then a program is right if it comes to one.
    fn has_no_end(_trace: &str) -> bool {
        false
    }

    /// Whether a program that came to an end leaves such a trace.
    fn is_end(_trace: &str) -> bool {
        true
    }

    /// Runs a program, perhaps in several ways.
    fn run(program: &Self::Program) -> Vec<Way>;
}

/// The trace of one run of a program here.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) trace: Vec<String>,
    /// Which entries of the original's trace there can be.
    pub(crate) has: fn(&str) -> bool,
}

const BATCH: u64 = 200;
/// How many of a thousand programs must have each kind of entry.
const WITH_KIND: u64 = 5;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(text) = env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
}

fn json(program: &impl Serialize) -> String {
    serde_json::to_string(program).expect("a program has nothing that JSON lacks")
}

/// How the traces differ, for a reader; `None` if they do not.
fn difference<L: Language>(program: &L::Program, python: &str) -> Option<String> {
    let Ok(ways) = catch_unwind(AssertUnwindSafe(|| L::run(program))) else {
        return Some(format!("python: {python}\nhere:   a panic"));
    };
    if L::has_no_end(python) {
        // All ways to the same.
        let is_right = |way: &&Way| L::is_end(&way.trace.join(";")) && way.trace == ways[0].trace;
        let wrong = ways.iter().find(|way| !is_right(way))?;
        return Some(format!("python: {python}\n{}: {}", wrong.name, wrong.trace.join(";")));
    }
    ways.into_iter().find_map(|Way { name, trace, has }| {
        let kept: Vec<_> = python.split(';').filter(|entry| has(entry)).collect();
        let (kept, trace) = (kept.join(";"), trace.join(";"));
        (kept != trace).then(|| format!("python: {kept}\n{name}: {trace}"))
    })
}

/// Runs the regressions, then random programs.
pub(crate) fn compare<L: Language>() {
    let Some(mut python) = Python::start(L::PYTHON) else {
        println!("SKIPPED: no python3 of version 3.10 or newer to compare with");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let regressions = folder.join(L::NAME).with_extension("jsonl");
    for line in fs::read_to_string(&regressions).unwrap_or_default().lines() {
        let program = serde_json::from_str(line).expect("a regression is a program");
        python.send(&[line.to_owned()]);
        if let Some(difference) = difference::<L>(&program, &python.trace(line)) {
            panic!("{line}\n{difference}");
        }
    }

    let wanted: u64 = setting("DIFFERENTIAL_PROGRAMS", L::PROGRAMS);
    let seed: u64 = setting("DIFFERENTIAL_SEED", 20);
    let bytes: Vec<u8> = (seed..seed + 4).flat_map(u64::to_le_bytes).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let strategy = L::programs();
    let mut with_kind = vec![0; L::KINDS.len()];
    let mut compared = 0;
    while compared < wanted {
        let trees: Vec<_> = (0..BATCH.min(wanted - compared))
            .map(|_| strategy.new_tree(&mut runner).expect("nothing is filtered"))
            .collect();
        let sources: Vec<_> = trees.iter().map(|tree| json(&tree.current())).collect();
        python.send(&sources);
        for (mut tree, source) in trees.into_iter().zip(&sources) {
            let trace = python.trace(source);
            for (kind, count) in L::KINDS.iter().zip(&mut with_kind) {
                *count += u64::from(trace.split(';').any(|entry| entry.starts_with(kind)));
            }
            if let Some(difference) = difference::<L>(&tree.current(), &trace) {
                // A fresh one: this one has the rest of the batch before it.
                let python = Python::start(L::PYTHON).expect("the first one started");
                let (program, difference) = shrink::<L>(&mut tree, python)
                    .unwrap_or_else(|| (source.clone(), difference + "\nthis once, not again"));
                keep(&regressions, &program);
                panic!("after {compared} programs of seed {seed}:\n{program}\n{difference}");
            }
            compared += 1;
        }
    }
    println!("{compared} programs of {} of seed {seed} do the same in Python", L::NAME);
    println!("{:?}", L::KINDS.iter().zip(&with_kind).collect::<Vec<_>>());
    let enough = compared >= L::PROGRAMS;
    for (kind, count) in L::KINDS.iter().zip(with_kind).filter(|_| enough) {
        assert!(count >= compared * WITH_KIND / 1000, "only {count} programs with {kind}");
    }
}

/// The smallest program that still differs, as JSON, and how; `None` if it does not again.
fn shrink<L: Language>(
    tree: &mut impl ValueTree<Value = L::Program>,
    mut python: Python,
) -> Option<(String, String)> {
    let mut differs = |program: L::Program| {
        let source = json(&program);
        python.send(std::slice::from_ref(&source));
        let difference = difference::<L>(&program, &python.trace(&source))?;
        Some((source, difference))
    };
    let mut smallest = differs(tree.current());
    let mut may_shrink = tree.simplify();
    for _ in 0..20_000 {
        if !may_shrink {
            break;
        }
        let smaller = differs(tree.current());
        may_shrink = if smaller.is_some() { tree.simplify() } else { tree.complicate() };
        smallest = smaller.or(smallest);
    }
    smallest
}

fn keep(regressions: &Path, program: &str) {
    let file = OpenOptions::new().create(true).append(true).open(regressions);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{program}")) {
        println!("cannot keep the program in {}: {error}", regressions.display());
    }
}
