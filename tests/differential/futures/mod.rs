//! Programs over `futures`.
//!
//! A program submits, cancels, completes promises, adds callbacks, waits, iterates and shuts down:
//! at the top level, in calls and in callbacks. The executor is stepped by hand, so that the
//! schedule is the same on both sides. The trace has every answer, every call and callback as it
//! runs, and what each waiting thread returned with.

mod perform;
mod world;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::BoxedStrategy;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::search::{Language, Way, compare};

/// One statement of a program; `id` names a future, `key` an iterator.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Step {
    Submit {
        id: u32,
        body: Vec<Step>,
    },
    /// A call that this program itself starts and completes.
    Promise {
        id: u32,
    },
    Start {
        id: u32,
    },
    Set {
        id: u32,
        failed: bool,
    },
    Cancel {
        id: u32,
    },
    /// The state, and what is there of a result and an exception.
    Look {
        id: u32,
    },
    Callback {
        id: u32,
        tag: u32,
        body: Vec<Step>,
    },
    /// `wait` without waiting.
    Wait {
        ids: Vec<u32>,
        mode: Mode,
    },
    /// `wait` in a thread of its own.
    Block {
        ids: Vec<u32>,
        mode: Mode,
    },
    /// `result` in a thread of its own.
    #[serde(rename = "await_")]
    Await {
        id: u32,
    },
    /// `as_completed`.
    Open {
        key: u32,
        ids: Vec<u32>,
    },
    /// The next of an `as_completed`, if there is one.
    Pull {
        key: u32,
    },
    /// `map`; `late` with a time limit that is over.
    Map {
        key: u32,
        bodies: Vec<Vec<Step>>,
        late: bool,
    },
    Next {
        key: u32,
    },
    /// Drops a map.
    Unmap {
        key: u32,
    },
    /// Lets the executor run its next call.
    Advance,
    Shutdown {
        cancel: bool,
    },
    Fail {
        n: u32,
    },
}

type Program = Vec<Step>;

/// Few, so that a future is often spoken of.
const IDS: u32 = 8;
const KEYS: u32 = 3;

fn step(body: impl Strategy<Value = Vec<Step>> + Clone + 'static) -> BoxedStrategy<Step> {
    let id = || 0..IDS;
    let key = || 0..KEYS;
    let ids = || vec(0..IDS, 0..6);
    let makes = prop_oneof![
        3 => (id(), body.clone()).prop_map(|(id, body)| Step::Submit { id, body }),
        3 => id().prop_map(|id| Step::Promise { id }),
        1 => (key(), vec(body.clone(), 0..4), any::<bool>())
            .prop_map(|(key, bodies, late)| Step::Map { key, bodies, late }),
    ];
    let moves = prop_oneof![
        2 => id().prop_map(|id| Step::Start { id }),
        4 => (id(), any::<bool>()).prop_map(|(id, failed)| Step::Set { id, failed }),
        4 => id().prop_map(|id| Step::Cancel { id }),
        6 => Just(Step::Advance),
        1 => any::<bool>().prop_map(|cancel| Step::Shutdown { cancel }),
    ];
    let asks = prop_oneof![
        4 => id().prop_map(|id| Step::Look { id }),
        5 => (id(), 0..100_u32, body).prop_map(|(id, tag, body)| Step::Callback { id, tag, body }),
        3 => (ids(), Mode::any()).prop_map(|(ids, mode)| Step::Wait { ids, mode }),
        2 => (ids(), Mode::any()).prop_map(|(ids, mode)| Step::Block { ids, mode }),
        1 => id().prop_map(|id| Step::Await { id }),
        2 => (key(), ids()).prop_map(|(key, ids)| Step::Open { key, ids }),
        4 => key().prop_map(|key| Step::Pull { key }),
        2 => key().prop_map(|key| Step::Next { key }),
        1 => key().prop_map(|key| Step::Unmap { key }),
    ];
    prop_oneof![4 => makes, 6 => moves, 7 => asks].boxed()
}

/// Statements inside of a call or a callback; each may fail.
fn body(depth: u32) -> BoxedStrategy<Vec<Step>> {
    let inner = if depth == 0 { Just(Vec::new()).boxed() } else { body(depth - 1) };
    let failure = prop_oneof![4 => Just(None), 1 => (0..100_u32).prop_map(Some)];
    (vec(step(inner), 0..4), failure)
        .prop_map(|(mut steps, failure)| {
            steps.extend(failure.map(|n| Step::Fail { n }));
            steps
        })
        .boxed()
}

struct Futures;

impl Language for Futures {
    type Program = Program;
    const NAME: &'static str = "futures";
    const PYTHON: &'static str = include_str!("../futures.py");
    const KINDS: &'static [&'static str] = &[
        "refused",
        "run",
        "skip",
        "sTrue",
        "sFalse",
        "sinvalid",
        "p",
        "pinvalid",
        "cTrue",
        "cFalse",
        "l010",
        "l001",
        "l101",
        "ocancelled",
        "otimeout",
        "ofailed",
        "efailed",
        "eNone",
        "b",
        "w[1",
        "w[]",
        "W[",
        "R",
        "O[0,",
        "i1",
        "iend",
        "m1",
        "mfailed",
        "mtimeout",
        "mend",
        "x",
        "left0",
    ];

    fn programs() -> BoxedStrategy<Program> {
        vec(step(body(1)), 0..40).boxed()
    }

    fn run(program: &Program) -> Vec<Way> {
        let trace = perform::main(program);
        vec![Way { name: "here", trace, has: |_| true }]
    }
}

// F5, F6, F7, F11, F12, F13, F16, F18, F22, F23, F24, F25, F26, F32, F33, F37, F39, F40, F41, F42,
// F43, F48, F55, F59 against the original.
#[test]
fn random_programs_leave_the_same_trace_as_in_python() {
    compare::<Futures>();
}
