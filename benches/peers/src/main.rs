//! This crate beside its peers: the same work, interleaved round by round in one process.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [-- rounds]`: calls on threads
//! `... -- threads [options]`: the same with options, see `threads/mod.rs`
//! `... -- processes [options]`: calls in worker processes, see `processes/mod.rs`
//! `... -- sched [options]`: events, see `sched/mod.rs`
//! `... -- mpi [options]`: calls on MPI ranks, see `mpi/mod.rs`; with `--features mpi` before it
//!
//! Times on a shared machine mean little. The ratios in the last column mean more: each was taken within
//! one round. `docs/speed.py` draws the figures that `--csv` writes.

#[cfg(feature = "mpi")]
mod mpi;
mod options;
mod outside;
mod processes;
mod random;
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
        Some("threads") => threads::run(&arguments[1..]),
        Some("processes") => processes::run(&arguments[1..]),
        #[cfg(feature = "mpi")]
        Some("mpi") => mpi::run(&arguments[1..]),
        Some(rounds) => threads::run(&["--rounds".into(), rounds.into()]),
        None => threads::run(&["--rounds".into(), "3".into()]),
    }
}
