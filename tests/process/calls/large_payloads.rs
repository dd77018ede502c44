//! Large payloads.

use std::os::unix::fs::MetadataExt;

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::{OnWorkerDeath, SharedBytes};

use crate::support::{children, eventually, in_own_process, replacing, trials};

trials![
    payloads_of_all_sizes_come_back,
    shared_bytes_are_handed_over,
    many_large_calls_at_once,
    large_calls_survive_deaths,
    many_shared_bytes_in_one_call,
    memory_of_large_payloads_is_given_back,
];

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

// Around the borders: inside of a frame, in shared memory, several sizes of segments.
fn payloads_of_all_sizes_come_back() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let sizes = [0, 1, 4000, 4063, 4064, 4065, 4096, 65_535, 65_536, 65_537, 1 << 20, 5 << 20, 10];
    for size in sizes {
        let sent = bytes(size);
        let echo = pool.submit(|v: Vec<u8>| v, sent.clone()).unwrap().into_result().unwrap();
        assert!(echo == sent, "{size}");
        let text = "x".repeat(size);
        let echo = pool.submit(|(n, t): (u8, String)| (n, t), (7, text.clone())).unwrap();
        assert!(echo.into_result().unwrap() == (7, text), "{size}");
        let numbers: Vec<f64> = (0..size / 8).map(|n| n as f64).collect();
        let echo = pool.submit(|v: Vec<f64>| v, numbers.clone()).unwrap().into_result().unwrap();
        assert!(echo == numbers, "{size}");
    }
}

fn shared_bytes_are_handed_over() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let shared = SharedBytes::copy_from(&bytes(64 << 20)).unwrap();
    let sum = |shared: SharedBytes| shared.iter().step_by(4096).map(|b| u64::from(*b)).sum();
    let expected: u64 = sum(shared.clone());
    assert_eq!(pool.submit(sum, shared.clone()).unwrap().into_result().unwrap(), expected);
    let made = pool.submit(|n| SharedBytes::new(n, |b| b.fill(3)).unwrap(), 1 << 20).unwrap();
    let made = made.into_result().unwrap();
    assert!(made.len() == 1 << 20 && made.iter().all(|byte| *byte == 3));
    // Bytes that came from one worker go to another, as part of a value.
    let both = pool
        .submit(
            |(a, b): (Option<SharedBytes>, Vec<SharedBytes>)| {
                a.unwrap().len() + b.iter().map(|bytes| bytes.len()).sum::<usize>()
            },
            (Some(made), vec![shared.clone(), shared]),
        )
        .unwrap();
    assert_eq!(both.into_result().unwrap(), (1 << 20) + (128 << 20));
    let empty = pool.submit(|b: SharedBytes| b, SharedBytes::new(0, |_| ()).unwrap()).unwrap();
    assert!(empty.into_result().unwrap().is_empty());
}

fn many_large_calls_at_once() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let calls: Vec<_> =
        (0..200usize).map(|n| pool.submit(|v: Vec<u8>| v, bytes(10_000 + n)).unwrap()).collect();
    let during = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(during < before + 150, "{before} {during}");
    for (n, call) in calls.into_iter().enumerate() {
        assert!(call.into_result().unwrap() == bytes(10_000 + n));
    }
    assert!(std::fs::metadata("/proc/self").unwrap().uid() < u32::MAX);
}

fn large_calls_survive_deaths() {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(1)
        .prefetch(8)
        .on_worker_death(OnWorkerDeath::FailCall)
        .build()
        .unwrap();
    let calls: Vec<_> = (0..20usize)
        .map(|n| {
            let echo = |v: Vec<u8>| if v.len() % 5 == 0 { std::process::abort() } else { v };
            pool.submit(echo, bytes(100_000 + n)).unwrap()
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        match call.into_result() {
            Ok(echo) => assert!(echo == bytes(100_000 + n)),
            Err(error) => assert!(n % 5 == 0 && error.worker_death().is_some(), "{n} {error}"),
        }
    }
}

fn many_shared_bytes_in_one_call() {
    let pool = replacing(1);
    let many: Vec<SharedBytes> =
        (0..100).map(|n| SharedBytes::copy_from(&bytes(n)).unwrap()).collect();
    let back = pool.submit(|v: Vec<SharedBytes>| v, many.clone()).unwrap();
    assert_eq!(back.into_result().unwrap(), many);
}

fn memory_of_large_payloads_is_given_back() {
    in_own_process(&["memory-kept"]);
}

/// The shared memory that a process and its workers have open or mapped.
fn shared_memory() -> u64 {
    let own = std::process::id();
    let mut files = std::collections::BTreeMap::new();
    for pid in children(own).into_iter().chain([own]) {
        for kind in ["fd", "map_files"] {
            let entries = std::fs::read_dir(format!("/proc/{pid}/{kind}")).into_iter().flatten();
            for path in entries.flatten().map(|entry| entry.path()) {
                let link = std::fs::read_link(&path).unwrap_or_default();
                if !link.to_string_lossy().contains("memfd:concurrent") {
                    continue;
                }
                let Ok(file) = std::fs::metadata(&path) else { continue };
                files.insert(file.ino(), file.blocks() * 512);
            }
        }
    }
    files.values().sum()
}

pub(crate) fn memory_kept() {
    const MIB: usize = 1 << 20;
    let pool = replacing(2);
    let echo = |text: String| text;
    let (huge, some) = ("x".repeat(80 * MIB), "y".repeat(3 * MIB));
    for _ in 0..3 {
        for text in [&some, &huge, &some, &huge] {
            let calls = [(); 2].map(|()| pool.submit(echo, text.clone()).unwrap());
            calls.into_iter().for_each(|call| assert!(call.into_result().unwrap() == *text));
        }
        // The huge ones are gone with their calls, or as soon as their worker has read on.
        eventually("the end of what is huge", || shared_memory() < (40 * MIB) as u64);
    }
    eventually("the end of what was kept", || shared_memory() < MIB as u64);
    let call = pool.submit(echo, some.clone()).unwrap();
    assert!(call.into_result().unwrap() == some, "and it goes on");
    assert_eq!(pool.stats().died, 0);
}
