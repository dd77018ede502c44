//! This crate beside its peers: the same work, interleaved round by round in one process.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [-- rounds]`: calls on threads
//! `... -- threads [options]`: the same with options, see `threads/mod.rs`
//! `... -- processes [rounds [part of a title]]`: calls in worker processes
//! `... -- sched [options]`: events, see `sched/mod.rs`
//! `... -- chart FILE.csv FILE.svg`: draws what was measured
//!
//! Times on a shared machine mean little; the ratios in the last column, taken within one round
//! each, mean more.

mod chart;
mod outside;
mod processes;
mod report;
mod sched;
mod threads;

#[cfg(all(feature = "mimalloc", not(feature = "allocations")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    concurrent::futures::process::init();
    procspawn::init();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("sched") => sched::run(&arguments[1..]),
        Some("chart") => chart::run(&arguments[1..]),
        Some("threads") => threads::run(&arguments[1..]),
        Some("processes") => {
            let rounds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(7);
            processes::run(rounds, arguments.get(2).cloned().unwrap_or_default());
        }
        Some(rounds) => threads::run(&["--rounds".into(), rounds.into()]),
        None => threads::run(&["--rounds".into(), "3".into()]),
    }
}
