//! Pi in 1,000 chunks on the ranks of an MPI program: how much faster is it with more of them?
//!
//! `cargo build --release --features mpi --example mpi_pi`
//! `mpirun -n 3 target/release/examples/mpi_pi [STEPS]`
//!
//! `STEPS` is how many steps a chunk has (default: 200,000). Several hosts:
//! `mpirun --host alpha:8,beta:8 -n 16 target/release/examples/mpi_pi 10000000`.

use std::f64::consts::PI;
use std::time::{Duration, Instant};

use concurrent::futures::{MapOptions, MpiPoolExecutor};

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
    // One call at a time with each rank, so that so many calls are so many ranks at work.
    let pool = MpiPoolExecutor::builder().credit(1).build()?;

    let steps = std::env::args().nth(1).map_or(200_000, |steps| steps.parse().expect("a number"));
    let chunks = (0..CHUNKS).map(|chunk| (chunk, steps));
    println!("{} worker ranks; {CHUNKS} chunks of {steps} steps", pool.workers());

    let alone = timed(|| Ok(chunks.clone().map(strip).sum()))?;
    println!("{:>12} {alone:>8.0?}", "rank 0 alone");
    for ranks in 1..=pool.workers() {
        let options = MapOptions::new().buffer_size(ranks).unordered(true);
        let took = timed(|| pool.map_with(options, strip, chunks.clone())?.sum())?;
        let times = alone.as_secs_f64() / took.as_secs_f64();
        let name = if ranks == 1 { "1 rank".into() } else { format!("{ranks} ranks") };
        println!("{name:>12} {took:>8.0?}, {times:.1} times as fast as one alone");
    }
    Ok(())
}
