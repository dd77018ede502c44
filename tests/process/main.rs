//! The process pool, tested with real processes.
//!
//! Modules by theme. Nothing sleeps: calls that must be caught in the middle wait at a [`Gate`].
//! Each test ends within a minute, or the watchdog ends the run.

use libtest_mimic::{Arguments, Trial};

mod calls;
mod deaths;
mod leaks;
mod limits;
mod memory;
mod programs;
mod shutdown;
mod support;

fn main() {
    concurrent::futures::process::init();
    programs::act(); // some tests start this binary as a program of their own
    let arguments = Arguments::from_args();
    let trials = [
        calls::trials(),
        deaths::trials(),
        leaks::trials(),
        limits::trials(),
        memory::trials(),
        programs::trials(),
        shutdown::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect::<Vec<Trial>>()).exit();
}
