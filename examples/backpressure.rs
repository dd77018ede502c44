//! A producer that is faster than its pool, kept in check by a bounded queue.
//!
//! `cargo run --release --example backpressure`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use concurrent::futures::ThreadPoolExecutor;

const RECORDS: u64 = 1_000_000;
const CAPACITY: usize = 1_000;

/// A record as it comes from a file or a socket; a million of them would be a gigabyte.
struct Record {
    number: u64,
    bytes: Vec<u8>,
}

impl Record {
    fn read(number: u64) -> Self {
        Self { number, bytes: vec![number as u8; 1024] }
    }
}

fn handle(record: &Record) -> u64 {
    record.bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>() / 1024 + record.number / 256 * 256
}

/// Megabytes of memory of this process, if the system tells.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096 / 1_000_000)
}

fn main() -> concurrent::Result<()> {
    let pool = ThreadPoolExecutor::builder().max_workers(2).queue_capacity(CAPACITY).build()?;
    let sum = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    println!("{RECORDS} records of 1 kB, at most {CAPACITY} of them waiting");
    for number in 0..RECORDS {
        let record = Record::read(number);
        let sum = Arc::clone(&sum);
        // Blocks while the queue is full, so that the producer is no faster than the workers.
        drop(pool.spawn(move || sum.fetch_add(handle(&record), Ordering::Relaxed))?);
        if number % (RECORDS / 5) == 0 {
            let memory = resident().map_or("?".into(), |megabytes| megabytes.to_string());
            println!("{number:>7} submitted, memory {memory:>3} MB");
        }
    }
    pool.shutdown();
    let memory = resident().map_or("?".into(), |megabytes| megabytes.to_string());
    println!("{RECORDS} done in {:.1?}, memory {memory} MB", begin.elapsed());
    assert_eq!(sum.load(Ordering::Relaxed), RECORDS * (RECORDS - 1) / 2);
    Ok(())
}
