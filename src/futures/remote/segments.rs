//! Segments of shared memory, which carry large payloads.
//!
//! The main cost of a large payload are page faults, so segments are used again: the side that made one
//! gets it back when the other side has read it, and the other side keeps its descriptor. The other side
//! can only read, and copies the bytes: it never works on memory that may change meanwhile.
//!
//! Very large segments are used once, so that their memory is free as soon as the payload was read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result};

use crate::futures::sys::limits::set_len;
use crate::futures::sys::mapping::{Mapping, memory_file, seal_for_readers};
use crate::sync::Mutex;

/// Shared memory that carries one payload at a time, as its writer sees it.
#[derive(Debug)]
pub(crate) struct Segment {
    id: u64,
    file: OwnedFd,
    mapping: Mapping,
    /// Bytes written since [`clear`](Self::clear).
    used: usize,
    /// Dropped with the segment.
    life: Arc<()>,
}

impl Segment {
    const SMALLEST: usize = 64 * 1024;
    /// The most bytes of a segment that is used again.
    const REUSED: usize = 64 << 20;

    pub(crate) fn new(capacity: usize) -> Result<Self> {
        /// Numbers the segments of this process, so that no two on a channel have the same number.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let len = rounded(capacity);
        let file = memory_file(len)?;
        let mapping = Mapping::new(file.as_fd(), len, true)?;
        seal_for_readers(file.as_fd())?;
        // ORDERING: Relaxed; only the number itself matters.
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { id, file, mapping, used: 0, life: Arc::default() })
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

