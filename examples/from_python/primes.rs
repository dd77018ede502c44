//! The example of `ProcessPoolExecutor` in Python's documentation.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

#[cfg(target_os = "linux")]
use concurrent::futures::{ProcessPoolExecutor, process};

const PRIMES: [u64; 6] = [
    112272535095293,
    112582705942171,
    112272535095293,
    115280095190773,
    115797848077099,
    1099726899285419,
];

fn is_prime(n: u64) -> bool {
    if n < 2 {
        return false;
    }
    if n == 2 {
        return true;
    }
    if n % 2 == 0 {
        return false;
    }

    let sqrt_n = n.isqrt();
    for i in (3..=sqrt_n).step_by(2) {
        if n % i == 0 {
            return false;
        }
    }
    true
}

#[cfg(target_os = "linux")]
fn main() -> concurrent::Result<()> {
    process::init(); // if __name__ == "__main__":
    let executor = ProcessPoolExecutor::builder().build()?;
    for (number, prime) in PRIMES.iter().zip(executor.map(is_prime, PRIMES)) {
        let prime = if prime? { "True" } else { "False" };
        println!("{number} is prime: {prime}");
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("worker processes need Linux");
}
