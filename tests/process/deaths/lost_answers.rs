//! An answer is lost after its worker has begun the next calls.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::OnWorkerDeath;
use rustix::process::{Signal, getpid, getppid, kill_process};

use crate::deaths::corrupted_channel::{channel as channel_memory, write};
use crate::support::{LIMIT, ProcessGate, eventually, in_own_process, trial};

pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
    let name = "process::deaths::lost_answers::a_call_that_began_behind_a_lost_answer_runs_once";
    vec![trial(name, LIMIT, || in_own_process(&["lost-answer"]))]
}

/// The lost answer. Made where it is sent, so that it stands nowhere else in the channel.
fn answer() -> String {
    ('a'..='z').rev().chain('A'..='Z').collect()
}

/// How often this has run is the length of a file.
fn note(folder: &str, name: &str) {
    let file = OpenOptions::new().append(true).create(true).open(Path::new(folder).join(name));
    file.unwrap().write_all(b"x").unwrap();
}

fn parent_is_stopped(parent: i32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let mut stats = tasks.map(|task| fs::read_to_string(task.path().join("stat")));
    stats.all(|stat| stat.is_ok_and(|stat| stat.rsplit(')').next().unwrap().starts_with(" T")))
}

/// Halts the parent, so that it does not read the answer before it is lost.
fn halts_its_parent(folder: String) -> String {
    note(&folder, "first");
    let parent = getppid().unwrap();
    // If the next call was taken back, it does not come, and nobody else wakes the parent.
    let (stopped, hears) = channel::<()>();
    std::thread::spawn(move || {
        let _ = hears.recv_timeout(Duration::from_secs(1));
        kill_process(parent, Signal::CONT).unwrap();
    });
    kill_process(parent, Signal::STOP).unwrap();
    eventually("the halt of the parent", || parent_is_stopped(parent.as_raw_nonzero().get()));
    *STOPPED.lock().unwrap() = Some(stopped);
    answer()
}

/// Dropped when the parent is to go on.
static STOPPED: std::sync::Mutex<Option<std::sync::mpsc::Sender<()>>> = std::sync::Mutex::new(None);

/// Overwrites the answer of the call before, and dies.
fn loses_an_answer(folder: String) -> u32 {
    note(&folder, "second");
    let text = answer().into_bytes();
    for (start, len) in channel_memory() {
        let bytes: Vec<u8> =
            (start..start + len).map(crate::deaths::corrupted_channel::read).collect();
        let found = bytes.windows(text.len()).position(|window| window == text);
        found.iter().for_each(|at| write(start + at, b'?'));
    }
    STOPPED.lock().unwrap().take();
    kill_process(getppid().unwrap(), Signal::CONT).unwrap();
    kill_process(getpid(), Signal::KILL).unwrap();
    unreachable!("it was killed")
}

fn counts(folder: String) -> u32 {
    note(&folder, "third");
    std::process::id()
}

/// Whether the answer was lost. On a busy machine what is behind the first call may be taken back before
/// it runs.
fn is_lost(pool: &ProcessPoolExecutor) -> bool {
    let gate = ProcessGate::new();
    let folder = || gate.name();
    // They are to reach the worker together.
    let busy = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
    gate.wait_begun();
    let first = pool.submit(halts_its_parent, folder()).unwrap();
    let second = pool.submit(loses_an_answer, folder()).unwrap();
    let third = pool.submit(counts, folder()).unwrap();
    gate.open();
    busy.into_result().unwrap();
    let first = first.into_result();
    let error = second.into_result().unwrap_err();
    assert!(matches!(error, Error::WorkerDied(_)), "{error}");
    third.into_result().unwrap();
    for name in ["first", "second", "third"] {
        let runs = fs::metadata(Path::new(&folder()).join(name)).unwrap().len();
        assert_eq!(runs, 1, "the {name} call ran so often, after {first:?}");
    }
    match first {
        Ok(text) => {
            assert_eq!(text, answer());
            false
        }
        Err(error) => {
            assert!(matches!(error, Error::WorkerDied(_) | Error::Decode(_)), "{error}");
            true
        }
    }
}

pub(crate) fn act() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).prefetch(8);
    let pool = builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap();
    assert!((0..1000).any(|_| is_lost(&pool)), "the answer always came through");
}
