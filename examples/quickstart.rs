//! The README's first program: calls on a pool of threads.
//!
//! `cargo run --release --example quickstart`

use concurrent::futures::{ThreadPoolExecutor, as_completed};

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

fn main() -> concurrent::Result<()> {
    let pool = ThreadPoolExecutor::new(4)?;

    // A function and its argument, or a closure. `result` waits.
    let prime = pool.submit(is_prime, 112_272_535_095_293)?;
    let text = String::from("the quick brown fox");
    let words = pool.spawn(move || text.split(' ').count())?;
    println!("prime: {}, words: {}", prime.result()?, words.result()?);

    // One function, many arguments; the results come in the order of the arguments.
    let squares = pool.map(|n| n * n, 1..=5).collect::<Result<Vec<u32>, _>>()?;
    println!("squares: {squares:?}");

    // The calls as they are done.
    let calls = [3, 40, 7].map(|n| pool.spawn(move || (n, is_prime(n))));
    for call in as_completed(calls.into_iter().collect::<Result<Vec<_>, _>>()?) {
        let (n, prime) = call.result()?;
        println!("{n} is prime: {prime}");
    }
    Ok(())
}
