//! Memory of calls that wait behind a blocked worker.

use std::sync::mpsc;

use concurrent::futures::ThreadPoolExecutor;

const CALLS: usize = 1_000_000;

/// Bytes of memory this process holds.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}

pub fn run() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (release, gate) = mpsc::channel::<()>();
    let blocker = pool.spawn(move || gate.recv().is_err()).unwrap();
    let mut futures = Vec::with_capacity(CALLS);
    let before = resident();
    futures.extend((0..CALLS).map(|_| pool.spawn(|| ()).unwrap()));
    let after = resident();
    let bytes = (after - before) as f64 / CALLS as f64;
    println!("\nmemory of a pending empty call, handle included: {bytes:.1} bytes");
    drop(release);
    assert!(blocker.into_result().unwrap());
}
