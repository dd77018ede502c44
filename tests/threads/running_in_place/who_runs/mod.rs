//! Who runs the calls that a call waits for, and that the wait ends as it does outside of a call.
//!
//! A table: each kind of wait, by each setting of [`RunInPlace`], in pools of one to four workers
//! whose others are free, busy, not started yet, or wait for the waiting call themselves; for calls of
//! the own pool, and of another.

mod early;
mod kinds;
mod starting;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, ThreadId};
use std::time::Duration;

use concurrent::futures::{Future, RunInPlace, ThreadPoolExecutor};
use kinds::{Calls, Ends, HOUR, Kind, kinds};

use crate::support::{OnceSlot, Pool, until};

/// Far longer than a row takes on a busy machine.
const HANGS: Duration = Duration::from_secs(100);

const SETTINGS: [RunInPlace; 3] =
    [RunInPlace::IfStuck, RunInPlace::IfNobodyIsFree, RunInPlace::Always];

/// The state of the workers that do not run the waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// They have run calls before, and wait for more.
    Free,
    /// They have not been started.
    NotStarted,
    /// They are inside of calls that wait for nothing that a pool knows of.
    Busy,
    /// They wait for the waiting call, since before it waits.
    WaitForIt,
    /// They wait for the waiting call, from when it waits.
    WillWaitForIt,
}

/// Who runs the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The thread that waits for them.
    Waiter,
    Others,
    /// The one or the other: the one that comes first.
    Whoever,
    /// No one does while the wait lasts.
    Nobody,
}

struct Row {
    kind: Kind,
    setting: RunInPlace,
    workers: usize,
    others: Others,
    /// The calls are of the pool that the waiting call runs in.
    own: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, setting, workers, others, own } = self;
        let whose = if *own { "own" } else { "other" };
        write!(f, "{}, {setting:?}, {workers} of its {whose} pool, others {others:?}", kind.name)
    }
}

/// The rule.
fn who_runs(row: &Row) -> Who {
    let Row { kind, setting, workers, others, own } = row;
    if !own {
        return Who::Others;
    }
    let spare = workers - 1;
    let would_be_stuck = spare == 0 || matches!(others, Others::WaitForIt | Others::WillWaitForIt);
    if would_be_stuck {
        return if kind.ends == Ends::InTime { Who::Nobody } else { Who::Waiter };
    }
    match (kind.ends, setting, others) {
        (Ends::InTime | Ends::Early, _, _) | (_, RunInPlace::IfStuck, _) => Who::Others,
        (Ends::WithAll, _, Others::Busy) => Who::Waiter,
        (_, RunInPlace::IfNobodyIsFree, Others::Free | Others::NotStarted)
            if spare >= kind.calls =>
        {
            Who::Others
        }
        _ => Who::Whoever,
    }
}

/// A call that occupies a worker until its gate opens, and then does something.
fn occupy(pool: &ThreadPoolExecutor, then: impl FnOnce() + Send + 'static) -> Occupied {
    let (gate, opens) = channel::<()>();
    let (begins, begun) = channel();
    let call = pool.spawn(move || {
        begins.send(()).unwrap();
        let _: Result<(), _> = opens.recv();
        then();
    });
    Occupied { call: call.unwrap(), begun, gate }
}

struct Occupied {
    call: Future<()>,
    begun: Receiver<()>,
    gate: Sender<()>,
}

/// Occupies so many workers; returns when they are.
fn occupy_all(
    pool: &ThreadPoolExecutor,
    workers: usize,
    then: impl FnOnce() + Clone + Send + 'static,
) -> Vec<Occupied> {
    let calls: Vec<_> = (0..workers).map(|_| occupy(pool, then.clone())).collect();
    calls.iter().for_each(|call| call.begun.recv().unwrap());
    calls
}

/// Lets them go on.
fn open(calls: Vec<Occupied>) -> Vec<Future<()>> {
    calls
        .into_iter()
        .map(|occupied| {
            drop(occupied.gate);
            occupied.call
        })
        .collect()
}

/// Has all workers started and free.
fn warm_up(pool: &ThreadPoolExecutor, workers: usize) {
    for call in open(occupy_all(pool, workers, || ())) {
        call.into_result().unwrap();
    }
    until(|| pool.stats().idle == workers);
}

/// The outcome of a wait.
#[derive(Clone)]
struct Seen {
    outcome: String,
    ran: Vec<ThreadId>,
    waiter: ThreadId,
}

fn wait_here(kind: &Kind, calls: &Calls) -> Seen {
    let outcome = match (kind.wait)(calls) {
        Ok(value) => value.to_string(),
        Err(error) if error.is_timeout() => "time is up".to_owned(),
        Err(error) => error.to_string(),
    };
    Seen { outcome, ran: calls.ran(), waiter: thread::current().id() }
}

/// How the wait of `row` ends in a thread that is none of a pool.
fn outside(kind: &Kind, who: Who) -> String {
    let pool = Arc::new(ThreadPoolExecutor::new(1).unwrap());
    let occupied = if who == Who::Nobody { occupy_all(&pool, 1, || ()) } else { Vec::new() };
    let seen = wait_here(kind, &Calls::new(&pool, limit(who)));
    drop(occupied);
    seen.outcome
}

