//! The example of Python's documentation: which of these large numbers are prime?
//!
//! It runs on worker processes, and prints the time of one thread beside theirs.
//!
//! `cargo run --release --example primes`

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::time::Instant;

#[cfg(target_os = "linux")]
use concurrent::futures::{ProcessPoolExecutor, process};

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

#[cfg(target_os = "linux")]
fn main() -> concurrent::Result<()> {
    process::init();

    let start = Instant::now();
    let expected = PRIMES.map(is_prime);
    println!("one thread: {:.1?}", start.elapsed());

    let start = Instant::now();
    let pool = ProcessPoolExecutor::builder().build()?;
    for (number, (prime, expected)) in PRIMES.iter().zip(pool.map(is_prime, PRIMES).zip(expected)) {
        let prime = prime?;
        assert_eq!(prime, expected);
        println!("{number} is prime: {prime}");
    }
    println!("{} processes: {:.1?}", pool.max_workers(), start.elapsed());
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("worker processes need Linux");
}
