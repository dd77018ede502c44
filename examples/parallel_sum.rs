//! Sums and sorts a borrowed slice of numbers in parallel, and compares that with one thread.
//!
//! `cargo run --release --example parallel_sum`

use std::time::{Duration, Instant};

use concurrent::Result;
use concurrent::futures::ThreadPoolExecutor;

const NUMBERS: usize = 2_000_000;

fn digits(numbers: &[u64]) -> u64 {
    let digits = |n: &u64| std::iter::successors(Some(*n), |n| (*n > 9).then_some(n / 10));
    numbers.iter().flat_map(digits).map(|n| n % 10).sum()
}

fn sum(pool: &ThreadPoolExecutor, numbers: &[u64]) -> Result<u64> {
    let part = numbers.len().div_ceil(pool.max_workers()).max(1);
    pool.scope(|s| {
        // Each call borrows its part of the slice; nothing is copied.
        let parts = numbers.chunks(part).map(|part| s.spawn(|| digits(part)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        parts.into_iter().map(|part| part.into_result()).sum()
    })
}

/// Sorts the halves in parallel, each in the same way, and merges them.
fn sort(pool: &ThreadPoolExecutor, numbers: &mut [u64], calls: usize) -> Result<()> {
    if calls < 2 {
        numbers.sort_unstable();
        return Ok(());
    }
    let (low, high) = numbers.split_at_mut(numbers.len() / 2);
    pool.scope(|s| {
        // A scope in a call in a scope: on a full pool the waiting worker runs the awaited calls.
        let low = s.spawn(|| sort(pool, low, calls / 2))?;
        sort(pool, high, calls - calls / 2)?;
        low.into_result()?
    })?;
    numbers.sort(); // a merge: the stable sort finds the two sorted runs
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let done = work();
    let elapsed = begin.elapsed();
    println!("{what:<24} {:>8.1} ms", elapsed.as_secs_f64() * 1e3);
    (done, elapsed)
}

fn main() -> Result<()> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let pool = ThreadPoolExecutor::new(workers)?;
    println!("{NUMBERS} numbers, {workers} workers");

    // Random numbers, the same in each run.
    let noise = |x: &mut u64| {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *x >> 33
    };
    let mut seed = 1;
    let numbers: Vec<u64> = (0..NUMBERS).map(|_| noise(&mut seed)).collect();

    let (alone, _) = timed("sum, alone", || digits(&numbers));
    let (together, _) = timed("sum, in a scope", || sum(&pool, &numbers));
    assert_eq!(together?, alone);

    let (mut expected, mut sorted) = (numbers.clone(), numbers);
    let ((), alone) = timed("sort, alone", || expected.sort_unstable());
    let (done, together) = timed("sort, in scopes", || sort(&pool, &mut sorted, workers));
    done?;
    assert_eq!(sorted, expected);
    println!("equal; sorting took {:.2} of the time", together.as_secs_f64() / alone.as_secs_f64());
    Ok(())
}
