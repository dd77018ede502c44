//! Limits how deeply a value may be nested: as deeply as the stack allows.
//!
//! Serde recurses at each level of a value, and how much stack a level takes depends on its type. So the
//! flavors of `Sink` and `Source` check the remaining stack whenever they write or read bytes. A value that
//! is too deep for the stack of this thread gets a large one of its own; if that is too small as well, it is
//! an error of its call. A value that was too deep for this stack may be too deep to be dropped on it.

use std::cell::Cell;
use std::fmt;

use crate::user_code::contain;

/// The most stack that a level may need between two checks.
const RESERVE: usize = 128 * 1024;

/// A value of this many levels can be dropped on any stack.
pub(crate) const SHALLOW: usize = 1000;

/// The size of the large stack. The system provides memory only for the part that is used.
#[cfg(not(any(miri, concurrent_tsan)))]
const LARGE: usize = 64 << 20;

pub(crate) const TOO_DEEP: &str = "it is nested too deeply for a stack of 64 MiB";

/// The end of the stack.
#[derive(Debug)]
pub(crate) struct Depth {
    /// Stacks grow downwards; 0 if the end of this one is unknown.
    end: usize,
    reached: Cell<bool>,
}

impl Depth {
    #[inline]
    pub(crate) fn new() -> Self {
        let left = remaining_stack().map(|left| left.saturating_sub(RESERVE));
        Self { end: left.map_or(0, |left| here().saturating_sub(left)), reached: Cell::new(false) }
    }

    /// Whether the stack does not suffice for another level. Remembers it.
    #[inline(always)]
    pub(crate) fn is_reached(&self) -> bool {
        let reached = here() < self.end;
        if reached {
            self.reached.set(true);
        }
        reached
    }

    pub(crate) fn was_reached(&self) -> bool {
        self.reached.get()
    }
}

/// The approximate position of this thread on its stack.
#[inline(always)]
fn here() -> usize {
    let local = 0_u8;
    std::hint::black_box(&raw const local).addr()
}

thread_local! {
    /// This thread has written or read a value that was too deep for its own stack.
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Whether the next value that this thread drops may need a large stack.
pub(crate) fn is_deep() -> bool {
    DEEP.get()
}

/// Remembers whether a value needed a large stack to be written or read.
pub(crate) fn note_deep(deep: bool) {
    DEEP.set(deep);
}

/// Drops a value that has crossed, on a large stack if need be; logs a panic, with `what` was done.
pub(crate) fn let_go(what: impl fmt::Display, drop: impl FnOnce()) {
    if DEEP.replace(false) {
        contain(what, || {
            let mut drop = Some(drop);
            let large = on_large_stack(|| drop.take().map(|drop| drop()));
            if large.is_err() {
                #[expect(clippy::mem_forget, reason = "this stack may be too small to drop it")]
                std::mem::forget(drop);
            }
        });
    } else {
        contain(what, drop);
    }
}

/// Drops several values; the panic of one does not affect the others.
pub(crate) fn let_go_each<T>(what: &str, values: impl IntoIterator<Item = T>) {
    let deep = is_deep();
    for value in values {
        note_deep(deep);
        let_go(what, || drop(value));
    }
}

#[cfg(not(any(miri, concurrent_tsan)))]
fn remaining_stack() -> Option<usize> {
    stacker::remaining_stack()
}

/// Runs `body` on the large stack; an error if there is no memory for it.
#[cfg(not(any(miri, concurrent_tsan)))]
#[cold]
pub(crate) fn on_large_stack<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    check_memory().map_err(|error| {
        format!("it is nested deeply, and there is no memory for a stack of 64 MiB: {error}")
    })?;
    Ok(stacker::grow(LARGE, body))
}

/// An error if there is no memory for the large stack, where `stacker` would panic.
#[cfg(not(any(miri, concurrent_tsan)))]
fn check_memory() -> rustix::io::Result<()> {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
    let len = LARGE + RESERVE;
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping at an address that the kernel chooses touches no existing memory.
    let at = unsafe { mmap_anonymous(null, len, ProtFlags::empty(), MapFlags::PRIVATE) }?;
    // SAFETY: it was made just now, and nothing uses it.
    let usable = unsafe { mprotect(at, len, MprotectFlags::READ | MprotectFlags::WRITE) };
    // SAFETY: as above.
    unsafe { munmap(at, len) }?;
    usable
}

#[cfg(any(miri, concurrent_tsan))]
fn remaining_stack() -> Option<usize> {
    None
}

#[cfg(any(miri, concurrent_tsan))]
pub(crate) fn on_large_stack<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    Ok(body())
}

#[cfg(all(test, not(concurrent_tsan)))]
mod tests {
    use super::*;

    fn nest(depth: &Depth, level: u64) -> u64 {
        let level = std::hint::black_box([level; 64]);
        if depth.is_reached() { level[0] } else { nest(depth, level[0] + 1).max(level[63]) }
    }

    #[test]
    fn the_end_of_a_stack_is_seen_before_it_comes() {
        let work = || {
            let small = nest(&Depth::new(), 0);
            let large = on_large_stack(|| nest(&Depth::new(), 0)).unwrap();
            (small, large)
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap();
        let (small, large) = thread.join().unwrap();
        assert!(small > 100 && large > 20 * small, "{small} {large}");
    }
}
