//! This crate beside its peers: the same work, interleaved round by round in one process.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [-- rounds]`
//!
//! Times on a shared machine mean little; the ratios in the last column, taken within one round
//! each, mean more.

mod calls;
mod memory;
mod table;

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(7);
    memory::run(); // first, while the heap is fresh
    calls::run(rounds);
}