    /// Whether it carries one payload only.
    pub(crate) fn is_used_once(&self) -> bool {
        self.mapping.len() > Self::REUSED
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// Makes a stray write of user code a fault from now on, while the other side reads.
    pub(crate) fn protect(&mut self) {
        let _ = self.mapping.protect(true); // without it a stray write goes unnoticed
    }

    /// Makes it writable again, when the other side has read it.
    pub(crate) fn unprotect(&mut self) -> Result<()> {
        self.mapping.protect(false)
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

    /// Appends `len` bytes for the caller to fill.
    pub(crate) fn extend(&mut self, len: usize) -> Result<&mut [u8]> {
        self.reserve(len)?;
        let start = self.used;
        self.used += len;
        // SAFETY: the mapping is writable. No other process can write to the file, and those that
        // read it do so by a system call.
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
        // SAFETY: a segment is written through `&mut self` only.
        let bytes = unsafe { self.mapping.bytes() };
        bytes[..self.used].to_vec()
    }
}

fn rounded(len: usize) -> usize {
    let len = len.max(Segment::SMALLEST);
    len.checked_next_multiple_of(Segment::SMALLEST).unwrap_or(len)
}

/// Keeps segments for the next large payloads.
#[derive(Debug)]
pub(crate) struct Arena {
    state: Mutex<ArenaState>,
    /// The most segments for payloads that are not sent yet.
    most: usize,
}

#[derive(Debug)]
struct ArenaState {
    free: Vec<Segment>,
    /// Segments that were taken and not given back.
    taken: usize,
    /// When a segment was last given back.
    used: Option<Instant>,
}

impl Arena {
    /// The most segments, and the most bytes in all, that are kept for later.
    const KEPT: usize = 4;
    const KEPT_BYTES: usize = 128 << 20;

    /// How long they are kept.
    pub(crate) const KEPT_FOR: Duration = Duration::from_secs(1);

    /// An arena with at most `most` segments at a time for [`take_early`](Self::take_early).
    pub(crate) const fn new(most: usize) -> Self {
        Self { state: Mutex::new(ArenaState { free: Vec::new(), taken: 0, used: None }), most }
    }

    /// A segment for a payload that may have to wait; `None` if many wait already. Each segment holds a
    /// descriptor, and a process may have more calls than descriptors.
    pub(crate) fn take_early(&self, capacity: usize) -> Option<Segment> {
        let few = self.state.lock().taken < self.most;
        if few { self.take(capacity).ok() } else { None }
    }

    /// An empty segment, preferably one that had `capacity` bytes before.
    pub(crate) fn take(&self, capacity: usize) -> Result<Segment> {
        let kept = {
            let mut state = self.state.lock();
            let fits = |segment: &Segment| segment.mapping.len() >= capacity;
            // The one that was given back last is warm.
            let index = state.free.iter().rposition(fits).or(state.free.len().checked_sub(1));
            state.taken += 1;
            index.map(|index| state.free.remove(index))
        };
        let made = match kept {
            Some(mut segment) => {
                segment.clear();
                segment.reserve(capacity).map(|()| segment)
            }
            None => Segment::new(capacity),
        };
        if made.is_err() {
            self.state.lock().taken -= 1;
        }
        made
    }

    /// A segment with a copy of `bytes`.
    pub(crate) fn take_copy(&self, bytes: &[u8]) -> Result<Segment> {
        let mut segment = self.take(bytes.len())?;
        segment.extend(bytes.len())?.copy_from_slice(bytes);
        Ok(segment)
    }

    pub(crate) fn give_back(&self, segment: Segment) {
        let mut surplus = Vec::new();
        {
            let mut state = self.state.lock();
            state.taken = state.taken.saturating_sub(1);
            state.used = Some(Instant::now());
            if segment.is_used_once() {
                surplus.push(segment);
            } else {
                state.free.push(segment);
            }
            while state.free.len() > Self::KEPT || state.bytes() > Self::KEPT_BYTES {
                surplus.push(state.free.remove(0));
            }
        }
        drop(surplus); // unmapping is slow
    }

    /// Like [`give_back`](Self::give_back), for a segment that cannot be used again.
    pub(crate) fn discard(&self, segment: Segment) {
        let mut state = self.state.lock();
        state.taken = state.taken.saturating_sub(1);
        drop(state);
        drop(segment);
    }

    /// Frees the segments that were not used for [`KEPT_FOR`](Self::KEPT_FOR); returns when to do it
    /// next, if any are kept.
    pub(crate) fn trim(&self, now: Instant) -> Option<Instant> {
        let surplus = {
            let mut state = self.state.lock();
            let until = state.used?.checked_add(Self::KEPT_FOR)?;
            if until > now {
                return Some(until);
            }
            state.used = None;
            std::mem::take(&mut state.free)
        };
        drop(surplus);
        None
    }
}

impl ArenaState {
    fn bytes(&self) -> usize {
        self.free.iter().map(|segment| segment.mapping.len()).sum()
    }
}

/// The segments of this side that the other side has descriptors of. Of those that are removed the other
/// side is told.
#[derive(Debug, Default)]
pub(crate) struct Announced(Vec<(u64, Weak<()>)>);

impl Announced {
    pub(super) const MOST: usize = 4;

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the other side has it. If so, it becomes the last to be forgotten.
    pub(crate) fn has(&mut self, segment: &Segment) -> bool {
        let Some(index) = self.0.iter().position(|(id, _)| *id == segment.id) else { return false };
        self.0[..=index].rotate_right(1);
        true
    }

    /// Its descriptor was sent.
    pub(crate) fn add(&mut self, segment: &Segment) {
        self.0.insert(0, (segment.id, Arc::downgrade(&segment.life)));
    }

    /// The other side does not have it.
    pub(crate) fn remove(&mut self, id: u64) {
        self.0.retain(|(own, _)| *own != id);
    }

    /// Removes a segment that the other side need not keep, because there are many or it no longer exists.
    pub(crate) fn surplus(&mut self) -> Option<u64> {
        let gone = self.0.iter().rposition(|(_, life)| life.strong_count() == 0);
        let index = gone.or((self.0.len() > Self::MOST).then(|| self.0.len() - 1))?;
        Some(self.0.remove(index).0)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;
    use crate::futures::remote::foreign::ForeignSegment;

    fn foreign(segment: &Segment) -> ForeignSegment {
        ForeignSegment::new(segment.file().try_clone_to_owned().unwrap()).unwrap()
    }

    fn read(foreign: &ForeignSegment, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![MaybeUninit::new(0); len];
        foreign.read(&mut bytes).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn a_segment_grows_and_is_read_by_others() {
        let arena = Arena::new(usize::MAX);
        let mut segment = arena.take(10).unwrap();
        let foreign = foreign(&segment);
        segment.extend(3).unwrap().copy_from_slice(b"abc");
        assert_eq!(read(&foreign, 3).unwrap(), b"abc");
        segment.extend(1 << 20).unwrap().fill(7);
        let bytes = read(&foreign, segment.len()).unwrap();
        assert_eq!((bytes.len(), bytes[2], bytes[3], bytes[1 << 20]), ((1 << 20) + 3, b'c', 7, 7));
        assert!(foreign.has(1 << 20) && !foreign.has(1 << 40) && !foreign.has(u64::MAX));
        assert!(read(&foreign, 4 << 20).is_err(), "longer than the file");
        let id = segment.id();
        arena.give_back(segment);
        assert_eq!(arena.take(5).unwrap().id(), id);
    }

    #[test]
    fn who_has_the_descriptor_of_a_segment_cannot_write_to_it() {
        let segment = Segment::new(10).unwrap();
        let file = segment.file().try_clone_to_owned().unwrap();
        assert!(Mapping::new(file.as_fd(), 10, true).is_err());
        assert!(rustix::io::pwrite(&file, b"x", 0).is_err());
        assert!(rustix::fs::ftruncate(&file, 1).is_err());
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        assert!(rustix::fs::fallocate(&file, punch, 0, 4096).is_err());
    }

    #[test]
    fn a_segment_that_is_lent_is_constant_until_it_comes_back() {
        let mut segment = Segment::new(10).unwrap();
        segment.extend(3).unwrap().copy_from_slice(b"abc");
        let protection = |segment: &Segment| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let address = format!("{:x}-", segment.mapping.as_ptr().addr());
            let own = maps.lines().find(|line| line.starts_with(&address)).unwrap();
            own.split(' ').nth(1).unwrap().to_owned()
        };
        segment.protect();
        assert_eq!((protection(&segment).as_str(), &segment.to_vec()[..]), ("r--s", &b"abc"[..]));
        segment.unprotect().unwrap();
        assert_eq!(protection(&segment), "rw-s");
        segment.extend(3).unwrap().copy_from_slice(b"def");
    }

    #[test]
    fn an_arena_that_was_refused_a_huge_segment_gives_small_ones() {
        let arena = Arena::new(2);
        for _ in 0..5 {
            assert!(arena.take_early(1 << 62).is_none());
        }
        let kept = arena.take_early(10).unwrap();
        arena.give_back(kept);
        for _ in 0..5 {
            assert!(arena.take_early(1 << 62).is_none(), "and the one that was kept is gone");
        }
        let two = [arena.take_early(10).unwrap(), arena.take_early(10).unwrap()];
        assert!(arena.take_early(10).is_none(), "as many as there may be");
        two.into_iter().for_each(|segment| arena.give_back(segment));
        assert!(arena.take_early(10).is_some());
    }

    #[test]
    fn large_segments_are_used_once_and_the_others_kept_for_a_while() {
        let arena = Arena::new(usize::MAX);
        assert_eq!(arena.trim(Instant::now()), None);
        let large = arena.take(Segment::REUSED + 1).unwrap();
        assert!(large.is_used_once());
        let small = arena.take(10).unwrap();
        let (life, other) = (Arc::downgrade(&large.life), Arc::downgrade(&small.life));
        arena.give_back(large);
        assert_eq!(life.strong_count(), 0);
        arena.give_back(small);
        let next = arena.trim(Instant::now()).expect("one is kept");
        assert_eq!((other.strong_count(), arena.trim(next), other.strong_count()), (1, None, 0));
        let many: Vec<_> = (0..4).map(|_| arena.take(Segment::REUSED).unwrap()).collect();
        many.into_iter().for_each(|segment| arena.give_back(segment));
        assert!(arena.state.lock().bytes() <= Arena::KEPT_BYTES);
    }

    #[test]
    fn what_the_other_side_need_not_keep_it_is_told_to_forget() {
        let mut announced = Announced::default();
        let segments: Vec<_> = (0..6).map(|_| Segment::new(1).unwrap()).collect();
        assert!(!announced.has(&segments[0]));
        segments[..4].iter().for_each(|segment| announced.add(segment));
        assert!(announced.has(&segments[0]) && announced.surplus().is_none());
        announced.add(&segments[4]);
        assert_eq!(announced.surplus(), Some(segments[1].id()), "the first was just used");
        announced.remove(segments[4].id());
        assert!(!announced.has(&segments[4]) && announced.surplus().is_none());
        let ids: Vec<_> = segments.iter().map(Segment::id).collect();
        drop(segments);
        let gone: Vec<_> = std::iter::from_fn(|| announced.surplus()).collect();
        assert_eq!(gone.len(), 3);
        assert!([0, 2, 3].iter().all(|index| gone.contains(&ids[*index])));
    }
}
