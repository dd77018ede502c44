//! The works of the peers, and how they are measured.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use cpu_time::ProcessTime;

/// The time of one item, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub wall: f64,
    pub cpu: f64,
}

impl Sample {
    /// Measures `work`, which handles `items` of them.
    pub fn of(items: usize, work: impl FnOnce()) -> Self {
        let (cpu, wall) = (ProcessTime::now(), Instant::now());
        work();
        let (wall, cpu) = (wall.elapsed(), cpu.elapsed());
        let each = |time: std::time::Duration| time.as_nanos() as f64 / items as f64;
        Self { wall: each(wall), cpu: each(cpu) }
    }

    pub fn mean(samples: &[Self]) -> Self {
        let mean = |field: fn(&Self) -> f64| {
            samples.iter().map(field).sum::<f64>() / samples.len().max(1) as f64
        };
        Self { wall: mean(|sample| sample.wall), cpu: mean(|sample| sample.cpu) }
    }
}

/// A scheduler, or a substitute. `None` means "cannot do that".
pub trait Peer {
    fn name(&self) -> &'static str;

    /// Enters `count` events at random times, then runs all, on a virtual clock; per event. A peer without
    /// a virtual clock enters them in real time, and runs them when the last one is due.
    fn bulk(&mut self, _count: usize) -> Option<Sample> {
        None
    }

    /// Runs the next and enters one at a random time, with `pending` events all along.
    fn hold(&mut self, _pending: usize) -> Option<Sample> {
        None
    }

    /// Cancels half of `count` events, in random order; per cancel.
    fn cancel(&mut self, _count: usize) -> Option<Sample> {
        None
    }

    /// Bytes for each of `count` pending events, in a process of its own.
    fn memory(&mut self, _count: usize) -> Option<f64> {
        None
    }

    /// How late each of `count` events a millisecond apart ran on the real clock, in microseconds;
    /// and the processor time for each.
    fn lateness(&mut self, _count: usize) -> Option<(Vec<f64>, f64)> {
        None
    }

    /// How late an event ran that was due in 20 ms when another thread entered it while the one
    /// that runs them slept towards one due in a second, in microseconds.
    fn earlier(&mut self) -> Option<f64> {
        None
    }
}

/// Runs and enters before a hold measurement begins: to enter and to run all is another one.
pub const WARM_UP: usize = 20_000;

/// Runs and enters in one hold measurement.
pub fn hold_operations(pending: usize) -> usize {
    pending.max(100_000)
}

/// Times are below this.
pub const SPAN: u64 = 1 << 24;

/// The count of the actions that ran.
static RAN: AtomicU64 = AtomicU64::new(0);

/// An action that captured 16 bytes. Each peer runs its actions in one thread, so that load and store
/// suffice; the count would reveal a peer that runs two at once.
pub fn action(one: u64, zero: u64) -> impl FnOnce() + Send + 'static {
    move || RAN.store(RAN.load(Relaxed) + one + zero, Relaxed)
}

pub fn boxed_action(one: u64, zero: u64) -> Box<dyn FnOnce() + Send> {
    Box::new(action(one, zero))
}

/// The number of actions that ran since the last call.
pub fn take_ran() -> u64 {
    RAN.swap(0, Relaxed)
}

/// Bytes of memory this process holds.
pub fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// Bytes for each of `count` events that `fill` enters. Its result keeps them alive.
pub fn bytes_each<H>(count: usize, fill: impl FnOnce() -> H) -> f64 {
    let before = resident();
    let held = fill();
    let after = resident();
    drop(held);
    (after - before) as f64 / count as f64
}
