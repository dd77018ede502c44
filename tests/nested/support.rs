//! What the tests share.

use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::Duration;

use concurrent::futures::{Future, ThreadPoolExecutor};

pub(crate) type Pool = Arc<ThreadPoolExecutor>;

pub(crate) fn pool(workers: usize) -> Pool {
    Arc::new(ThreadPoolExecutor::new(workers).unwrap())
}

/// Runs `body` in a thread of its own; a hang becomes a failure.
pub(crate) fn timely<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(body()));
    match receiver.recv_timeout(Duration::from_secs(100)) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

/// Something that is filled once, and that calls wait for outside of any pool's knowledge.
pub(crate) struct Place<T>(Arc<(OnceLock<T>, Mutex<()>, Condvar)>);

impl<T> Place<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new((OnceLock::new(), Mutex::new(()), Condvar::new())))
    }

    pub(crate) fn fill(&self, value: T) {
        let _guard = self.0.1.lock().unwrap();
        assert!(self.0.0.set(value).is_ok());
        self.0.2.notify_all();
    }

    pub(crate) fn get(&self) -> &T {
        let mut guard = self.0.1.lock().unwrap();
        loop {
            if let Some(value) = self.0.0.get() {
                return value;
            }
            guard = self.0.2.wait(guard).unwrap();
        }
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The futures of a set of calls, for those calls to wait for.
pub(crate) type Futures<T> = Place<Vec<Future<T>>>;
