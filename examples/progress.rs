//! A progress bar over `as_completed`.
//!
//! `cargo run --release --example progress`

use std::time::Duration;

use concurrent::futures::{ThreadPoolExecutor, as_completed};
use indicatif::{ProgressBar, ProgressStyle};

fn download(megabytes: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(10 * megabytes)); // stands for the network
    megabytes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ThreadPoolExecutor::new(4)?;
    let calls = (0..60).map(|n| pool.submit(download, 1 + n * 7 % 11));
    let calls = calls.collect::<Result<Vec<_>, _>>()?;

    // The bar shows on a terminal only. For the count alone, `bar.wrap_iter(as_completed(calls))`
    // would do.
    let bar = ProgressBar::new(calls.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}  {eta} left")?);
    let mut megabytes = 0;
    for call in as_completed(calls) {
        megabytes += call.into_result()?;
        bar.set_message(format!("{megabytes} MB"));
        bar.inc(1);
    }
    bar.finish();
    println!("{megabytes} MB in 60 files");
    Ok(())
}
