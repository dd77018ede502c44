//! What a thread does while it waits for calls, if it is one that other calls depend on.
//!
//! The thread of a pool of ranks receives its answers, and runs callbacks: one of them that waits for
//! a call of the pool would wait for itself. Every wait asks here before it sleeps.

#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "mpi"))]
pub(crate) use imp::{Attendant, dismiss, employ};
pub(crate) use imp::{attend, is_present};

#[cfg(all(target_os = "linux", not(concurrent_loom), feature = "mpi"))]
mod imp {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::Instant;

    pub(crate) trait Attendant {
        /// Does what there is to do until `done` or late; may return early if it cannot help.
        fn attend(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>);
    }

    thread_local! {
        static PRESENT: Cell<bool> = const { Cell::new(false) };
        static ATTENDANT: RefCell<Option<Rc<dyn Attendant>>> = const { RefCell::new(None) };
    }

    /// Whether this thread has one.
    pub(crate) fn is_present() -> bool {
        PRESENT.get()
    }

    /// Has this thread's attendant do its work, if there is one.
    pub(crate) fn attend(done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        let own = ATTENDANT.try_with(|own| own.borrow().clone()).ok().flatten();
        if let Some(own) = own {
            own.attend(done, deadline);
        }
    }

    /// From now on this thread waits in the company of `attendant`.
    pub(crate) fn employ(attendant: Rc<dyn Attendant>) {
        ATTENDANT.set(Some(attendant));
        PRESENT.set(true);
    }

    /// From now on it waits alone.
    pub(crate) fn dismiss() {
        PRESENT.set(false);
        ATTENDANT.set(None);
    }
}

/// Nobody has one.
#[cfg(not(all(target_os = "linux", not(concurrent_loom), feature = "mpi")))]
mod imp {
    use std::time::Instant;

    pub(crate) fn is_present() -> bool {
        false
    }

    pub(crate) fn attend(_done: &dyn Fn() -> bool, _deadline: Option<Instant>) {}
}
