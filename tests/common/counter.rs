//! Values whose drops are counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

/// Counts how many of the [`Counted`] that it handed out are alive and how many were dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicUsize,
    dropped: AtomicUsize,
    droppers: Mutex<Vec<ThreadId>>,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn one(&self) -> Counted {
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }

    pub(crate) fn made(&self) -> usize {
        self.0.made.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::SeqCst)
    }

    /// The thread of every drop, in order.
    pub(crate) fn droppers(&self) -> Vec<ThreadId> {
        self.0.droppers.lock().unwrap().clone()
    }
}

/// One thing whose drop is counted; a second drop of the same would show in the count.
#[derive(Debug)]
pub(crate) struct Counted(Counter);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.droppers.lock().unwrap().push(std::thread::current().id());
        self.0.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Its drop is counted and then panics.
pub(crate) struct PanicsOnDrop {
    _counted: Counted,
}

impl PanicsOnDrop {
    pub(crate) fn new(counted: Counted) -> Self {
        Self { _counted: counted }
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("this drop panics on purpose");
    }
}
