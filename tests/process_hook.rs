//! Worker processes under the ordinary test harness, by one line.
//!
//! A program of its own, because that line makes every start of the program a possible worker.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use concurrent::futures::ProcessPoolExecutor;

concurrent::process_worker_hook!();

#[test]
fn a_pool_in_a_test() -> concurrent::Result<()> {
    let pool = ProcessPoolExecutor::new(2)?;
    let squares: concurrent::Result<Vec<u64>> = pool.map(|n: u64| n * n, 0..4).collect();
    assert_eq!(squares?, [0, 1, 4, 9]);
    Ok(())
}

/// Is set by a constructor that is linked in later.
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

/// A program with closed streams, which this test is as well.
const CLOSED: &str = "CONCURRENT_TEST_CLOSED_STREAMS";

#[test]
fn what_a_call_opens_is_no_standard_stream() -> concurrent::Result<()> {
    if std::env::var_os(CLOSED).is_none() {
        let mut own = Command::new("/proc/self/exe");
        own.args(["--exact", "what_a_call_opens_is_no_standard_stream"]);
        assert!(own.env(CLOSED, "").output().unwrap().status.success());
        return Ok(());
    }
    for stream in 0..3 {
        // SAFETY: a closed stream takes what is written to it.
        unsafe { libc::close(stream) };
    }
    let pool = ProcessPoolExecutor::new(1)?;
    let number = |()| File::open("/proc/self/exe").unwrap().as_raw_fd();
    assert!(pool.submit(number, ())?.into_result()? > 2);
    Ok(())
}
