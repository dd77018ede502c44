//! How tests bring threads into a state, without sleeps.

use std::sync::{Arc, Condvar, Mutex};

/// A door that is shut until it is opened for good.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |open| !*open).unwrap());
    }
}

/// Yields until `ready`, for states that another thread reaches without a word; the watchdog ends it
/// if that never comes.
pub(crate) fn until(ready: impl Fn() -> bool) {
    while !ready() {
        std::thread::yield_now();
    }
}
