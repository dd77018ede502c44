//! The works of the peers, and how they are measured.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// The tree of nested calls has two to the power of this many leaves.
pub const DEPTH: u32 = 18;

/// Calls of the tree, leaves and all.
pub const NODES: usize = (2 << DEPTH) - 1;

/// The times of some calls, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Sample {
    /// One time for each call, or the mean of all of them.
    pub times: Vec<f64>,
    /// Processor time of the whole process, for each call.
    pub cpu: f64,
    /// Context switches of the whole process, for each call.
    pub switches: f64,
}

impl Sample {
    /// Measures `work`, which makes `calls` calls.
    pub fn of(calls: usize, work: impl FnOnce()) -> Self {
        let each = |time: Duration| time.as_nanos() as f64 / calls as f64;
        let (switches, cpu, wall) = (switches(), ProcessTime::now(), Instant::now());
        work();
        let (wall, cpu) = (wall.elapsed(), cpu.elapsed());
        let switches = (self::switches() - switches) as f64 / calls as f64;
        Self { times: vec![each(wall)], cpu: each(cpu), switches }
    }

    /// Measures each of `trips`, with a pause before it in which all threads fall asleep.
    pub fn of_trips(trips: usize, pause: Duration, trip: impl Fn()) -> Self {
        let mut times = Vec::with_capacity(trips);
        let whole = Self::of(trips, || {
            for _ in 0..trips {
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
                let start = Instant::now();
                trip();
                times.push(start.elapsed().as_nanos() as f64);
            }
        });
        Self { times, ..whole }
    }
}

/// Bytes, and allocations if they are counted, for each pending call.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub bytes: f64,
    pub allocations: Option<f64>,
}

/// An executor of calls. `None` means "cannot do that".
pub trait Peer {
    /// Submits `calls` empty calls from each of some threads' shares, keeps the handles, then takes
    /// all results.
    fn batch(&mut self, _calls: usize, _submitters: usize) -> Option<Sample> {
        None
    }

    /// Submits `calls` calls that count themselves, without handles, and waits for the last.
    fn fire(&mut self, _calls: usize) -> Option<Sample> {
        None
    }

    /// Submits an empty call and takes its result, one at a time, with a pause before each.
    fn trips(&mut self, _trips: usize, _pause: Duration) -> Option<Sample> {
        None
    }

    /// A tree of [`DEPTH`], each call of which submits its children.
    fn tree(&mut self) -> Option<Sample> {
        None
    }

    /// Submits `calls` empty calls, then takes their results in the order in which they end.
    fn drain(&mut self, _calls: usize) -> Option<Sample> {
        None
    }

    /// The memory of each of `calls` empty calls that wait behind another, with its handle. Measured in a
    /// process of its own, with one worker.
    fn memory(&mut self, _calls: usize) -> Option<Memory> {
        None
    }
}

/// Waits for calls without handles. It is never freed, so that no call owns a part of it.
pub struct Latch {
    left: AtomicUsize,
    waiter: Thread,
}

impl Latch {
    pub fn new(calls: usize) -> &'static Self {
        let (left, waiter) = (AtomicUsize::new(calls), thread::current());
        Box::leak(Box::new(Self { left, waiter }))
    }

    pub fn count_down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiter.unpark();
        }
    }

    pub fn wait(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
    }
}

/// Context switches of this process since it began, voluntary and not.
#[cfg(unix)]
fn switches() -> i64 {
    // SAFETY: all zeros are a valid value of this struct of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` may be written to for the time of the call.
    let code = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(code, 0, "it can fail for wrong arguments only");
    usage.ru_nvcsw + usage.ru_nivcsw
}

#[cfg(not(unix))]
fn switches() -> i64 {
    0
}

/// Bytes of memory this process holds.
pub fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}
