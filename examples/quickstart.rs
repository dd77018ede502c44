//! The README's first program: calls on a pool of threads, and events in time.
//!
//! `cargo run --release --example quickstart`

use std::thread::sleep;
use std::time::Duration;

use concurrent::futures::{ThreadPoolExecutor, as_completed};
use concurrent::sched::Scheduler;

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

fn nap(ms: u64) -> u64 {
    sleep(Duration::from_millis(ms));
    ms
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

    // The results as they are ready.
    let naps = [30, 10, 20].into_iter().map(|ms| pool.submit(nap, ms));
    for future in as_completed(naps.collect::<Result<Vec<_>, _>>()?) {
        println!("slept {} ms", future.result()?);
    }

    // Events: a delay, a priority, an action. `run` waits for each and runs it.
    let s = Scheduler::new();
    s.enter(Duration::from_millis(20), 1, || println!("world"));
    s.enter(Duration::from_millis(10), 1, || println!("hello"));
    s.run()
}
