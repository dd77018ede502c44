//! The only source of locks, atomics and threads.
//!
//! A normal build gets parking_lot and the standard library. With `--cfg concurrent_loom` the same
//! source runs on loom, which tries every interleaving (`tests/model/`); with `--cfg
//! concurrent_shuttle` besides it runs on shuttle, which tries random ones and can afford larger
//! models. Nothing else in the crate names any of them. Miri gets the standard library's locks.
//!
//! Loom does not model time: there a timed wait gives up at once (if its deadline has passed when it
//! begins) or waits like an untimed one, and the loops around it must be right in both cases.

pub(crate) mod backoff;
#[cfg(any(concurrent_loom, miri))]
mod locks;
#[cfg(test)]
pub(crate) mod outcomes;

#[cfg(all(concurrent_loom, not(concurrent_shuttle)))]
pub(crate) use loom as checker;
#[cfg(concurrent_shuttle)]
pub(crate) use shuttle as checker;

pub(crate) use imp::{AtomicBool, AtomicU8, Condvar, JoinHandle, Mutex, MutexGuard, Ordering};
pub(crate) use imp::{
    ThreadId, UnsafeCell, current_thread, exclusive_load, is_finished, spawn, wait_until,
};

#[cfg(all(test, concurrent_loom))]
pub(crate) use checker::thread::yield_now;
#[cfg(all(test, not(concurrent_loom)))]
pub(crate) use std::thread::yield_now;

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// Returns a number that is unique in this process. No protocol relies on it, so model checkers
/// need not see it.
pub(crate) fn unique_id() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A number that one thread writes and others read. No protocol relies on it, so model checkers
/// need not see it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    /// To be called by one thread only.
    pub(crate) fn set(&self, value: usize) {
        // ORDERING: Release and Acquire, so that of two counters, read in the order in which they
        // are written, the second is never behind the first.
        self.0.store(value, std::sync::atomic::Ordering::Release);
    }

    /// As [`set`](Self::set).
    pub(crate) fn increment(&self) {
        self.set(self.0.load(std::sync::atomic::Ordering::Relaxed) + 1); // ORDERING: its own value
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::Acquire) // ORDERING: see `set`
    }
}

/// A length of time that any thread may write and read. Only speed depends on it, so model checkers
/// need not see it.
#[derive(Debug)]
pub(crate) struct Guess(AtomicUsize);

impl Guess {
    pub(crate) const fn of_micros(micros: usize) -> Self {
        Self(AtomicUsize::new(micros * 1_000))
    }

    pub(crate) fn get(&self) -> Duration {
        // ORDERING: Relaxed; it publishes nothing.
        Duration::from_nanos(self.0.load(std::sync::atomic::Ordering::Relaxed) as u64)
    }

    pub(crate) fn set(&self, length: Duration) {
        let nanos = usize::try_from(length.as_nanos()).unwrap_or(usize::MAX);
        self.0.store(nanos, std::sync::atomic::Ordering::Relaxed); // ORDERING: as in `get`
    }
}

