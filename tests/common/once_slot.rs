//! A value that is set once and waited for.

use std::sync::{Arc, Condvar, Mutex, OnceLock};

/// Something that is filled once, and that calls wait for outside of any pool's knowledge.
pub(crate) struct OnceSlot<T>(Arc<(OnceLock<T>, Mutex<()>, Condvar)>);

impl<T> OnceSlot<T> {
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

impl<T> Clone for OnceSlot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
