//! The segments of shared memory that large payloads travel in.
//!
//! Page faults are what a large payload costs, so segments are used again: whoever made one gets
//! it back when the other side has read it, and the other side keeps it mapped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{Errno, Result};

use super::memory::{Mapping, memory_file};
use crate::futures::process::sys::limits::set_len;
use crate::sync::Mutex;

/// Memory that one payload after the other travels in, as its writer sees it.
#[derive(Debug)]
pub(crate) struct Segment {
    id: u64,
    file: OwnedFd,
    mapping: Mapping,
    /// Bytes written since [`clear`](Self::clear).
    used: usize,
}

impl Segment {
    const SMALLEST: usize = 64 * 1024;

    pub(crate) fn new(capacity: usize) -> Result<Self> {
        /// Numbers the segments made by this process; no two on a channel have the same.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let len = rounded(capacity);
        let file = memory_file(len)?;
        let mapping = Mapping::new(file.as_fd(), len, true)?;
        // ORDERING: Relaxed; only the number itself matters.
        Ok(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), file, mapping, used: 0 })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// Makes sure that `more` bytes can be appended.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<()> {
        let wanted = self.used.checked_add(more).ok_or(Errno::NOMEM)?;
        if wanted <= self.mapping.len() {
            return Ok(());
        }
        let len = rounded(wanted.max(self.mapping.len() * 2));
        set_len(self.file.as_fd(), len as u64)?;
        self.mapping.grow(self.file.as_fd(), len)
    }

    /// Room for `len` more bytes, which count as written.
    pub(crate) fn extend(&mut self, len: usize) -> Result<&mut [u8]> {
        self.reserve(len)?;
        let start = self.used;
        self.used += len;
        // SAFETY: a segment that is written to was never handed out, or has come back: by the
        // rules of the channel its reader does not touch it until it is handed out again.
        let bytes = unsafe { self.mapping.bytes_mut() };
        Ok(&mut bytes[start..start + len])
    }

    /// Forgets what was written after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.used = self.used.min(len);
    }

    /// Replaces bytes that have been written.
    pub(crate) fn overwrite(&mut self, at: usize, data: &[u8]) {
        assert!(at + data.len() <= self.used, "only what was written can be replaced");
        // SAFETY: as in `extend`.
        let bytes = unsafe { self.mapping.bytes_mut() };
        bytes[at..at + data.len()].copy_from_slice(data);
    }

    #[cfg(test)]
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        // SAFETY: nobody writes to a segment while `self` is borrowed.
        let bytes = unsafe { self.mapping.bytes() };
        bytes[..self.used].to_vec()
    }
}

fn rounded(len: usize) -> usize {
    let len = len.max(Segment::SMALLEST);
    len.checked_next_multiple_of(Segment::SMALLEST).unwrap_or(len)
}

/// Segments that wait for the next large payload.
#[derive(Debug)]
pub(crate) struct Arena {
    shelf: Mutex<Shelf>,
    /// The most segments that payloads not yet sent may have.
    most: usize,
}

#[derive(Debug)]
struct Shelf {
    free: Vec<Segment>,
    /// Segments that were taken and not given back.
    taken: usize,
}

impl Arena {
    /// The most segments, and bytes of one, that are kept for later.
    const KEPT: usize = 4;
    const KEPT_BYTES: usize = 256 << 20;

    /// An arena of which [`take_early`](Self::take_early) gives at most so many at a time.
    pub(crate) const fn new(most: usize) -> Self {
        Self { shelf: Mutex::new(Shelf { free: Vec::new(), taken: 0 }), most }
    }

    /// A segment for a payload that may have to wait; `None` if many such wait already. Each holds a
    /// descriptor, and there are not as many of those as of calls.
    pub(crate) fn take_early(&self, capacity: usize) -> Option<Segment> {
        let few = self.shelf.lock().taken < self.most;
        if few { self.take(capacity).ok() } else { None }
    }

    /// An empty segment, if possible one that has had `capacity` bytes before.
    pub(crate) fn take(&self, capacity: usize) -> Result<Segment> {
        let kept = {
            let mut shelf = self.shelf.lock();
            let fits = |segment: &Segment| segment.mapping.len() >= capacity;
            // The last returned one is warm.
            let index = shelf.free.iter().rposition(fits).or(shelf.free.len().checked_sub(1));
            shelf.taken += 1;
            index.map(|index| shelf.free.remove(index))
        };
        let made = match kept {
            Some(mut segment) => {
                segment.clear();
                segment.reserve(capacity).map(|()| segment)
            }
            None => Segment::new(capacity),
        };
        if made.is_err() {
            self.shelf.lock().taken -= 1;
        }
        made
    }

