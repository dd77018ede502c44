//! This crate beside its peers: the same work, interleaved round by round in one process.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [-- rounds]`, and with the argument
//! `processes` in front of the rounds for the process pool (and behind them a part of a title, for that
//! figure alone).
//!
//! Times on a shared machine mean little; the ratios in the last column, taken within one round
//! each, mean more.

mod calls;
mod memory;
mod processes;
mod table;

fn main() {
    concurrent::futures::process::init();
    procspawn::init();
    if std::env::args().nth(1).as_deref() == Some("processes") {
        let rounds = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(7);
        return processes::run(rounds, std::env::args().nth(3).unwrap_or_default());
    }
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(7);
    memory::run(); // first, while the heap is fresh
    calls::run(rounds);
}
