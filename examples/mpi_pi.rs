//! Computes pi in 1,000 chunks on the ranks of an MPI program: how much faster is it with more ranks?
//!
//! `cargo build --release --features mpi --example mpi_pi`
//! `mpirun --bind-to none -n 3 target/release/examples/mpi_pi [STEPS]`
//!
//! `STEPS` is the number of steps of a chunk (default: 1,000,000). On several hosts:
//! `mpirun --host alpha:8,beta:8 -n 16 target/release/examples/mpi_pi 10000000`.

use std::f64::consts::PI;
use std::time::{Duration, Instant};

use concurrent::futures::mpi::mpi::traits::{Communicator, Group};
use concurrent::futures::mpi::mpi::{self, Threading};
use concurrent::futures::mpi::{MpiPoolExecutor, Role};

const CHUNKS: u64 = 1_000;

/// The area below `4 / (1 + x * x)` in one of the strips between 0 and 1.
fn strip((chunk, steps): (u64, u64)) -> f64 {
    let width = 1.0 / (CHUNKS * steps) as f64;
    let first = chunk * steps;
    let height = |x: f64| 4.0 / (1.0 + x * x);
    (first..first + steps).map(|step| height((step as f64 + 0.5) * width) * width).sum()
}

fn timed(pi: impl FnOnce() -> concurrent::Result<f64>) -> concurrent::Result<Duration> {
    let start = Instant::now();
    let pi = pi()?;
    let took = start.elapsed();
    assert!((pi - PI).abs() < 1e-9, "that is not pi: {pi}");
    Ok(took)
}

fn main() -> concurrent::Result<()> {
    let steps = std::env::args().nth(1).map_or(1_000_000, |steps| steps.parse().expect("a number"));
    let chunks = (0..CHUNKS).map(|chunk| (chunk, steps));

    // This needs MPI code, since each round has fewer ranks than the one before. The ranks that leave
    // first wait for the others at the end of `main`. With Open MPI 5 they poll meanwhile, which slows
    // the others down if ranks share processors.
    let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).expect("MPI starts");
    let world = universe.world();
    let mut turns = Vec::new();
    for workers in (1..world.size()).rev().take_while(|workers| *workers >= world.rank()) {
        let group = world.group().include(&(0..=workers).collect::<Vec<_>>());
        let these = world.split_by_subgroup(&group).expect("this rank is one of them");
        if let Role::Root(pool) = MpiPoolExecutor::enter(&these)? {
            println!("pi in {CHUNKS} chunks on {workers} worker rank(s) ...");
            turns.push((workers, timed(|| pool.map(strip, chunks.clone()).sum())?));
        }
    }

    if world.rank() == 0 {
        let alone = timed(|| Ok(chunks.map(strip).sum()))?;
        println!("{:>15}: {alone:.2?}", "one alone");
        for (workers, took) in turns.iter().rev() {
            let times = alone.as_secs_f64() / took.as_secs_f64();
            println!(
                "{workers:>2} worker ranks: {took:.1?}, {times:.2} times as fast as one alone"
            );
        }
    }
    Ok(())
}