    pub(crate) fn give_back(&self, segment: Segment) {
        let surplus = {
            let mut shelf = self.shelf.lock();
            shelf.taken = shelf.taken.saturating_sub(1);
            if segment.mapping.len() > Self::KEPT_BYTES {
                Some(segment)
            } else {
                shelf.free.push(segment);
                (shelf.free.len() > Self::KEPT).then(|| shelf.free.remove(0))
            }
        };
        drop(surplus); // unmapping takes its time
    }
}

/// The last few segments of the other side. The side that sends keeps the same list, so that it
/// knows which ones the reader still has: both see the same payloads in the same order.
#[derive(Debug)]
pub(crate) struct Recent<S>(Vec<(u64, S)>);

impl<S> Recent<S> {
    const KEPT: usize = 4;

    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Moves a segment to the front; false if it is not there.
    pub(crate) fn touch(&mut self, id: u64) -> bool {
        let Some(index) = self.0.iter().position(|(own, _)| *own == id) else { return false };
        self.0[..=index].rotate_right(1);
        true
    }

    /// Adds a segment that is not there; gives the one that goes for it.
    pub(crate) fn insert(&mut self, id: u64, segment: S) -> Option<(u64, S)> {
        self.0.insert(0, (id, segment));
        if self.0.len() > Self::KEPT { self.0.pop() } else { None }
    }

    /// The segment that was touched or inserted last.
    pub(crate) fn first(&mut self) -> Option<&mut S> {
        self.0.first_mut().map(|(_, segment)| segment)
    }
}

/// A segment of the other side, mapped to be read.
#[derive(Debug)]
pub(crate) struct Foreign {
    file: OwnedFd,
    mapping: Option<Mapping>,
}

impl Foreign {
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self { file, mapping: None }
    }

    /// The first `len` bytes. An error if the segment is not that long.
    pub(crate) fn bytes(&mut self, len: u64) -> Result<&[u8]> {
        let len = usize::try_from(len).map_err(|_| Errno::OVERFLOW)?;
        let file = self.file.as_fd();
        let mapping = match self.mapping.take() {
            Some(mut mapping) => {
                if mapping.len() < len {
                    mapping.grow(file, len)?;
                }
                mapping
            }
            None => Mapping::new(file, len, false)?,
        };
        let mapping = self.mapping.insert(mapping);
        // SAFETY: by the rules of the channel the sender does not write to a segment between the
        // frame that hands it over and the one that gives it back; the slice is gone by then.
        let bytes = unsafe { mapping.bytes() };
        bytes.get(..len).ok_or(Errno::INVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_grows_and_is_read_by_another_mapping() {
        let arena = Arena::new(usize::MAX);
        let mut segment = arena.take(10).unwrap();
        let mut foreign = Foreign::new(segment.file().try_clone_to_owned().unwrap());
        segment.extend(3).unwrap().copy_from_slice(b"abc");
        assert_eq!(foreign.bytes(3).unwrap(), b"abc");
        segment.extend(1 << 20).unwrap().fill(7);
        let bytes = foreign.bytes(segment.len() as u64).unwrap();
        assert_eq!((bytes.len(), bytes[2], bytes[3], bytes[1 << 20]), ((1 << 20) + 3, b'c', 7, 7));
        assert!(foreign.bytes(1 << 40).is_err(), "longer than the file");
        let id = segment.id();
        arena.give_back(segment);
        assert_eq!(arena.take(5).unwrap().id(), id);
    }

    #[test]
    fn both_ends_forget_the_same_segments() {
        let (mut sender, mut reader) = (Recent::new(), Recent::new());
        for id in [1, 2, 3, 1, 4, 5, 1, 2, 6, 7, 3] {
            let known = sender.touch(id);
            assert_eq!(known, reader.touch(id));
            if !known {
                let gone = sender.insert(id, ()).map(|(id, ())| id);
                assert_eq!(gone, reader.insert(id, "mapping").map(|(id, _)| id));
            }
            assert!(reader.first().is_some());
        }
    }
}
