//! The process pool, tested with real processes: one folder for each theme.
//!
//! A program of its own, because workers are executions of the program that has the pool: its `main` begins
//! with `init`. Nothing sleeps: calls that must be caught in the middle wait at a gate. Each test ends within
//! a minute, or the watchdog ends it. Panics that tests want are not printed: see `common::expected_panics`.
#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod deaths;
#[cfg(target_os = "linux")]
mod exchange;
#[cfg(target_os = "linux")]
mod fault_injection;
#[cfg(target_os = "linux")]
mod pool;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
mod random;
#[cfg(target_os = "linux")]
mod support;
#[cfg(target_os = "linux")]
mod system;

#[cfg(target_os = "linux")]
fn main() {
    common::expected_panics::silence();
    fault_injection::before_init();
    programs::before_init::before_init();
    system::few_descriptors::before_init();
    concurrent::futures::process::init();
    fault_injection::after_init();
    programs::before_init::after_init();
    programs::whole_programs::act(); // some tests start this binary as a program of their own
    // A shell that starts this in its background has it ignored, and so would the workers.
    // SAFETY: as at the start of any program.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = [
        calls::awaited_by_threads::trials(),
        calls::crossing::trials(),
        calls::in_good_order::trials(),
        calls::inline_receive::trials(),
        calls::killed::trials(),
        calls::large_payloads::trials(),
        calls::panicking_drops::trials(),
        calls::requeued::trials(),
        calls::user_code::trials(),
        deaths::corrupted_channel::trials(),
        deaths::dead_parent::trials(),
        deaths::each_policy::trials(),
        deaths::each_step::trials(),
        deaths::lost_answers::trials(),
        deaths::reasons::trials(),
        deaths::reused_process_ids::trials(),
        deaths::stopped_workers::trials(),
        pool::executor_trait::trials(),
        pool::leaks::trials(),
        pool::settings::trials(),
        pool::shutdown::trials(),
        pool::startup_failures::trials(),
        programs::before_init::trials(),
        programs::every_circumstance::trials(),
        programs::loaded_libraries::trials(),
        programs::whole_programs::trials(),
        random::kills::trials(),
        random::pools::trials(),
        system::failing_calls::trials(),
        system::few_descriptors::trials(),
        system::forks::trials(),
        system::limits::trials(),
        system::resource_exhaustion::trials(),
        system::signals_and_streams::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
