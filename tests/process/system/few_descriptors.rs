//! File descriptors that run short, at every message and on both sides.
//!
//! A process has exactly so many left, from none to as many as it needs. Each call gives the right
//! value or an error that says that files are too many, and with enough of them the same pool goes on.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use concurrent::futures::ProcessPoolExecutor;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exchange::{Exchange, double};
use crate::support::{LIMIT, ProcessGate, hush, in_own_process, replacing, trials};

trials![
    within LIMIT * 4,
    few_when_a_worker_is_started,
    few_in_a_worker_that_starts,
    few_in_the_parent_of_a_living_worker,
    few_in_a_living_worker,
];

fn few_when_a_worker_is_started() {
    in_own_process(&["descriptors", "start"]);
}

fn few_in_the_parent_of_a_living_worker() {
    in_own_process(&["descriptors", "messages"]);
}

pub(crate) fn act(what: &str) {
    match what {
        "start" => start(),
        "messages" => messages(),
        _ => unreachable!("no such act"),
    }
}

/// All descriptors that this process may have, but for so many.
fn take_all_but(left: usize) -> Vec<File> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), maximum }).unwrap();
    let mut files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.truncate(files.len() - left);
    files
}

fn is_named(text: &str) -> bool {
    text.to_lowercase().contains("too many open files")
}

/// More than a start takes.
const START: usize = 24;

/// More than a message takes.
const MESSAGE: usize = 6;

fn start() {
    let mut was_enough = false;
    for left in 0..START {
        let circumstances = format!("{left} descriptors left for a start");
        let few = Exchange { circumstances: &circumstances, is_named: &is_named };
        // A death would break it: what is refused is none.
        let pool = ProcessPoolExecutor::new(1).unwrap();
        let taken = take_all_but(left);
        let refused = few.expect("the call", pool.submit(double, 4), |n| *n == 8);
        assert!(refused.is_some() || left > 8, "{circumstances}");
        was_enough = refused.is_none();
        drop(taken);
        Exchange::flawless(&circumstances).with(&pool);
    }
    assert!(was_enough, "a start takes more than {START} descriptors");
}

fn messages() {
    let pool = replacing(1);
    for left in 0..MESSAGE {
        let circumstances = format!("{left} descriptors left in the parent");
        // Segments that are kept for later need no descriptors: with none, and with some.
        for fresh in [true, false] {
            let pool = if fresh { &replacing(1) } else { &pool };
            let small = pool.submit(double, 3).unwrap().into_result();
            assert_eq!(small.unwrap(), 6, "{circumstances}");
            let taken = take_all_but(left);
            Exchange { circumstances: &circumstances, is_named: &is_named }.with(pool);
            drop(taken);
            Exchange::flawless(&circumstances).with(pool);
            assert_eq!((pool.stats().started, pool.stats().died), (1, 0), "{circumstances}");
        }
    }
}

/// The variable that says where a worker finds out how many descriptors it has at its start.
const AT_START: &str = "CONCURRENT_TEST_DESCRIPTORS";

/// The descriptors that a worker has taken.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// In a worker, before it knows.
pub(crate) fn before_init() {
    let Some(note) = std::env::var_os(AT_START) else { return };
    if let Ok(left) = std::fs::read_to_string(note) {
        hush(); // it says why it ends
        *TAKEN.lock().unwrap() = take_all_but(left.parse().unwrap());
    }
}

fn few_in_a_worker_that_starts() {
    let place = ProcessGate::new();
    let note = Path::new(&place.name()).join("left");
    for left in 0..8 {
        std::fs::write(&note, left.to_string()).unwrap();
        let pool =
            ProcessPoolExecutor::builder().max_workers(1).env(AT_START, &note).build().unwrap();
        let circumstances = format!("{left} descriptors left in a worker that starts");
        let few = Exchange { circumstances: &circumstances, is_named: &is_named };
        let refused = few.expect("the call", pool.submit(double, 4), |n| *n == 8);
        assert!(refused.is_some() || left > 3, "{circumstances}");
        assert!(refused.is_none() || left < 7, "{circumstances}: {refused:?}");
        if refused.is_none() {
            few.with(&pool);
        }
        std::fs::remove_file(&note).unwrap();
        if refused.is_some() {
            Exchange::flawless(&circumstances).with(&pool);
        }
        assert_eq!(pool.stats().died, 0, "{circumstances}");
    }
}

fn few_in_a_living_worker() {
    let take = |left| *TAKEN.lock().unwrap() = take_all_but(left);
    let pool = replacing(1);
    for left in 0..MESSAGE {
        let circumstances = format!("{left} descriptors left in a worker");
        for fresh in [true, false] {
            let pool = if fresh { &replacing(1) } else { &pool };
            pool.submit(take, left).unwrap().into_result().unwrap();
            Exchange { circumstances: &circumstances, is_named: &is_named }.with(pool);
            let give_back = |()| TAKEN.lock().unwrap().clear();
            pool.submit(give_back, ()).unwrap().into_result().unwrap();
            Exchange::flawless(&circumstances).with(pool);
            assert_eq!((pool.stats().started, pool.stats().died), (1, 0), "{circumstances}");
        }
    }
}
