//! Shared memory: memory files, their seals and mappings.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};

use super::descriptors::above_standard;
use super::limits::set_len;

/// A mapping of a memory file, from its beginning.
pub(crate) struct Mapping {
    at: NonNull<u8>,
    len: usize,
    /// Number of inaccessible bytes before and behind.
    guard: usize,
}

/// The size of the largest ordinary pages.
const GUARD: usize = 64 * 1024;

// SAFETY: the mapping is memory like any other; its owner controls access to it.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` only reads.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file`, which must be at least as long and sealed against shrinking:
    /// a read beyond the end of a file kills the reader.
    pub(crate) fn new(file: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Self> {
        let protection =
            if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        Self::map(file, len, protection, MapFlags::SHARED)
    }

    /// Maps a file for writing, between inaccessible pages: code that writes past the end of other memory does
    /// not write into the mapping.
    pub(crate) fn between_guards(file: BorrowedFd<'_>, len: usize) -> Result<Self> {
        check_file(file, len)?;
        let null = std::ptr::null_mut();
        let whole = len.next_multiple_of(GUARD) + 2 * GUARD;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: as in `map`.
        let start = unsafe { rustix::mm::mmap_anonymous(null, whole, ProtFlags::empty(), flags) }?;
        let at = NonNull::new(start.cast::<u8>().wrapping_add(GUARD)).ok_or(Errno::NOMEM)?;
        // From here on its drop unmaps it with the guards.
        let mapping = Self { at, len, guard: GUARD };
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: it replaces a part of the mapping that was made just now, which nothing uses.
        unsafe { rustix::mm::mmap(at.as_ptr().cast(), len, protection, flags, file, 0) }?;
        Ok(mapping)
    }

    fn map(
        file: BorrowedFd<'_>,
        len: usize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self> {
        check_file(file, len)?;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at an address that the kernel chooses touches no existing memory.
        let at = unsafe { rustix::mm::mmap(null, len, protection, flags, file, 0) }?;
        Ok(Self { at: NonNull::new(at.cast()).ok_or(Errno::NOMEM)?, len, guard: 0 })
    }

    /// Extends the mapping over more of `file`.
    pub(crate) fn grow(&mut self, file: BorrowedFd<'_>, len: usize) -> Result<()> {
        debug_assert_eq!(self.guard, 0, "its guards cannot move along");
        check_file(file, len)?;
        let at = self.at.as_ptr().cast();
        // SAFETY: `&mut self` proves that the old range is not borrowed.
        let at = unsafe { rustix::mm::mremap(at, self.len, len, MremapFlags::MAYMOVE) }?;
        self.at = NonNull::new(at.cast()).ok_or(Errno::NOMEM)?;
        self.len = len;
        Ok(())
    }

    /// Makes writing to it a fault, or allows it again.
    pub(crate) fn protect(&mut self, constant: bool) -> Result<()> {
        let flags =
            if constant { MprotectFlags::READ } else { MprotectFlags::READ | MprotectFlags::WRITE };
        // SAFETY: the mapping owns the range, and `&mut self` proves that it is not borrowed.
        unsafe { rustix::mm::mprotect(self.at.as_ptr().cast(), self.len, flags) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.at.as_ptr()
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// No process writes to them while the slice lives.
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped and the file cannot shrink; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    ///
    /// # Safety
    ///
    /// The mapping is writable, and no other process touches them while the slice lives.
    pub(crate) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, with `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start = self.at.as_ptr().wrapping_sub(self.guard);
        let len = match self.guard {
            0 => self.len,
            guard => self.len.next_multiple_of(guard) + 2 * guard,
        };
        // SAFETY: the mapping owns the range, which is no longer borrowed.
        let _ = unsafe { rustix::mm::munmap(start.cast(), len) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("len", &self.len).finish_non_exhaustive()
    }
}

fn check_file(file: BorrowedFd<'_>, len: usize) -> Result<()> {
    let size = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
    let enough = u64::try_from(len).is_ok_and(|len| len <= size) && len > 0;
    let sealed = rustix::fs::fcntl_get_seals(file)?.contains(SealFlags::SHRINK);
    if enough && sealed { Ok(()) } else { Err(Errno::INVAL) }
}

/// Asks for huge pages for a large buffer that is about to be filled: with small pages, the page faults
/// would take longer than the copy.
pub(crate) fn advise_huge<T>(buffer: &mut [MaybeUninit<T>]) {
    const LEAST: usize = 4 << 20;
    const PAGE: usize = 2 << 20;
    let start = buffer.as_mut_ptr().addr().next_multiple_of(PAGE);
    let end = (buffer.as_mut_ptr().addr() + size_of_val(buffer)) / PAGE * PAGE;
    if size_of_val(buffer) < LEAST || start >= end {
        return;
    }
    let offset = start - buffer.as_mut_ptr().addr();
    let at = buffer.as_mut_ptr().cast::<u8>().wrapping_add(offset);
    // SAFETY: the range lies in `buffer`; this advice changes no contents. It may fail.
    let _ = unsafe { rustix::mm::madvise(at.cast(), end - start, Advice::LinuxHugepage) };
}

/// A new memory file of `len` bytes that cannot shrink.
pub(crate) fn memory_file(len: usize) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = above_standard(rustix::fs::memfd_create("concurrent", flags)?)?;
    set_len(file.as_fd(), len as u64)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK)?;
    Ok(file)
}

/// Seals `file`: it can only be written through writable mappings that exist already.
pub(crate) fn seal_for_readers(file: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fcntl_add_seals(file, SealFlags::FUTURE_WRITE)
}

/// The seals of a file that no process can change.
const CONSTANT: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// Seals `file`, so that no process can change it. An error (`BUSY`) if there is a writable mapping of it.
pub(crate) fn seal_for_ever(file: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fcntl_add_seals(file, CONSTANT | SealFlags::SEAL)
}

/// Maps a file that was sealed by [`seal_for_ever`]; an error if it was not. Reading from the mapping cannot
/// fail then: the file consists of ordinary pages, has its length, and stays like that.
pub(crate) fn map_constant(file: BorrowedFd<'_>, len: usize) -> Result<Mapping> {
    let sealed = rustix::fs::fcntl_get_seals(file)?.contains(CONSTANT);
    // Pages of hugetlbfs may be missing at their first access.
    let ordinary = rustix::fs::fstatfs(file)?.f_type == libc::TMPFS_MAGIC;
    if !sealed || !ordinary {
        return Err(Errno::PERM);
    }
    // Private: before Linux 6.7 shared mappings counted as writable, whatever their protection.
    Mapping::map(file, len, ProtFlags::READ, MapFlags::PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_touch_what_lies_around_a_guarded_mapping() {
        let file = memory_file(5000).unwrap();
        let mapping = Mapping::between_guards(file.as_fd(), 5000).unwrap();
        let (start, whole) = (mapping.as_ptr().addr(), 5000);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let around = |address: usize| {
            let own = maps.lines().find(|line| {
                let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
                let hex = |text| usize::from_str_radix(text, 16).unwrap();
                (hex(from)..hex(to)).contains(&address)
            });
            own.unwrap().split(' ').nth(1).unwrap()
        };
        assert_eq!((around(start), around(start + whole - 1)), ("rw-s", "rw-s"));
        for guarded in [start - GUARD, start - 1, start + GUARD, start + 2 * GUARD - 1] {
            assert_eq!(around(guarded), "---p");
        }
    }

    #[test]
    fn a_file_that_could_shrink_is_not_mapped() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("test", flags).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        assert!(Mapping::new(file.as_fd(), 4096, false).is_err());
    }
}
