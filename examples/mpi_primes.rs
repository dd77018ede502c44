//! The example of Python's documentation, on the ranks of an MPI program: which of these large numbers
//! are prime?
//!
//! `cargo build --release --features mpi --example mpi_primes`
//! `mpirun -n 3 target/release/examples/mpi_primes`

use std::time::Instant;

use concurrent::futures::MpiPoolExecutor;

const PRIMES: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

fn is_prime(n: u64) -> bool {
    if n < 2 || n % 2 == 0 {
        return n == 2;
    }
    (3..).step_by(2).take_while(|divisor| divisor * divisor <= n).all(|divisor| n % divisor != 0)
}

fn main() -> concurrent::Result<()> {
    // Returns on rank 0 only. The other ranks stay here, run calls, and end with the pool.
    let pool = MpiPoolExecutor::new()?;

    let start = Instant::now();
    let primes = pool.map(is_prime, PRIMES).collect::<concurrent::Result<Vec<bool>>>()?;
    println!("{} worker ranks: {:.1?}", pool.workers(), start.elapsed());

    let start = Instant::now();
    let expected = PRIMES.map(is_prime);
    println!("rank 0 alone: {:.1?}", start.elapsed());

    for (number, prime) in PRIMES.iter().zip(&primes) {
        println!("{number} is prime: {prime}");
    }
    assert_eq!(primes, expected);
    Ok(())
}
