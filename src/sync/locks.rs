//! The locks of a model checker, or the standard library's, in the shape of parking_lot's.
//!
//! The standard library's are for Miri, which supports them, and rejects the types that parking_lot
//! passes to the system.

use std::ops::{Deref, DerefMut};

#[cfg(concurrent_loom)]
use super::checker::sync as shape;
#[cfg(not(concurrent_loom))]
use std::sync as shape;

const NO_POISON: &str = "nothing panics under a lock";
const TAKEN: &str = "the guard is only taken while it waits";

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shape::Mutex<T>);

/// The inner guard is an `Option` so that it can be given away for a wait and taken back.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T>(Option<shape::MutexGuard<'a, T>>, &'a Mutex<T>);

#[derive(Debug, Default)]
pub(crate) struct Condvar(shape::Condvar);

impl<T> Mutex<T> {
    #[cfg(concurrent_loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(shape::Mutex::new(value))
    }

    #[cfg(not(concurrent_loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self(shape::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect(NO_POISON)), self)
    }

    #[cfg(miri)]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(MutexGuard(Some(self.0.try_lock().ok()?), self))
    }
}

impl<T> MutexGuard<'_, T> {
    /// Calls `body` while the lock is free.
    #[cfg(concurrent_loom)]
    pub(crate) fn unlocked(&mut self, body: impl FnOnce()) {
        drop(self.0.take());
        body();
        *self = self.1.lock();
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().expect(TAKEN)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(TAKEN)
    }
}

impl Condvar {
    #[cfg(concurrent_loom)]
    pub(crate) fn new() -> Self {
        Self(shape::Condvar::new())
    }

    #[cfg(not(concurrent_loom))]
    pub(crate) const fn new() -> Self {
        Self(shape::Condvar::new())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().expect(TAKEN);
        guard.0 = Some(self.0.wait(inner).expect(NO_POISON));
    }

    #[cfg(miri)]
    pub(crate) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: std::time::Instant,
    ) {
        let inner = guard.0.take().expect(TAKEN);
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        guard.0 = Some(self.0.wait_timeout(inner, left).expect(NO_POISON).0);
    }
}
