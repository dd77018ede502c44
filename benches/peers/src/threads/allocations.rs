//! Allocations counted, with the feature `allocations`.

/// Allocations of the whole program so far, if they are counted.
#[cfg(not(feature = "allocations"))]
pub fn count() -> Option<u64> {
    None
}

#[cfg(feature = "allocations")]
pub use counted::count;

#[cfg(feature = "allocations")]
mod counted {
    #[cfg(not(feature = "mimalloc"))]
    use std::alloc::System as INNER;
    use std::alloc::{GlobalAlloc, Layout};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[cfg(feature = "mimalloc")]
    use mimalloc::MiMalloc as INNER;

    static COUNT: AtomicU64 = AtomicU64::new(0);

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    struct Counting;

    // SAFETY: all methods forward to the inner allocator.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            COUNT.fetch_add(1, Relaxed);
            // SAFETY: the caller has to keep the same contract here.
            unsafe { INNER.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the memory came from there.
            unsafe { INNER.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            COUNT.fetch_add(1, Relaxed);
            // SAFETY: the memory came from there, and the caller keeps the rest of the contract.
            unsafe { INNER.realloc(pointer, layout, size) }
        }
    }

    pub fn count() -> Option<u64> {
        Some(COUNT.load(Relaxed))
    }
}
