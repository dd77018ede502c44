//! How deeply a value may be nested: as deeply as there is stack for serde.
//!
//! Each level of a value takes a piece of the stack to be written or read, how much only its types
//! know. So whoever writes or reads bytes looks how much stack is left. A value for which this
//! thread's does not do gets a large stack of its own; one for which that does not do either is an
//! error of its call. What was too deep to be written or read where it is may be too deep to be
//! dropped there as well.

use std::cell::Cell;
use std::fmt;

use crate::user_code::contain;

/// What a level may need between two looks.
const RESERVE: usize = 128 * 1024;

/// A value of so few levels can be dropped anywhere.
pub(crate) const SHALLOW: usize = 1000;

/// The stack of its own. Of it the system gives what is used.
#[cfg(not(any(miri, concurrent_tsan)))]
const LARGE: usize = 64 << 20;

pub(crate) const TOO_DEEP: &str = "it is nested too deeply: there are 64 MiB of stack for it";

/// Where the stack comes to its end.
#[derive(Debug)]
pub(crate) struct Depth {
    /// Stacks grow downwards; 0 if nobody knows where this one ends.
    end: usize,
    reached: Cell<bool>,
}

impl Depth {
    #[inline]
    pub(crate) fn new() -> Self {
        let left = remaining_stack().map(|left| left.saturating_sub(RESERVE));
        Self { end: left.map_or(0, |left| here().saturating_sub(left)), reached: Cell::new(false) }
    }

    /// Whether there is no more stack for another level. Notes that.
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

/// About where this thread is on its stack.
#[inline(always)]
fn here() -> usize {
    let local = 0_u8;
    std::hint::black_box(&raw const local).addr()
}

thread_local! {
    /// This thread has written or read a value that was too deep for its own stack.
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Whether what this thread lets go of next may be as deep as what it has read.
pub(crate) fn is_deep() -> bool {
    DEEP.get()
}

/// Says so: a value was written or read that needed a large stack.
pub(crate) fn note_deep(deep: bool) {
    DEEP.set(deep);
}

/// Drops a value of the user's that has crossed; a panic is logged, with `what` it was.
pub(crate) fn let_go(what: impl fmt::Display, drop: impl FnOnce()) {
    if DEEP.replace(false) {
        contain(what, || {
            let mut drop = Some(drop);
            let large = on_large_stack(|| drop.take().map(|drop| drop()));
            if large.is_err() {
                #[expect(clippy::mem_forget, reason = "this stack may not do to drop it")]
                std::mem::forget(drop);
            }
        });
    } else {
        contain(what, drop);
    }
}

/// Drops several, each for itself: what panics as it is dropped leaves the others alone.
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

/// Runs `body` on the large stack; why there is none, if so.
#[cfg(not(any(miri, concurrent_tsan)))]
#[cold]
pub(crate) fn on_large_stack<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    look_for_room().map_err(|error| {
        format!("it is nested deeply, and there is no memory for a stack of 64 MiB: {error}")
    })?;
    Ok(stacker::grow(LARGE, body))
}

/// An error if there is no memory for the large stack, where `stacker` would panic.
#[cfg(not(any(miri, concurrent_tsan)))]
fn look_for_room() -> rustix::io::Result<()> {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
    let len = LARGE + RESERVE;
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping at an address that the kernel chooses touches no existing memory.
    let at = unsafe { mmap_anonymous(null, len, ProtFlags::empty(), MapFlags::PRIVATE) }?;
    // SAFETY: it was made just now, and nobody knows it.
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
