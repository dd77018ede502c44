//! What the tests share.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use concurrent::futures::{Future, ThreadPoolExecutor};

pub(crate) use crate::place::Place;

pub(crate) type Pool = Arc<ThreadPoolExecutor>;

pub(crate) fn pool(workers: usize) -> Pool {
    Arc::new(ThreadPoolExecutor::new(workers).unwrap())
}

/// Runs `body` in a thread of its own; a hang becomes a failure.
pub(crate) fn timely<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(body()));
    let limit = Duration::from_secs(if cfg!(any(miri, concurrent_tsan)) { 600 } else { 100 });
    match receiver.recv_timeout(limit) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

/// The futures of a set of calls, for those calls to wait for.
pub(crate) type Futures<T> = Place<Vec<Future<T>>>;
