//! The pool of ranks, tested with real ranks: each test starts this binary again under `mpirun`.
//!
//! `cargo test --features mpi --test mpi`. It needs an `mpirun` of the MPI that it was built with. With
//! the variable `CONCURRENT_MPI_ULFM` ranks are killed as well: for a build with an MPI whose programs
//! outlive that (Open MPI 5). With `CONCURRENT_MPI_LARGE` messages of more than 2 GiB are sent.
//!
//! All ranks are on this machine, and talk over memory or loopback.

#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
use libtest_mimic::{Arguments, Trial};

#[cfg(target_os = "linux")]
mod contracts;
#[cfg(target_os = "linux")]
mod crossing;
#[cfg(target_os = "linux")]
mod deaths;
#[cfg(target_os = "linux")]
mod life;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
mod support;
#[cfg(target_os = "linux")]
mod threads;

#[cfg(target_os = "linux")]
fn main() {
    let acts =
        [contracts::acts(), crossing::acts(), deaths::acts(), life::acts(), programs::acts()];
    support::act(acts.into_iter().flatten());
    let arguments = Arguments::from_args();
    let trials = [
        contracts::trials(),
        crossing::trials(),
        deaths::trials(),
        life::trials(),
        programs::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect::<Vec<Trial>>()).exit();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