/// Of a wait that has one.
fn limit(who: Who) -> Duration {
    if who == Who::Nobody { Duration::from_millis(2) } else { HOUR }
}

/// Runs the wait of `row` in a call.
fn inside(row: &Row, who: Who) -> Seen {
    let Row { kind, setting, workers, others, own } = *row;
    let pool = |workers| {
        let builder = ThreadPoolExecutor::builder().max_workers(workers);
        Arc::new(builder.run_in_place(setting).build().unwrap())
    };
    let target: Pool = pool(workers);
    let (home, spare) = if own { (Arc::clone(&target), workers - 1) } else { (pool(1), workers) };
    if others == Others::Free {
        warm_up(&target, workers);
    }
    let place = OnceSlot::<Future<Seen>>::new();
    let occupied = match others {
        Others::Free | Others::NotStarted => Vec::new(),
        Others::Busy => occupy_all(&target, spare, || ()),
        Others::WaitForIt | Others::WillWaitForIt => {
            let place = place.clone();
            occupy_all(&target, spare, move || drop(place.get().exception()))
        }
    };

    let (begins, begun) = channel();
    let (go, goes) = channel::<()>();
    let calls = Calls::new(&target, limit(who));
    let waiter = home.spawn(move || {
        begins.send(()).unwrap();
        let _: Result<(), _> = goes.recv();
        wait_here(&kind, &calls)
    });
    begun.recv().unwrap(); // else another one that waits for it might run it
    place.fill(waiter.unwrap());
    let waiter = place.get();
    // A wait with a time limit is not to be seen from here.
    let until_it_waits = || {
        if kind.ends != Ends::InTime {
            until(|| waiter.done() || home.stats().blocked > 0);
        }
    };
    let ended = match others {
        Others::WaitForIt => {
            let ended = open(occupied);
            until(|| target.stats().blocked == spare);
            drop(go);
            ended
        }
        Others::WillWaitForIt => {
            drop(go);
            until_it_waits();
            open(occupied)
        }
        Others::Busy if who != Who::Waiter => {
            drop(go);
            until_it_waits();
            open(occupied)
        }
        Others::Free | Others::NotStarted | Others::Busy => {
            drop(go);
            let _ = waiter.exception();
            open(occupied)
        }
    };
    let seen = waiter.result().unwrap().clone();
    ended.into_iter().for_each(|call| call.into_result().unwrap());
    seen
}

/// The complaint about an outcome, if there is one.
fn complaint(row: &Row) -> Option<String> {
    let who = who_runs(row);
    let expected = outside(&row.kind, who);
    let Seen { outcome, ran, waiter } = inside(row, who);
    let here = ran.iter().filter(|thread| **thread == waiter).count();
    let right = match who {
        Who::Nobody => ran.is_empty(),
        Who::Waiter => here == ran.len() && here == row.kind.needed,
        Who::Others => here == 0,
        Who::Whoever => true,
    };
    // Beside each other, fewer or more may have run than it took.
    let enough = match row.kind.ends {
        Ends::WithAll => ran.len() == row.kind.needed,
        Ends::Early | Ends::EarlyAtFirst => !ran.is_empty(),
        Ends::InTime => true,
    };
    let ran = ran.len();
    (outcome != expected || !right || !enough).then(|| {
        format!("{row}: {outcome} (right is {expected}); {who:?} should run them, {here} of {ran} ran in the waiter")
    })
}

fn table() -> Vec<Row> {
    let own =
        [Others::Free, Others::NotStarted, Others::Busy, Others::WaitForIt, Others::WillWaitForIt];
    let mut rows = Vec::new();
    for kind in kinds() {
        for setting in SETTINGS {
            let mut row = |workers, others, own| {
                rows.push(Row { kind, setting, workers, others, own });
            };
            row(1, Others::Free, true);
            for workers in [2, 4] {
                own.into_iter().for_each(|others| row(workers, others, true));
            }
            for workers in [1, 2, 4] {
                own[..3].iter().for_each(|others| row(workers, *others, false));
            }
        }
    }
    rows
}

#[test]
fn who_runs_what_and_how_each_wait_ends() {
    let (sender, receiver) = channel();
    let runner = thread::spawn(move || {
        // Each so many rows, where they take long.
        for row in table().iter().step_by(if cfg!(miri) { 41 } else { 1 }) {
            sender.send((row.to_string(), None)).unwrap();
            sender.send((row.to_string(), complaint(row))).unwrap();
        }
    });
    let mut complaints = Vec::new();
    let mut last = String::new();
    loop {
        match receiver.recv_timeout(HANGS) {
            Ok((row, complaint)) => {
                last = row;
                complaints.extend(complaint);
            }
            Err(RecvTimeoutError::Timeout) => panic!("{last}: it hangs\n{}", complaints.join("\n")),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(runner.join().is_ok(), "{last}: a panic");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
