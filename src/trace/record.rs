//! Records events: each thread records its own.
//!
//! Each thread writes to its own log, whose lock is contended only while all logs are collected.
//! The locks and atomics are the standard library's in a model too: they are part of no protocol,
//! and only the numbers of calls pass between threads, together with the calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// The number of a call, unique in this process; 0 is a call that is not recorded.
pub(crate) type CallNumber = u64;

/// Nanoseconds since the first event.
pub(crate) type Nanos = u64;

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOrigin {
    /// On a worker thread of the pool with this number.
    Thread(u32),
    /// In another process.
    Process,
    /// Nowhere: a promise, or a call made of others.
    Elsewhere,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    Returned,
    Failed,
    Cancelled,
    /// The last owner dropped it before it was started.
    GivenUp,
}

#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) at: Nanos,
    pub(crate) what: EventKind,
}

#[derive(Clone, Debug)]
pub(crate) enum EventKind {
    Submitted {
        call: CallNumber,
        name: &'static str,
        kind: CallOrigin,
    },
    Started {
        call: CallNumber,
    },
    Ended {
        call: CallNumber,
        end: CallEnd,
    },
    /// This thread blocks until something happens to `calls` calls, of which these are the first.
    Blocks {
        first: Vec<CallNumber>,
        calls: usize,
    },
    Wakes,
}

/// The events of one thread.
#[derive(Debug)]
pub(crate) struct ThreadLog {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) notes: Vec<LogEntry>,
}

struct OwnLog {
    number: u64,
    name: String,
    notes: Mutex<Vec<LogEntry>>,
}

static RECORDING: AtomicBool = AtomicBool::new(false);
static LOGS: Mutex<Vec<Arc<OwnLog>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: Arc<OwnLog> = enter();
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next(counter: &AtomicU64) -> u64 {
    // ORDERING: Relaxed; only the number itself matters.
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

fn enter() -> Arc<OwnLog> {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let number = next(&THREADS);
    let name = std::thread::current().name().map(str::to_owned);
    let name = name.unwrap_or_else(|| format!("thread {number}"));
    let own = Arc::new(OwnLog { number, name, notes: Mutex::default() });
    locked(&LOGS).push(Arc::clone(&own));
    own
}

fn now() -> Nanos {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let since = ORIGIN.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn is_recording() -> bool {
    // ORDERING: Relaxed; events are recorded under a lock, and a late one does no harm.
    RECORDING.load(Ordering::Relaxed)
}

fn note(what: EventKind) {
    let note = LogEntry { at: now(), what };
    // A thread that is being torn down has no log any more, so the event is lost.
    let _ = OWN.try_with(|own| locked(&own.notes).push(note));
}

pub(crate) fn start() {
    drop(collect());
    RECORDING.store(true, Ordering::Relaxed); // ORDERING: as in `is_recording`
}

pub(crate) fn stop() -> Vec<ThreadLog> {
    RECORDING.store(false, Ordering::Relaxed); // ORDERING: as in `is_recording`
    collect()
}

/// Takes the events of all threads, and removes the logs of threads that have ended.
fn collect() -> Vec<ThreadLog> {
    let mut logs = locked(&LOGS);
    let taken = logs.iter().map(|own| ThreadLog {
        number: own.number,
        name: own.name.clone(),
        notes: std::mem::take(&mut *locked(&own.notes)),
    });
    let taken = taken.filter(|log| !log.notes.is_empty()).collect();
    logs.retain(|own| Arc::strong_count(own) > 1);
    taken
}

/// A call's part in the recording.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced(CallNumber);

impl Traced {
    /// Records the submission of a call.
    pub(crate) fn submitted(name: &'static str, kind: CallOrigin) -> Self {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        if !is_recording() {
            return Self(0);
        }
        let call = next(&CALLS);
        note(EventKind::Submitted { call, name, kind });
        Self(call)
    }

    pub(crate) fn started(&self) {
        self.note(|call| EventKind::Started { call });
    }

    pub(crate) fn ended(&self, end: CallEnd) {
        self.note(|call| EventKind::Ended { call, end });
    }

    fn note(&self, what: impl FnOnce(CallNumber) -> EventKind) {
        if self.0 != 0 && is_recording() {
            note(what(self.0));
        }
    }
}

/// The calls that a blocked thread waits for.
#[derive(Debug, Default)]
pub(crate) struct Blocks(Mutex<(Vec<CallNumber>, usize)>);

/// Records, when dropped, that the thread goes on.
#[must_use]
pub(crate) struct BlockGuard(bool);

impl Blocks {
    /// The most calls that an event of a wait names.
    const NAMED: usize = 8;

    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a call to wait for.
    pub(crate) fn on(&self, call: &Traced) {
        let mut calls = locked(&self.0);
        calls.1 += 1;
        if call.0 != 0 && calls.0.len() < Self::NAMED {
            calls.0.push(call.0);
        }
    }

    /// Records that this thread blocks until the guard is dropped.
    pub(crate) fn begin(&self) -> BlockGuard {
        if !is_recording() {
            return BlockGuard(false);
        }
        let (first, calls) = locked(&self.0).clone();
        note(EventKind::Blocks { first, calls });
        BlockGuard(true)
    }
}

impl Drop for BlockGuard {
    fn drop(&mut self) {
        if self.0 {
            note(EventKind::Wakes);
        }
    }
}
