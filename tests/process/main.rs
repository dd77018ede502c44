//! The process pool, tested with real processes.
//!
//! Modules by theme. Nothing sleeps: calls that must be caught in the middle wait at a [`Gate`].
//! Each test ends within a minute, or the watchdog ends the run.

use libtest_mimic::{Arguments, Trial};

mod calls;
mod crossing;
mod deaths;
mod kills;
mod leaks;
mod limits;
mod memory;
mod nested;
mod programs;
mod settings;
mod shutdown;
mod starts;
mod support;

fn main() {
    concurrent::futures::process::init();
    programs::act(); // some tests start this binary as a program of their own
    let arguments = Arguments::from_args();
    let trials = [
        calls::trials(),
        crossing::trials(),
        deaths::trials(),
        kills::trials(),
        leaks::trials(),
        limits::trials(),
        memory::trials(),
        nested::trials(),
        programs::trials(),
        settings::trials(),
        shutdown::trials(),
        starts::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect::<Vec<Trial>>()).exit();
}
