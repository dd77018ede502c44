//! The stack for calls that run within calls.
//!
//! With the feature `deep-stacks` such calls get a further piece of stack whenever the one at hand is nearly used
//! up. Without it they have the stack of their worker, whose size is known because the pool chose it: a call that
//! would not fit stays in the queue.

pub(crate) use imp::{note_worker_stack, on_enough_stack, worker_stack};

#[cfg(all(feature = "deep-stacks", not(any(miri, concurrent_loom, concurrent_tsan))))]
mod imp {
    pub(crate) use super::unknown::{note_worker_stack, worker_stack};
    use crate::user_code::catch;

    /// Runs `body`, which does not unwind; on a fresh piece of stack if this one is nearly used up, so
    /// that calls can nest without a limit. `None`, without running it, if the system has no more
    /// memory for stacks.
    pub(crate) fn on_enough_stack<R>(body: impl FnOnce() -> R) -> Option<R> {
        const RED_ZONE: usize = 128 * 1024;
        const PIECE: usize = 2 * 1024 * 1024;
        if stacker::remaining_stack().is_some_and(|left| left >= RED_ZONE) {
            return Some(body());
        }
        // `grow` panics, before it calls anything, if the system refuses the memory.
        catch(|| stacker::grow(PIECE, body)).ok()
    }
}

#[cfg(not(any(feature = "deep-stacks", miri, concurrent_loom, concurrent_tsan)))]
mod imp {
    use std::cell::Cell;
    use std::sync::OnceLock;

    /// A call begins only if it has as much stack as this for itself, or half of a small stack.
    const RED_ZONE: usize = 256 * 1024;

    /// Calls in a thread that is no worker nest within this much stack; nobody knows how much it has.
    const ELSEWHERE: usize = 64 * 1024;

    thread_local! {
        /// Calls within calls begin above this address only; 0 in a thread that runs none.
        static END: Cell<usize> = const { Cell::new(0) };
    }

    /// The size of a worker's stack, given the setting of its pool.
    pub(crate) fn worker_stack(setting: Option<usize>) -> Option<usize> {
        // As the standard library chooses it, which says nothing about that.
        static DEFAULT: OnceLock<usize> = OnceLock::new();
        let default = || {
            let wanted = std::env::var_os("RUST_MIN_STACK");
            wanted.and_then(|bytes| bytes.to_str()?.parse().ok()).unwrap_or(2 << 20)
        };
        setting.or_else(|| Some(*DEFAULT.get_or_init(default)))
    }

    /// Tells a worker the size of its stack, at whose beginning it is.
    pub(crate) fn note_worker_stack(size: Option<usize>) {
        let size = size.unwrap_or(0);
        END.set(here().saturating_sub(size - RED_ZONE.min(size / 2)));
    }

    /// Runs `body`, which does not unwind, if enough is left of this stack; otherwise returns `None`. In a
    /// thread that is no worker the outermost call always runs.
    pub(crate) fn on_enough_stack<R>(body: impl FnOnce() -> R) -> Option<R> {
        let end = END.get();
        if end != 0 {
            return (here() > end).then(body);
        }
        END.set(here().saturating_sub(ELSEWHERE));
        let outcome = body();
        END.set(0);
        Some(outcome)
    }

    /// The approximate position of this thread on its stack, which grows downwards.
    #[inline(always)]
    fn here() -> usize {
        let local = 0_u8;
        std::hint::black_box(&raw const local).addr()
    }
}

// ThreadSanitizer loses track of a thread whose stack changes.
#[cfg(any(miri, concurrent_loom, concurrent_tsan))]
mod imp {
    pub(crate) use super::unknown::{note_worker_stack, worker_stack};

    pub(crate) fn on_enough_stack<R>(body: impl FnOnce() -> R) -> Option<R> {
        Some(body())
    }
}

/// Workers need not know their stack.
#[cfg(any(feature = "deep-stacks", miri, concurrent_loom, concurrent_tsan))]
mod unknown {
    pub(crate) fn worker_stack(setting: Option<usize>) -> Option<usize> {
        setting
    }

    pub(crate) fn note_worker_stack(_size: Option<usize>) {}
}
