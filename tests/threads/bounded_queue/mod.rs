//! Bounded queues: what a submitter meets when the queue is full.

mod blocking;
mod circles;
mod deadlines;
mod own_worker;
mod policies;
mod refused_calls;

use std::sync::{Arc, mpsc};
use std::thread;

use concurrent::futures::ThreadPoolExecutor;

/// Starts a thread that submits a call, and returns when it is blocked or about to be.
pub(super) fn submitter(
    pool: &Arc<ThreadPoolExecutor>,
    call: impl FnOnce() -> usize + Send + 'static,
) -> thread::JoinHandle<concurrent::Result<usize>> {
    let pool = Arc::clone(pool);
    let (begin, begun) = mpsc::channel();
    let thread = thread::spawn(move || {
        begin.send(()).unwrap();
        pool.spawn(call)?.into_result()
    });
    begun.recv().unwrap();
    thread
}