/// The instant `timeout` from now; `None`, that is never, if the clock cannot express it.
pub(crate) fn deadline_after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Declares a thread-local that needs no initialization at run time.
#[cfg(not(concurrent_loom))]
macro_rules! thread_local_static {
    ($(#[$attr:meta])* $name:ident: $t:ty = $init:expr) => {
        std::thread_local! { $(#[$attr])* static $name: $t = const { $init }; }
    };
}

/// Loom runs all its threads on one real thread, so it has thread-locals of its own.
#[cfg(concurrent_loom)]
macro_rules! thread_local_static {
    ($(#[$attr:meta])* $name:ident: $t:ty = $init:expr) => {
        $crate::sync::checker::thread_local! { $(#[$attr])* static $name: $t = $init; }
    };
}
pub(crate) use thread_local_static;

/// Declares a lock that the whole process shares.
#[cfg(not(concurrent_loom))]
macro_rules! global_mutex {
    ($name:ident: $t:ty = $init:expr) => {
        static $name: std::sync::LazyLock<$crate::sync::Mutex<$t>> =
            std::sync::LazyLock::new(|| $crate::sync::Mutex::new($init));
    };
}

#[cfg(concurrent_loom)]
macro_rules! global_mutex {
    ($name:ident: $t:ty = $init:expr) => {
        $crate::sync::checker::lazy_static! { static ref $name: $crate::sync::Mutex<$t> = $crate::sync::Mutex::new($init); }
    };
}
pub(crate) use global_mutex;

#[cfg(not(concurrent_loom))]
mod imp {
    #[cfg(miri)]
    pub(crate) use super::locks::{Condvar, Mutex, MutexGuard};
    #[cfg(not(miri))]
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
    pub(crate) use std::thread::{JoinHandle, ThreadId};

    use std::time::Instant;

    pub(crate) fn current_thread() -> ThreadId {
        std::thread::current().id()
    }

    /// `std::cell::UnsafeCell` in the shape of loom's: access is a closure over the pointer.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }

        pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
            access(self.0.get())
        }

        pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            access(self.0.get())
        }
    }

    /// Reads an atomic that no other thread can reach any more.
    pub(crate) fn exclusive_load(atomic: &mut AtomicU8) -> u8 {
        *atomic.get_mut()
    }

    /// Waits for a notification until `deadline`, or without a limit. May return early.
    pub(crate) fn wait_until<T>(
        condvar: &Condvar,
        guard: &mut MutexGuard<'_, T>,
        deadline: Option<Instant>,
    ) {
        match deadline {
            Some(deadline) => drop(condvar.wait_until(guard, deadline)),
            None => condvar.wait(guard),
        }
    }

    /// Whether the thread has ended, so that joining it does not block for long. May be false
    /// although it has.
    pub(crate) fn is_finished(thread: &JoinHandle<()>) -> bool {
        thread.is_finished()
    }

    pub(crate) fn spawn(
        name: String,
        stack_size: Option<usize>,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let mut builder = std::thread::Builder::new().name(name);
        if let Some(bytes) = stack_size {
            builder = builder.stack_size(bytes);
        }
        builder.spawn(body)
    }
}

#[cfg(concurrent_loom)]
mod imp {
    use super::checker;
    pub(crate) use super::checker::sync::atomic::{AtomicBool, AtomicU8, Ordering};
    pub(crate) use super::checker::thread::{JoinHandle, ThreadId};

    pub(crate) use super::locks::{Condvar, Mutex, MutexGuard};

    use std::time::Instant;

    #[cfg(not(concurrent_shuttle))]
    type Token = loom::cell::UnsafeCell<()>;

    /// Shuttle does not check memory accesses.
    #[cfg(concurrent_shuttle)]
    #[derive(Debug)]
    struct Token(());

    #[cfg(concurrent_shuttle)]
    impl Token {
        fn new(nothing: ()) -> Self {
            Self(nothing)
        }

        fn with<R>(&self, access: impl FnOnce(*const ()) -> R) -> R {
            access(&raw const self.0)
        }

        fn with_mut<R>(&self, access: impl FnOnce(*const ()) -> R) -> R {
            access(&raw const self.0)
        }
    }

    /// Loom checks the accesses of `token` in place of those of `value`, except for exclusive ones:
    /// these are ordered by the counts of the owners (`futures/call/pair_arc.rs`), which loom sees
    /// in their own model only.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T> {
        token: Token,
        value: std::cell::UnsafeCell<T>,
    }

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            let token = Token::new(());
            Self { token, value: std::cell::UnsafeCell::new(value) }
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.value.get_mut()
        }

        pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
            self.token.with(|_| access(self.value.get()))
        }

        pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            self.token.with_mut(|_| access(self.value.get()))
        }
    }

    /// An RMW, which reads the latest value, for the same reason.
    pub(crate) fn exclusive_load(atomic: &mut AtomicU8) -> u8 {
        atomic.fetch_or(0, Ordering::AcqRel)
    }

    /// Loom's threads share one real thread: nothing of the standard library tells them apart.
    pub(crate) fn current_thread() -> ThreadId {
        checker::thread::current().id()
    }

    pub(crate) fn wait_until<T>(
        condvar: &Condvar,
        guard: &mut MutexGuard<'_, T>,
        deadline: Option<Instant>,
    ) {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            guard.unlocked(checker::thread::yield_now);
        } else {
            condvar.wait(guard);
        }
    }

    /// Loom cannot tell.
    pub(crate) fn is_finished(_thread: &JoinHandle<()>) -> bool {
        false
    }

    pub(crate) fn spawn(
        name: String,
        _stack_size: Option<usize>,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        checker::thread::Builder::new().name(name).spawn(body)
    }
}
