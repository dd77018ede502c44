//! Who has written how much of a stream that lies in shared memory, who has read how much of it, and
//! who sleeps over it.
//!
//! One writer, one reader at a time. Each holds its own position in its private memory and publishes a
//! copy that it never reads back, since the other process can write to all that is shared. What the
//! other side publishes is refused if it cannot be. Each wakes the other only if that one sleeps. Nobody falls asleep over what is there: a sleeper first says so and then looks
//! once more; the other first publishes and then looks whether somebody sleeps. The two fences between
//! saying and looking are in one order, so that one of the two sees the other.
//!
//! A reader may sleep until much has come, so that it is not woken for each little thing. The writer
//! wakes it for anything when it has no more to write for now; that it may be long until then is the
//! reader's concern, which looks at the clock.

use std::sync::atomic::AtomicU32 as PrivateU32;

#[cfg(not(concurrent_loom))]
use std::sync::atomic::{AtomicU32, Ordering, fence};

#[cfg(concurrent_loom)]
use loom::sync::atomic::{AtomicU32, Ordering, fence};

/// How far one side has got, for itself.
#[derive(Debug, Default)]
pub(crate) struct Position(PrivateU32);

impl Position {
    pub(crate) fn get(&self) -> u32 {
        // ORDERING: Relaxed; its owners come one after the other, and others only ask how far it is.
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn advance(&self, count: u32) -> u32 {
        let next = self.get().wrapping_add(count);
        self.0.store(next, std::sync::atomic::Ordering::Relaxed); // ORDERING: as in `get`
        next
    }
}

/// Positions count bytes, and wrap. All zero is the beginning.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Flow {
    writer: Side,
    reader: Side,
}

/// What one side writes, on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
struct Side {
    position: AtomicU32,
    /// How many bytes there are to be before it is woken; 0 if it is awake.
    sleeps: AtomicU32,
}

/// The positions are further apart than the stream is long, which no honest side brings about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

impl Flow {
    /// For the writer: where it writes next, and how many bytes there is room for.
    pub(crate) fn room(&self, own: &Position, capacity: u32) -> Result<(u32, u32), Overrun> {
        // ORDERING: Acquire; pairs with `consume`: the reader is done with that room.
        let read = self.reader.position.load(Ordering::Acquire);
        let unread = own.get().wrapping_sub(read);
        let room = capacity.checked_sub(unread).ok_or(Overrun)?;
        Ok((own.get(), room))
    }

    /// For the writer: `count` bytes were written. Some time later it asks `rouse_reader`.
    pub(crate) fn publish(&self, own: &Position, count: u32) {
        let written = own.advance(count);
        // ORDERING: Release; pairs with `filled`: the bytes are there.
        self.writer.position.store(written, Ordering::Release);
    }

    /// For the writer: true if it is to wake the reader, which sleeps, because there is as much as it
    /// sleeps for, or, with `for_anything`, because there is something.
    #[must_use]
    pub(crate) fn rouse_reader(&self, own: &Position, for_anything: bool) -> bool {
        self.reader.rouse(|wanted| {
            // ORDERING: Relaxed; the fence in `rouse` orders it, and no byte is touched for it.
            let unread = own.get().wrapping_sub(self.reader.position.load(Ordering::Relaxed));
            unread >= if for_anything { 1 } else { wanted }
        })
    }

    /// For the reader: where it reads next, and how many bytes are there.
    pub(crate) fn filled(&self, own: &Position, capacity: u32) -> Result<(u32, u32), Overrun> {
        // ORDERING: Acquire; pairs with `publish`.
        let written = self.writer.position.load(Ordering::Acquire);
        let filled = written.wrapping_sub(own.get());
        if filled <= capacity { Ok((own.get(), filled)) } else { Err(Overrun) }
    }

    /// For the reader: `count` bytes were read. True if it is to wake the writer.
    #[must_use]
    pub(crate) fn consume(&self, own: &Position, count: u32) -> bool {
        let read = own.advance(count);
        // ORDERING: Release; pairs with `room`: the bytes were read.
        self.reader.position.store(read, Ordering::Release);
        self.writer.rouse(|_| true)
    }

    /// For the reader: it means to sleep until there are so many bytes, at least 1. False, and it
    /// does not, if something is there now.
    #[must_use]
    pub(crate) fn reader_sleeps(&self, own: &Position, until: u32) -> bool {
        self.reader.falls_asleep(until, || {
            // ORDERING: Relaxed; the fences are what counts, and `filled` reads it again.
            self.writer.position.load(Ordering::Relaxed) == own.get()
        })
    }

    /// For the reader: it is awake, and need not be woken.
    pub(crate) fn reader_is_awake(&self) {
        self.reader.wakes();
    }

    /// For the writer: it means to sleep. False, and it does not, if there is room, or the reader's
    /// position is impossible.
    #[must_use]
    pub(crate) fn writer_sleeps(&self, own: &Position, capacity: u32) -> bool {
        self.writer.falls_asleep(1, || self.room(own, capacity).is_ok_and(|(_, room)| room == 0))
    }

    /// Where the writer sleeps: until it is not 1.
    #[cfg(not(concurrent_loom))]
    pub(crate) fn writer_futex(&self) -> &AtomicU32 {
        &self.writer.sleeps
    }
}

impl Side {
    /// For the other side, after it has published: true if this side sleeps, there is `enough` for
    /// it, and nobody else wakes it.
    fn rouse(&self, enough: impl FnOnce(u32) -> bool) -> bool {
        // ORDERING: SeqCst; between publishing and looking, see above.
        fence(Ordering::SeqCst);
        let wanted = self.sleeps.load(Ordering::Relaxed); // ORDERING: the fence orders it
        // ORDERING: Relaxed; it only decides who wakes it.
        wanted != 0 && enough(wanted) && self.sleeps.swap(0, Ordering::Relaxed) != 0
    }

    /// True if it sleeps now: there is `nothing` for it.
    fn falls_asleep(&self, until: u32, nothing: impl FnOnce() -> bool) -> bool {
        // ORDERING: Relaxed; the fence orders it. A swap, so that it is the newest value even if the
        // other side has just taken back an earlier one.
        self.sleeps.swap(until, Ordering::Relaxed);
        // ORDERING: SeqCst; between saying so and looking, see above.
        fence(Ordering::SeqCst);
        let sleeps = nothing();
        if !sleeps {
            self.wakes();
        }
        sleeps
    }

    fn wakes(&self) {
        self.sleeps.store(0, Ordering::Relaxed); // ORDERING: no more than a hint that saves a call
    }
}

#[cfg(concurrent_loom)]
impl Flow {
    /// At the beginning of a stream.
    pub(crate) fn new() -> Self {
        let side = || Side { position: AtomicU32::new(0), sleeps: AtomicU32::new(0) };
        Self { writer: side(), reader: side() }
    }
}
