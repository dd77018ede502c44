//! The process pool, tested with real processes.
//!
//! Modules by theme. Nothing sleeps: calls that must be caught in the middle wait at a [`Gate`].
//! Each test ends within a minute, or the watchdog ends the run.

#[cfg(target_os = "linux")]
use libtest_mimic::{Arguments, Trial};

#[cfg(target_os = "linux")]
mod attended;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod came_back;
#[cfg(target_os = "linux")]
#[path = "../common/contract.rs"]
mod contract;
#[cfg(target_os = "linux")]
mod crossing;
#[cfg(target_os = "linux")]
mod deaths;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod exchange;
#[cfg(target_os = "linux")]
mod executor;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod forks;
#[cfg(target_os = "linux")]
#[path = "../common/gate.rs"]
mod gate;
#[cfg(target_os = "linux")]
mod kills;
#[cfg(target_os = "linux")]
mod leaks;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod lost_answers;
#[cfg(target_os = "linux")]
mod mains;
#[cfg(target_os = "linux")]
mod matrix;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod mine;
#[cfg(target_os = "linux")]
mod nested;
#[cfg(target_os = "linux")]
mod orphans;
#[cfg(target_os = "linux")]
mod plugins;
#[cfg(target_os = "linux")]
#[path = "../common/proc.rs"]
mod proc;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
#[path = "../common/random.rs"]
mod random;
#[cfg(target_os = "linux")]
mod random_calls;
#[cfg(target_os = "linux")]
mod random_kills;
#[cfg(target_os = "linux")]
mod random_pools;
#[cfg(target_os = "linux")]
mod reasons;
#[cfg(target_os = "linux")]
mod refusals;
#[cfg(target_os = "linux")]
mod refused;
#[cfg(target_os = "linux")]
mod reuse;
#[cfg(target_os = "linux")]
mod rough;
#[cfg(target_os = "linux")]
mod scarce;
#[cfg(target_os = "linux")]
mod scribbles;
#[cfg(target_os = "linux")]
mod settings;
#[cfg(target_os = "linux")]
mod shutdown;
#[cfg(target_os = "linux")]
mod starts;
#[cfg(target_os = "linux")]
mod stopped;
#[cfg(target_os = "linux")]
mod support;
#[cfg(target_os = "linux")]
mod surroundings;
#[cfg(target_os = "linux")]
mod user_code;

#[cfg(target_os = "linux")]
fn main() {
    mine::before_init();
    mains::before_init();
    descriptors::before_init();
    concurrent::futures::process::init();
    mine::after_init();
    mains::after_init();
    programs::act(); // some tests start this binary as a program of their own
    // A shell that starts this in its background has it ignored, and so would the workers.
    // SAFETY: as at the start of any program.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let arguments = Arguments::from_args();
    let trials = [
        attended::trials(),
        calls::trials(),
        came_back::trials(),
        crossing::trials(),
        deaths::trials(),
        descriptors::trials(),
        executor::trials(),
        faults::trials(),
        forks::trials(),
        kills::trials(),
        leaks::trials(),
        limits::trials(),
        lost_answers::trials(),
        mains::trials(),
        matrix::trials(),
        memory::trials(),
        nested::trials(),
        orphans::trials(),
        plugins::trials(),
        programs::trials(),
        random_kills::trials(),
        random_pools::trials(),
        reasons::trials(),
        refused::trials(),
        reuse::trials(),
        rough::trials(),
        scarce::trials(),
        scribbles::trials(),
        settings::trials(),
        shutdown::trials(),
        starts::trials(),
        stopped::trials(),
        surroundings::trials(),
        user_code::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect::<Vec<Trial>>()).exit();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
