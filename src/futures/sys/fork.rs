//! Detects that this process is a fork.
//!
//! A fork has all memory of its parent and shares the channels to the workers, but has none of its threads.
//! Workers would take bytes from a fork for bytes of its parent. Reading a word that the system zeroes in a
//! fork is faster than asking for the pid each time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A number that is different in each fork of this process.
#[inline]
pub(crate) fn generation() -> u64 {
    static WORD: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    let Some(word) = WORD.get_or_init(word) else { return u64::from(std::process::id()) };
    // ORDERING: Relaxed; a number by itself. In a fork there is one thread.
    match word.load(Ordering::Relaxed) {
        0 => begin(word),
        own => own,
    }
}

#[cold]
fn begin(word: &AtomicU64) -> u64 {
    /// The last number given out, which a fork inherits.
    static LAST: AtomicU64 = AtomicU64::new(0);
    // ORDERING: Relaxed; numbers by themselves. If two threads come here, one number is not used.
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(own) => own,
    }
}

/// A word that is zero in a fork; `None` if the system has no such memory.
fn word() -> Option<&'static AtomicU64> {
    let (null, len) = (std::ptr::null_mut(), size_of::<AtomicU64>());
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses touches no existing memory.
    let at = unsafe { rustix::mm::mmap_anonymous(null, len, protection, MapFlags::PRIVATE) };
    let at = at.ok()?;
    // SAFETY: the mapping was made just now, of whole pages. If the call fails, it stays unused.
    unsafe { rustix::mm::madvise(at, len, Advice::LinuxWipeOnFork) }.ok()?;
    // SAFETY: it is zero, aligned to a page, never unmapped, and all access is atomic.
    Some(unsafe { &*at.cast::<AtomicU64>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_somebody_else() {
        let own = generation();
        // SAFETY: the child takes no lock, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let differs = generation() != own && generation() == generation();
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(i32::from(!differs)) };
        }
        let mut status = -1;
        // SAFETY: our child, and there is room for its status.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((status, generation()), (0, own));
    }
}
