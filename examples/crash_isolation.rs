//! Calls that crash, abort and loop for ever, next to good ones: a table of outcomes.
//!
//! `cargo run --release --example crash_isolation`

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::time::Duration;

#[cfg(target_os = "linux")]
use concurrent::futures::{ProcessPoolExecutor, process};

fn work(kind: String) -> String {
    match kind.as_str() {
        "segfault" => {
            // SAFETY: none; this is the crash that the example is about.
            let byte = unsafe { std::ptr::without_provenance::<u8>(64).read_volatile() };
            format!("read {byte}")
        }
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "panic" => panic!("this is only a panic"),
        "loop" => loop {
            std::hint::spin_loop();
        },
        name => format!("hello from {name}"),
    }
}

#[cfg(target_os = "linux")]
fn main() -> concurrent::Result<()> {
    process::init();
    let pool = ProcessPoolExecutor::builder()
        .max_workers(2)
        .on_worker_death(process::OnWorkerDeath::FailCall)
        .call_deadline(Duration::from_secs(1))
        .build()?;

    let kinds =
        ["alice", "segfault", "bob", "abort", "carol", "loop", "dave", "exit", "panic", "erin"];
    for (kind, outcome) in kinds.iter().zip(pool.map(work, kinds.map(String::from))) {
        match outcome {
            Ok(text) => println!("{kind:>9}  ok      {text}"),
            Err(error) => println!("{kind:>9}  failed  {error}"),
        }
    }
    let stats = pool.stats();
    println!("\n{} workers started, {} died, {} killed", stats.started, stats.died, stats.killed);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("worker processes need Linux");
}
