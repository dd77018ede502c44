//! Programs of calls that submit calls and wait for them, in pools of few and of many workers.
//!
//! A call knows the calls that it made, and those that its maker had made before it, as far as they
//! are of its own pool or of one behind that. So no program waits in a circle, of calls or of pools. In
//! Python many hang all the same, because all workers wait for what is queued. Here each ends, whatever
//! the pools' setting, with the value that it has in Python where it ends there; no wait is refused.
//!
//! A wait with a time limit runs nothing in place, here as there; it would sit out its time in a
//! program that Python ends only by a lucky order of calls. So those wait for calls of a further pool
//! whose calls wait for nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use concurrent::futures::{Future, RunInPlace, ThreadPoolExecutor, as_completed, wait};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::BoxedStrategy;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::python::PATIENCE;
use crate::search::{Language, Way, compare};

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Program {
    /// How many workers each has.
    pools: Vec<usize>,
    body: Vec<Step>,
}

/// `of` names calls by their places among those that are known, whatever their number.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Step {
    Submit {
        pool: usize,
        body: Vec<Step>,
    },
    /// Submits a call that waits for nothing, to a pool of such calls.
    Leaf {
        fails: bool,
    },
    Result {
        of: usize,
        /// With a time limit that no program reaches, if it is a leaf.
        limited: bool,
    },
    Wait {
        of: Vec<usize>,
        mode: Mode,
    },
    Completed {
        of: Vec<usize>,
    },
    Fail,
}

fn step(depth: u32) -> BoxedStrategy<Step> {
    let waits = || {
        let result = (0..8_usize, any::<bool>());
        prop_oneof![
            4 => result.prop_map(|(of, limited)| Step::Result { of, limited }),
            3 => (vec(0..8_usize, 0..5), Mode::any()).prop_map(|(of, mode)| Step::Wait { of, mode }),
            2 => vec(0..8_usize, 0..5).prop_map(|of| Step::Completed { of }),
            2 => prop_oneof![4 => Just(false), 1 => Just(true)]
                .prop_map(|fails| Step::Leaf { fails }),
        ]
    };
    if depth == 0 {
        return prop_oneof![20 => waits(), 1 => Just(Step::Fail)].boxed();
    }
    let inner = vec(step(depth - 1), 0..5);
    let submit = (0..3_usize, inner).prop_map(|(pool, body)| Step::Submit { pool, body });
    prop_oneof![20 => submit, 14 => waits(), 1 => Just(Step::Fail)].boxed()
}

type Value = Result<u64, &'static str>;

/// A call, and the pool that it is of.
type Known = (Arc<Future<u64>>, usize);

const FAILURE: &str = "as asked";

struct World {
    /// The last is that of the calls that wait for nothing.
    pools: Vec<ThreadPoolExecutor>,
    /// Calls that have not returned.
    open: AtomicUsize,
    /// What is wrong wherever it happens.
    complaint: Mutex<Option<String>>,
}

fn fold(value: u64, number: u64) -> u64 {
    (value * 31 + number) % 1_000_003
}

impl World {
    fn new(pools: &[usize], setting: RunInPlace) -> Arc<Self> {
        let pool = |workers: &usize| {
            let builder = ThreadPoolExecutor::builder().max_workers(*workers);
            builder.run_in_place(setting).build().expect("it has a worker")
        };
        Arc::new(Self {
            pools: pools.iter().chain(&[1]).map(pool).collect(),
            open: AtomicUsize::new(0),
            complaint: Mutex::default(),
        })
    }

    fn leaves(&self) -> usize {
        self.pools.len() - 1
    }

    fn submit(
        self: &Arc<Self>,
        pool: usize,
        run: impl FnOnce(&Arc<Self>) -> Value + Send + 'static,
    ) -> Known {
        self.open.fetch_add(1, Ordering::SeqCst);
        let world = Arc::clone(self);
        let call = self.pools[pool].spawn(move || {
            let value = run(&world);
            world.open.fetch_sub(1, Ordering::SeqCst);
            value
        });
        (Arc::new(call.expect("nobody shut it down").flatten()), pool)
    }

    fn complain(&self, text: String) {
        self.complaint.lock().unwrap().get_or_insert(text);
    }

    fn value_of(&self, result: concurrent::Result<&u64>) -> u64 {
        match result {
            Ok(value) => *value,
            Err(error) => {
                if !error.to_string().contains(FAILURE) {
                    self.complain(error.to_string());
                }
                7
            }
        }
    }

