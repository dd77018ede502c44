//! Composition of futures: chains, groups, deadlines, and scopes.
//!
//! No test sleeps to bring threads into a state, and none can hang: see [`within`].
#![cfg(not(concurrent_loom))]

mod chain;
mod circles;
mod closed;
mod deadline;
mod gather;
mod in_workers;
#[path = "../common/place.rs"]
mod place;
mod random;
mod requests;
mod scope;
mod scope_circles;
mod scope_ends;
mod scope_in_workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use concurrent::futures::ThreadPoolExecutor;

use place::Place;

type Pool = Arc<ThreadPoolExecutor>;

fn pool(workers: usize) -> Pool {
    Arc::new(ThreadPoolExecutor::new(workers).unwrap())
}

/// Runs `body` as a call of a pool of one worker.
fn in_only_worker<R: Send + 'static>(body: impl FnOnce(&Pool) -> R + Send + 'static) -> R {
    within(|| {
        let pool = pool(1);
        let inner = Arc::clone(&pool);
        pool.spawn(move || body(&inner)).unwrap().into_result().unwrap()
    })
}

/// Runs `test` in a thread of its own, and fails if it takes longer than any machine needs.
fn within<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let limit = Duration::from_secs(if cfg!(any(miri, concurrent_tsan)) { 600 } else { 60 });
    let (sender, receiver) = channel();
    let runner = thread::spawn(move || {
        let returned = test();
        let _ = sender.send(());
        returned
    });
    if receiver.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    match runner.join() {
        Ok(returned) => returned,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The text of a panic.
fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_string(),
    }
}

/// Counts how often it is dropped.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    /// A value whose drop is counted.
    fn token(&self) -> Token {
        Token(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Token(Arc<AtomicUsize>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
