//! Lets a thread that drives a pool keep driving it while user code on that thread waits.
//!
//! The thread of a pool of ranks receives its answers, and runs callbacks: one of them that waits
//! for a call of the pool would wait for itself. Every wait asks here before it sleeps.

#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "mpi"))]
pub(crate) use imp::{WaitAssist, install, remove};
pub(crate) use imp::{assist, is_present};

#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "mpi"))]
mod imp {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::Instant;

    pub(crate) trait WaitAssist {
        /// Drives the pool until `done` or `deadline`; may return early if the pool cannot help.
        fn assist(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>);
    }

    thread_local! {
        static PRESENT: Cell<bool> = const { Cell::new(false) };
        static ASSIST: RefCell<Option<Rc<dyn WaitAssist>>> = const { RefCell::new(None) };
    }

    /// Whether this thread has a [`WaitAssist`].
    pub(crate) fn is_present() -> bool {
        PRESENT.get()
    }

    /// Lets this thread's [`WaitAssist`] do its work, if there is one.
    pub(crate) fn assist(done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        let own = ASSIST.try_with(|own| own.borrow().clone()).ok().flatten();
        if let Some(own) = own {
            own.assist(done, deadline);
        }
    }

    /// Installs `assist` as this thread's.
    pub(crate) fn install(assist: Rc<dyn WaitAssist>) {
        ASSIST.set(Some(assist));
        PRESENT.set(true);
    }

    /// Removes this thread's.
    pub(crate) fn remove() {
        PRESENT.set(false);
        ASSIST.set(None);
    }
}

/// Without the feature `mpi` no thread has one.
#[cfg(not(all(target_os = "linux", not(concurrent_loom), feature = "mpi")))]
mod imp {
    use std::time::Instant;

    pub(crate) fn is_present() -> bool {
        false
    }

    pub(crate) fn assist(_done: &dyn Fn() -> bool, _deadline: Option<Instant>) {}
}
