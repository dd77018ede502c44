//! Worker processes under the ordinary test harness, by one line.

#![cfg(target_os = "linux")]

use concurrent::futures::ProcessPoolExecutor;

concurrent::process_worker_hook!();

#[test]
fn a_pool_in_a_test() -> concurrent::Result<()> {
    let pool = ProcessPoolExecutor::new(2)?;
    let squares: concurrent::Result<Vec<u64>> = pool.map(|n: u64| n * n, 0..4).collect();
    assert_eq!(squares?, [0, 1, 4, 9]);
    Ok(())
}

/// What a constructor that is linked in later has set.
static LATER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

extern "C" fn later() {
    LATER.store(77, std::sync::atomic::Ordering::Relaxed);
}

// SAFETY: the section holds pointers to functions that are called before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = later;

#[test]
fn other_constructors_have_run_in_workers() -> concurrent::Result<()> {
    let pool = ProcessPoolExecutor::new(1)?;
    let look = |()| LATER.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(pool.submit(look, ())?.into_result()?, 77);
    Ok(())
}

#[test]
fn the_worker_is_this_program_and_not_this_process() -> concurrent::Result<()> {
    let pool = ProcessPoolExecutor::new(1)?;
    let program = |()| std::fs::read_link("/proc/self/exe").ok();
    assert_eq!(pool.submit(program, ())?.into_result()?, program(()));
    assert_ne!(pool.submit(|()| std::process::id(), ())?.into_result()?, std::process::id());
    Ok(())
}
