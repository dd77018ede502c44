//! Two calls that wait for each other, in a pool of two workers.
//!
//! Python's documentation shows this program as one that never ends. Here the call that closes the
//! circle gets an error that names it, and both calls finish.
//!
//! `cargo run --release --example mutual_wait`

use std::sync::{Arc, OnceLock};

use concurrent::futures::{Future, ThreadPoolExecutor};
use concurrent::{Error, Result};

/// Each call finds the other's future here.
type Place = Arc<OnceLock<Future<u32>>>;

fn wait_on_b(b: Place) -> u32 {
    describe("a", b.wait_for().result())
}

fn wait_on_a(a: Place) -> u32 {
    describe("b", a.wait_for().result())
}

fn describe(name: &str, other: Result<&u32>) -> u32 {
    match other {
        Ok(value) => {
            println!("{name} got {value} from the other call");
            value + 1
        }
        Err(error @ Error::Deadlock(_)) => {
            println!("{name} got an error:\n    {error}");
            5
        }
        Err(error) => panic!("{error}"),
    }
}

/// Waits until the place is filled.
trait WaitFor<T> {
    fn wait_for(&self) -> &T;
}

impl<T> WaitFor<T> for OnceLock<T> {
    fn wait_for(&self) -> &T {
        loop {
            if let Some(value) = self.get() {
                return value;
            }
            std::thread::yield_now();
        }
    }
}

fn main() -> Result<()> {
    let pool = ThreadPoolExecutor::new(2)?;
    let (place_a, place_b) = (Place::default(), Place::default());
    let a = pool.submit(wait_on_b, Arc::clone(&place_b))?;
    let b = pool.submit(wait_on_a, Arc::clone(&place_a))?;
    place_a.set(a).expect("set once");
    place_b.set(b).expect("set once");
    pool.shutdown();
    println!("both calls have finished");
    Ok(())
}
