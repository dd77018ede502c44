//! The resources of the process over time, from `/proc`.

use std::fmt::Write;
use std::fs;

use crate::common::proc::{children, count};

/// The program at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Resident memory of this process, in KiB.
    pub(crate) memory: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    pub(crate) children: u64,
    /// Calls and events that have ended so far.
    pub(crate) ended: u64,
}

impl Sample {
    pub(crate) fn take(seconds: f64, ended: u64) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        Self {
            seconds,
            memory: line.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: count("/proc/self/fd") as u64,
            threads: count("/proc/self/task") as u64,
            children: children(std::process::id()).len() as u64,
            ended,
        }
    }
}

/// A series that is drawn and compared: its name, unit, and value.
pub(crate) type Series = (&'static str, fn(&Sample) -> f64);

pub(crate) const SERIES: [Series; 4] = [
    ("resident memory, MiB", |sample| sample.memory as f64 / 1024.0),
    ("file descriptors", |sample| sample.descriptors as f64),
    ("threads", |sample| sample.threads as f64),
    ("worker processes", |sample| sample.children as f64),
];

/// How much more of each there may be in the second half: a part, and a number.
const SLACK: [(f64, f64); 4] = [(0.10, 8.0), (0.10, 16.0), (0.10, 4.0), (0.10, 2.0)];

pub(crate) fn csv(samples: &[Sample]) -> String {
    let mut text = String::from("seconds,memory_kib,descriptors,threads,children,ended\n");
    for sample in samples {
        let Sample { seconds, memory, descriptors, threads, children, ended } = sample;
        let _ = writeln!(text, "{seconds:.1},{memory},{descriptors},{threads},{children},{ended}");
    }
    text
}

fn median(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How long it takes on a loaded machine until every buffer has once been as large as it gets. The
/// memory of a shorter run says nothing.
const WARM_UP: f64 = 10.0; // seconds

/// Compares the medians of the two halves of what comes after the first fifth, the warm-up.
pub(crate) fn assert_flat(samples: &[Sample]) {
    let warm = &samples[samples.len() / 5..];
    let (first, second) = warm.split_at(warm.len() / 2);
    if first.len() < 8 {
        return println!("too few samples to compare: {}", samples.len());
    }
    let memory = usize::from(first[0].seconds < WARM_UP);
    for ((name, value), (part, number)) in SERIES.into_iter().zip(SLACK).skip(memory) {
        let (before, after) = (median(first, value), median(second, value));
        println!("{name}: {before:.1} in the first half, {after:.1} in the second");
        assert!(after <= before * (1.0 + part) + number, "{name} grow: {before:.1} to {after:.1}");
    }
}
