//! A call that waits for a call queued behind it, in a pool of one worker.
//!
//! Python's documentation shows this program as one that never ends. Here the worker that waits
//! runs the awaited call itself.
//!
//! `cargo run --release --example nested_wait`

use std::sync::Arc;

use concurrent::Result;
use concurrent::futures::ThreadPoolExecutor;

fn main() -> Result<()> {
    let pool = Arc::new(ThreadPoolExecutor::new(1)?);
    let wait_on_future = {
        let pool = Arc::clone(&pool);
        move || {
            let power = pool.submit(|(base, exponent)| u32::pow(base, exponent), (5, 2))?;
            power.into_result()
        }
    };
    let result = pool.spawn(wait_on_future)?.into_result()??;
    println!("5 to the power of 2, by a call inside of a call: {result}");
    Ok(())
}
