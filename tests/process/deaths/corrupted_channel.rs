//! A worker writes random bytes into all of the channel that it has mapped.
//!
//! `CONCURRENT_SCRIBBLES` is for how many seconds (3), `CONCURRENT_SEED` makes a run begin as another did.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use concurrent::Error;
use concurrent::futures::{Future, ProcessPoolExecutor};

use crate::common::random::Random;
use crate::support::{ProcessGate, replacing, setting, trial};

/// How long a call may take on a loaded machine, of which two seconds are what is promised.
const LATE: Duration = Duration::from_secs(20);

pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
    let limit = Duration::from_secs(60 + 2 * seconds());
    vec![
        trial(
            "process::deaths::corrupted_channel::random_bytes_in_the_channel",
            limit,
            random_bytes,
        ),
        trial(
            "process::deaths::corrupted_channel::a_worker_that_forgets_what_it_owes",
            limit,
            forgets,
        ),
        trial(
            "process::deaths::corrupted_channel::a_call_that_takes_long_is_let_be",
            limit,
            takes_long,
        ),
    ]
}

fn seconds() -> u64 {
    setting("CONCURRENT_SCRIBBLES").unwrap_or(3)
}

/// The parts of its channel that this worker can write: start and length.
pub(crate) fn channel() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let own =
        maps.lines().filter(|line| line.contains("rw-s") && line.contains("memfd:concurrent"));
    let ranges = own.map(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let hex = |text| usize::from_str_radix(text, 16).unwrap();
        (hex(from), hex(to) - hex(from))
    });
    ranges.collect()
}

/// Only the streams, claims and panic message: the length of segments is a multiple of 64 KiB.
fn page(ranges: &[(usize, usize)]) -> (usize, usize) {
    *ranges.iter().find(|(_, len)| len % (64 * 1024) != 0).unwrap()
}

pub(crate) fn read(at: usize) -> u8 {
    let place = std::ptr::with_exposed_provenance::<AtomicU8>(at);
    // SAFETY: it is mapped.
    unsafe { (*place).load(Ordering::Relaxed) }
}

pub(crate) fn write(at: usize, byte: u8) {
    let place = std::ptr::with_exposed_provenance::<AtomicU8>(at);
    // SAFETY: it is mapped and writable; what it is for is what the test is about.
    unsafe { (*place).store(byte, Ordering::Relaxed) };
}

/// Writes `count` bytes, about half of them where positions and claims are.
fn scribble(random: &mut Random, ranges: &[(usize, usize)], count: u64) {
    for _ in 0..count {
        let (start, len) = ranges[random.below(ranges.len() as u64) as usize];
        let len = if random.below(2) == 0 { len.min(4096) } else { len };
        let byte = [0, 0xff, random.below(256) as u8][random.below(3) as usize];
        write(start + random.below(len as u64) as usize, byte);
    }
}

/// In a worker, one of several ways to go mad. Gives what it was given.
fn go_mad((seed, n): (u64, u64)) -> u64 {
    let mut random = Random::new(seed);
    let ranges = channel();
    match random.below(4) {
        0 => scribble(&mut random, &ranges, 200_000),
        1 => {
            let many = 1 + random.below(20);
            scribble(&mut random, &ranges, many);
        }
        2 => {
            let (byte, (start, len)) = (random.below(256) as u8, page(&ranges));
            (start..start + len).for_each(|at| write(at, byte));
        }
        _ => {
            static MAD: AtomicBool = AtomicBool::new(false);
            if !MAD.swap(true, Ordering::Relaxed) {
                // Not into segments: into one that a result is being written to, it would be no
                // other than into the value itself.
                let page = [page(&ranges)];
                std::thread::spawn(move || {
                    loop {
                        scribble(&mut random, &page, 1000);
                    }
                });
            }
        }
    }
    n
}

/// A result in a segment, which the worker writes.
fn fill((byte, len): (u8, usize)) -> Vec<u8> {
    vec![byte; len]
}

fn double(n: u64) -> u64 {
    n * 2
}

/// Its value, or an error that says that the worker was lost or broke the rules.
fn right<T: PartialEq + std::fmt::Debug>(call: Future<T>, value: &T) -> Option<Error> {
    match call.result_timeout(LATE) {
        Ok(own) => {
            assert!(*own == *value, "a wrong value");
            None
        }
        Err(error) => {
            assert!(!error.is_timeout(), "a call without an end");
            Some(error)
        }
    }
}

fn random_bytes() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let seed = setting("CONCURRENT_SEED").unwrap_or(now.as_micros() as u64 % 1_000_000);
    let _said = crate::random::kills::SaysSeed(seed);
    let mut random = Random::new(seed);
    let end = Instant::now() + Duration::from_secs(seconds());
    let mut lost = 0;
    while Instant::now() < end {
        let pool = replacing(2);
        let innocent = ProcessPoolExecutor::new(1).unwrap();
        for round in 0..10 {
            let early = pool.submit(fill, (round as u8, 100_000)).unwrap();
            let before: Vec<_> = (0..4).map(|n| pool.submit(double, n).unwrap()).collect();
            let mad = pool.submit(go_mad, (random.below(u64::MAX), round)).unwrap();
            let after: Vec<_> = (0..4).map(|n| pool.submit(double, n).unwrap()).collect();
            let large = pool.submit(fill, (round as u8, 200_000)).unwrap();
            let other = innocent.submit(double, round).unwrap();
            let failed = right(mad, &round);
            for (n, call) in before.into_iter().chain(after).enumerate() {
                right(call, &(n as u64 % 4 * 2));
            }
            right(early, &fill((round as u8, 100_000)));
            right(large, &fill((round as u8, 200_000)));
            assert_eq!(other.into_result().unwrap(), round * 2);
            lost += u32::from(failed.is_some());
        }
    }
    assert!(lost > 0, "nothing was overwritten");
}

/// Overwrites what tells the worker of its next calls, and of answers to be written: nobody would ever
/// wake anybody again.
fn forget(n: u64) -> u64 {
    for (start, len) in channel() {
        (start..start + len).for_each(|at| write(at, 0));
    }
    n
}

fn forgets() {
    let pool = replacing(1);
    for n in 0..3 {
        // The positions are to be past the beginning.
        for n in 0..20 {
            assert_eq!(pool.submit(double, n).unwrap().into_result().unwrap(), 2 * n);
        }
        right(pool.submit(forget, n).unwrap(), &n);
        right(pool.submit(double, n).unwrap(), &(2 * n));
    }
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
}

fn takes_long() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let gate = ProcessGate::new();
    let call = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
    let behind = pool.submit(double, 3).unwrap();
    gate.wait_begun();
    // It is asked several times meanwhile.
    assert!(behind.result_timeout(Duration::from_millis(2500)).unwrap_err().is_timeout());
    gate.open();
    call.into_result().unwrap();
    assert_eq!(behind.into_result().unwrap(), 6);
    assert_eq!((pool.stats().started, pool.stats().died), (1, 0));
}
