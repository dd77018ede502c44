//! The same function on threads, on processes and on MPI ranks, through the trait that all implement.
//!
//! `cargo run --release --example one_interface`
//! `cargo build --release --features mpi --example one_interface`
//! `mpirun -n 3 target/release/examples/one_interface`

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::time::Instant;

#[cfg(all(feature = "mpi", target_os = "linux"))]
use concurrent::futures::MpiPoolExecutor;
use concurrent::futures::{Executor, ThreadPoolExecutor};
#[cfg(target_os = "linux")]
use concurrent::futures::{ProcessPoolExecutor, process};

fn collatz_steps(start: u64) -> u32 {
    let next = |n: &u64| Some(if n % 2 == 0 { n / 2 } else { 3 * n + 1 });
    let steps = std::iter::successors(Some(start), next).take_while(|n| *n != 1).count();
    u32::try_from(steps).expect("no known number takes so long")
}

/// The number below `limit` with the most steps, on any executor.
fn longest<E: Executor>(executor: &E, limit: u64) -> concurrent::Result<(u64, u32)> {
    let search = |(first, last): (u64, u64)| {
        (first..last).map(|n| (n, collatz_steps(n))).max_by_key(|(_, steps)| *steps)
    };
    let ranges = (1..limit).step_by(10_000).map(|first| (first, limit.min(first + 10_000)));
    let mut best = (1, 0);
    for found in executor.map(search, ranges) {
        best = found?.into_iter().chain([best]).max_by_key(|(_, steps)| *steps).unwrap_or(best);
    }
    Ok(best)
}

#[cfg(target_os = "linux")]
fn main() -> concurrent::Result<()> {
    process::init();
    // This comes first, because the other ranks do not get any further.
    #[cfg(feature = "mpi")]
    let ranks = MpiPoolExecutor::builder().local_fallback(true).build()?;

    let start = Instant::now();
    let threads = longest(&ThreadPoolExecutor::new(2)?, 1_000_000)?;
    println!("threads:   {threads:?} in {:.0?}", start.elapsed());
    let start = Instant::now();
    let processes = longest(&ProcessPoolExecutor::new(2)?, 1_000_000)?;
    println!("processes: {processes:?} in {:.0?}", start.elapsed());
    assert_eq!(threads, processes);
    #[cfg(feature = "mpi")]
    {
        let start = Instant::now();
        let found = longest(&ranks, 1_000_000)?;
        println!("MPI ranks: {found:?} in {:.0?}", start.elapsed());
        assert_eq!(threads, found);
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("worker processes need Linux");
}
