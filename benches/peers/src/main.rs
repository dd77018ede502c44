//! This crate beside its peers: the same work, interleaved round by round in one process.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [-- rounds]`: calls on threads
//! `... -- sched [options]`: events, see `sched/mod.rs`
//! `... -- chart FILE.csv FILE.svg`: draws what was measured
//!
//! Times on a shared machine mean little; the ratios in the last column, taken within one round
//! each, mean more.

mod calls;
mod chart;
mod memory;
mod report;
mod sched;
mod table;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("sched") => sched::run(&arguments[1..]),
        Some("chart") => chart::run(&arguments[1..]),
        rounds => {
            let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(7);
            memory::run(); // first, while the heap is fresh
            calls::run(rounds);
        }
    }
}