    /// What counts of a wait: how many are done, if all must be.
    fn wait(&self, calls: Vec<Arc<Future<u64>>>, mode: Mode) -> u64 {
        let outcome = wait(calls, None, mode.into());
        let failed = |call: &Arc<Future<u64>>| call.exception().is_ok_and(|error| error.is_some());
        let may_be_early = match mode {
            Mode::All => false,
            Mode::First => !outcome.done.is_empty(),
            Mode::Exception => outcome.done.iter().any(failed),
        };
        if !may_be_early {
            if let Some(call) = outcome.not_done.first() {
                self.complain(format!("a wait ends too early: {:?}", call.result()));
            }
        }
        if matches!(mode, Mode::All) { outcome.done.len() as u64 } else { 1 }
    }
}

fn run(world: &Arc<World>, own: usize, body: Vec<Step>, mut seen: Vec<Known>) -> Value {
    let mut value = 1;
    for step in body {
        let one = |of: usize| &seen[of % seen.len()];
        let some = |of: &[usize]| of.iter().map(|of| Arc::clone(&one(*of).0)).collect::<Vec<_>>();
        match step {
            Step::Submit { pool, body } => {
                let pool = own + pool % (world.leaves() - own);
                let known = seen.iter().filter(|(_, of)| *of >= pool).cloned().collect();
                seen.push(world.submit(pool, move |world| run(world, pool, body, known)));
            }
            Step::Leaf { fails } => {
                let value = if fails { Err(FAILURE) } else { Ok(1) };
                seen.push(world.submit(world.leaves(), move |_| value));
            }
            Step::Fail => return Err(FAILURE),
            _ if seen.is_empty() => {}
            Step::Result { of, limited } => {
                let (call, pool) = one(of);
                let result = if limited && *pool == world.leaves() {
                    call.result_timeout(PATIENCE)
                } else {
                    call.result()
                };
                value = fold(value, world.value_of(result));
            }
            Step::Completed { of } => {
                let values = as_completed(some(&of)).map(|call| world.value_of(call.result()));
                value = fold(value, values.sum());
            }
            Step::Wait { of, .. } if of.is_empty() => {}
            Step::Wait { of, mode } => value = fold(value, world.wait(some(&of), mode)),
        }
    }
    Ok(value)
}

fn perform(program: Program, setting: RunInPlace) -> String {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let world = World::new(&program.pools, setting);
        let (first, _) = world.submit(0, |world| run(world, 0, program.body, Vec::new()));
        let trace = match first.result() {
            Ok(value) => format!("v{value}"),
            Err(error) if error.to_string().contains(FAILURE) => "failed".to_owned(),
            Err(error) => error.to_string(),
        };
        // Those that nobody waited for end, too.
        while world.open.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        let complaint = world.complaint.lock().unwrap().take();
        let _ = sender.send(complaint.unwrap_or(trace));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(trace) => trace,
        Err(RecvTimeoutError::Disconnected) => "a panic".to_owned(),
        Err(RecvTimeoutError::Timeout) => "it hangs".to_owned(),
    }
}

const SETTINGS: [(&str, RunInPlace); 3] = [
    ("if nobody is free", RunInPlace::IfNobodyIsFree),
    ("if stuck", RunInPlace::IfStuck),
    ("always", RunInPlace::Always),
];

struct Nested;

impl Language for Nested {
    type Program = Program;
    const NAME: &'static str = "nested";
    const PYTHON: &'static str = include_str!("nested.py");
    const KINDS: &'static [&'static str] = &["v", "failed", "hang"];
    const PROGRAMS: u64 = 500;

    fn programs() -> BoxedStrategy<Program> {
        // With more workers, more programs end in Python.
        let workers = prop_oneof![3 => 1..=4_usize, 1 => 5..=20_usize];
        (vec(workers, 1..=3), vec(step(3), 1..6))
            .prop_map(|(pools, body)| Program { pools, body })
            .boxed()
    }

    fn run(program: &Program) -> Vec<Way> {
        let way = |(name, setting)| {
            let trace = vec![perform(program.clone(), setting)];
            Way { name, trace, has: |_| true }
        };
        SETTINGS.map(way).into()
    }

    fn has_no_end(trace: &str) -> bool {
        trace == "hang"
    }

    fn is_end(trace: &str) -> bool {
        trace.starts_with('v') || trace == "failed"
    }
}

#[test]
fn calls_that_wait_for_calls_end_as_in_python_or_where_python_hangs() {
    compare::<Nested>();
}
