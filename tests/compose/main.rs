//! Composition of futures: chains, groups, deadlines, and scopes.
//!
//! No test sleeps to bring threads into a state, and none can hang: see [`within`].
#![cfg(not(concurrent_loom))]

mod chain;
mod deadline;
mod gather;
mod scope;
mod scope_ends;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Runs `test` in a thread of its own, and fails if it takes longer than any machine needs.
fn within<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let limit = Duration::from_secs(if cfg!(miri) { 600 } else { 60 });
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
