//! Records a timeline of a small build on two workers, whose calls wait for calls.
//!
//! Open its file at <https://ui.perfetto.dev> or in `chrome://tracing`.
//!
//! `cargo run --release --features trace --example timeline [-- FILE]`

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use concurrent::futures::{ThreadPoolExecutor, as_completed};
use concurrent::{Result, trace};

/// Keeps a processor busy.
fn work(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn compile(file: u64) -> u64 {
    work(Duration::from_millis(2 + file));
    file
}

fn link(files: Vec<u64>) -> usize {
    work(Duration::from_millis(3));
    files.len()
}

fn document(page: u64) {
    work(Duration::from_millis(1 + page));
}

/// A call that waits for calls of its own pool, and runs in place those that no other worker can take.
fn build(pool: Arc<ThreadPoolExecutor>) -> Result<usize> {
    let objects = (1..=4).map(|file| pool.submit(compile, file)).collect::<Result<Vec<_>>>()?;
    let files = objects.into_iter().map(|object| object.into_result()).collect::<Result<_>>()?;
    pool.submit(link, files)?.into_result()
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).map(PathBuf::from);
    let file = file.unwrap_or_else(|| std::env::temp_dir().join("timeline.json"));

    trace::start();
    let pool = ThreadPoolExecutor::builder().max_workers(2).thread_name_prefix("worker").build()?;
    let pool = Arc::new(pool);
    let program = pool.submit(build, Arc::clone(&pool))?.flatten();
    let pages = (1..=3).map(|page| pool.submit(document, page)).collect::<Result<Vec<_>>>()?;
    for page in as_completed(pages) {
        page.result()?;
    }
    println!("linked {} files", program.into_result()?);
    let recorded = trace::stop();

    recorded.write_json(BufWriter::new(File::create(&file)?))?;
    println!("{recorded:?} in {}", file.display());
    Ok(())
}
