//! Stops on Ctrl-C: cancels the pending calls, asks the running ones to stop, and prints a summary.
//!
//! `cargo run --release --example graceful_stop`, then Ctrl-C; without it, the program ends after five seconds.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use concurrent::futures::{ShutdownOptions, ThreadPoolExecutor, is_cancel_requested};

const JOBS: u32 = 1_000;
/// How long one job takes if it is not stopped.
const JOB: Duration = Duration::from_millis(200);

/// Works in small steps, and checks between them whether it should stop.
fn job(number: u32) -> Option<u32> {
    let end = Instant::now() + JOB;
    while Instant::now() < end {
        if is_cancel_requested() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5)); // stands for a step of real work
    }
    Some(number)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (interrupt, interrupted) = mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = interrupt.send(());
    })?;

    let pool = ThreadPoolExecutor::new(4)?;
    let calls: Vec<_> = (0..JOBS).map(|n| pool.submit(job, n)).collect::<Result<_, _>>()?;
    println!("{JOBS} jobs on {} workers; press Ctrl-C", pool.max_workers());

    match interrupted.recv_timeout(Duration::from_secs(5)) {
        Ok(()) => println!("interrupted"),
        Err(RecvTimeoutError::Timeout) => println!("time is up"),
        Err(RecvTimeoutError::Disconnected) => unreachable!("the handler is never dropped"),
    }
    let begin = Instant::now();
    let options = ShutdownOptions::new()
        .cancel_futures(true)
        .request_cancel(true)
        .timeout(Duration::from_secs(1));
    let report = pool.shutdown_with(options);

    let done = || calls.iter().filter(|call| call.done());
    let finished = done().filter(|call| matches!(call.result(), Ok(Some(_)))).count();
    let stopped = done().filter(|call| matches!(call.result(), Ok(None))).count();
    println!(
        "{finished} jobs finished, {stopped} stopped half-way, {} cancelled",
        report.cancelled
    );
    println!("{} still running", report.running);
    println!("left after {:.0?}", begin.elapsed());
    Ok(())
}
