//! The positions of writer and reader in a stream of bytes in shared memory, and which side sleeps.
//!
//! There is one writer and one reader at a time. Each keeps its own position in private memory and publishes
//! a copy that it never reads back, since the other process can write to all shared memory. Each refuses a
//! position of the other side that is impossible. Each wakes the other side only if that one sleeps. No side
//! falls asleep with something to do: a sleeper first says that it sleeps and then checks once more; the
//! other side first publishes and then checks whether the first sleeps. The two fences between saying and
//! checking have one order, so at least one side sees the other.
//!
//! A reader may sleep until many bytes have come, so that it is not woken for a few. The writer wakes it for
//! any number when it has no more to write for now. As that may take long, the reader sets itself a timer.

use std::sync::atomic::AtomicU32 as PrivateU32;

#[cfg(not(concurrent_loom))]
use std::sync::atomic::{AtomicU32, Ordering, fence};

#[cfg(concurrent_loom)]
use loom::sync::atomic::{AtomicU32, Ordering, fence};

/// The position of one side, in its private memory.
#[derive(Debug, Default)]
pub(crate) struct Position(PrivateU32);

impl Position {
    pub(crate) fn get(&self) -> u32 {
        // ORDERING: Relaxed; one owner follows the other, and other threads only report it.
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn advance(&self, count: u32) -> u32 {
        let next = self.get().wrapping_add(count);
        self.0.store(next, std::sync::atomic::Ordering::Relaxed); // ORDERING: as in `get`
        next
    }
}

/// The shared positions, which count bytes and wrap. All zero is the beginning.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Flow {
    writer: Side,
    reader: Side,
}

/// The part that one side writes, on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
struct Side {
    position: AtomicU32,
    /// It sleeps until there are this many bytes; 0 if it is awake.
    sleeps: AtomicU32,
}

/// The positions are further apart than the stream is long, which an honest side never causes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

impl Flow {
    /// For the writer: its position, and the number of bytes that there is room for.
    pub(crate) fn room(&self, own: &Position, capacity: u32) -> Result<(u32, u32), Overrun> {
        // ORDERING: Acquire; pairs with `consume`: the reader has read the bytes there.
        let read = self.reader.position.load(Ordering::Acquire);
        let unread = own.get().wrapping_sub(read);
        let room = capacity.checked_sub(unread).ok_or(Overrun)?;
        Ok((own.get(), room))
    }

    /// For the writer: publishes `count` bytes. Calls `must_wake_reader` some time later.
    pub(crate) fn publish(&self, own: &Position, count: u32) {
        let written = own.advance(count);
        // ORDERING: Release; pairs with `filled`: the bytes are there.
        self.writer.position.store(written, Ordering::Release);
    }

    /// For the writer: whether it must wake the reader, because the reader sleeps and there are as many bytes
    /// as it sleeps for, or, with `for_anything`, any at all.
    #[must_use]
    pub(crate) fn must_wake_reader(&self, own: &Position, for_anything: bool) -> bool {
        self.reader.must_wake(|wanted| {
            // ORDERING: Relaxed; the fence in `must_wake` orders it, and it gives access to no byte.
            let unread = own.get().wrapping_sub(self.reader.position.load(Ordering::Relaxed));
            unread >= if for_anything { 1 } else { wanted }
        })
    }

    /// For the reader: its position, and the number of bytes that are there.
    pub(crate) fn filled(&self, own: &Position, capacity: u32) -> Result<(u32, u32), Overrun> {
        // ORDERING: Acquire; pairs with `publish`.
        let written = self.writer.position.load(Ordering::Acquire);
        let filled = written.wrapping_sub(own.get());
        if filled <= capacity { Ok((own.get(), filled)) } else { Err(Overrun) }
    }

    /// For the reader: publishes that `count` bytes were read. Returns whether it must wake the writer.
    #[must_use]
    pub(crate) fn consume(&self, own: &Position, count: u32) -> bool {
        let read = own.advance(count);
        // ORDERING: Release; pairs with `room`: the bytes were read.
        self.reader.position.store(read, Ordering::Release);
        self.writer.must_wake(|_| true)
    }

    /// For the reader: prepares to sleep until there are `until` bytes, at least 1. False, and it must not
    /// sleep, if there are some now.
    #[must_use]
    pub(crate) fn prepare_reader_sleep(&self, own: &Position, until: u32) -> bool {
        self.reader.prepare_sleep(until, || {
            // ORDERING: Relaxed; the fences order it, and `filled` reads it again.
            self.writer.position.load(Ordering::Relaxed) == own.get()
        })
    }

    /// For the reader: it is awake, and need not be woken.
    pub(crate) fn reader_is_awake(&self) {
        self.reader.wakes();
    }

    /// For the writer: prepares to sleep until there is room. False, and it must not sleep, if there is some,
    /// or the reader's position is impossible.
    #[must_use]
    pub(crate) fn prepare_writer_sleep(&self, own: &Position, capacity: u32) -> bool {
        self.writer.prepare_sleep(1, || self.room(own, capacity).is_ok_and(|(_, room)| room == 0))
    }

    /// The word on which the writer sleeps while it is 1.
    #[cfg(not(concurrent_loom))]
    pub(crate) fn writer_futex(&self) -> &AtomicU32 {
        &self.writer.sleeps
    }
}

impl Side {
    /// For the other side, after it has published: whether this side sleeps, there is `enough` for it, and no
    /// other thread wakes it.
    fn must_wake(&self, enough: impl FnOnce(u32) -> bool) -> bool {
        // ORDERING: SeqCst; between publishing and checking, see the head of this file.
        fence(Ordering::SeqCst);
        let wanted = self.sleeps.load(Ordering::Relaxed); // ORDERING: the fence orders it
        // ORDERING: Relaxed; it only decides which thread wakes this side.
        wanted != 0 && enough(wanted) && self.sleeps.swap(0, Ordering::Relaxed) != 0
    }

    /// Says that this side sleeps; false, and it does not, unless there is `nothing` to do.
    fn prepare_sleep(&self, until: u32, nothing: impl FnOnce() -> bool) -> bool {
        // ORDERING: Relaxed; the fence orders it. A swap, so that it is the newest value even if the
        // other side has just taken back an earlier one.
        self.sleeps.swap(until, Ordering::Relaxed);
        // ORDERING: SeqCst; between saying so and checking, see the head of this file.
        fence(Ordering::SeqCst);
        let sleeps = nothing();
        if !sleeps {
            self.wakes();
        }
        sleeps
    }

    fn wakes(&self) {
        self.sleeps.store(0, Ordering::Relaxed); // ORDERING: Relaxed; a hint that saves a system call
    }
}

#[cfg(concurrent_loom)]
impl Flow {
    /// The beginning of a stream.
    pub(crate) fn new() -> Self {
        let side = || Side { position: AtomicU32::new(0), sleeps: AtomicU32::new(0) };
        Self { writer: side(), reader: side() }
    }
}
