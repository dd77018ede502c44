//! Who has written how much of a stream that lies in shared memory, who has read how much of it, and
//! who sleeps over it.
//!
//! One writer, one reader at a time. Each publishes its own position, and wakes the other only if
//! that one sleeps. Nobody falls asleep over what is there: a sleeper first says so and then looks
//! once more; the other first publishes and then looks whether somebody sleeps. The two fences between
//! saying and looking are in one order, so that one of the two sees the other.
//!
//! A reader may sleep until much has come, so that it is not woken for each little thing. The writer
//! wakes it for anything when it has no more to write for now; that it may be long until then is the
//! reader's concern, which looks at the clock.

#[cfg(not(concurrent_loom))]
use std::sync::atomic::{AtomicU32, Ordering, fence};

#[cfg(concurrent_loom)]
use loom::sync::atomic::{AtomicU32, Ordering, fence};

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

/// The positions are further apart than the stream is long, which no honest writer brings about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

impl Flow {
    /// For the writer: where it writes next, and how many bytes there is room for.
    pub(crate) fn room(&self, capacity: u32) -> (u32, u32) {
        // ORDERING: Relaxed; only the writer writes it.
        let written = self.writer.position.load(Ordering::Relaxed);
        // ORDERING: Acquire; pairs with `consume`: the reader is done with that room.
        let read = self.reader.position.load(Ordering::Acquire);
        (written, capacity.saturating_sub(written.wrapping_sub(read)))
    }

    /// For the writer: `count` bytes were written. Some time later it asks `rouse_reader`.
    pub(crate) fn publish(&self, count: u32) {
        // ORDERING: Relaxed; only the writer writes it.
        let written = self.writer.position.load(Ordering::Relaxed);
        // ORDERING: Release; pairs with `filled`: the bytes are there.
        self.writer.position.store(written.wrapping_add(count), Ordering::Release);
    }

    /// For the writer: true if it is to wake the reader, which sleeps, because there is as much as it
    /// sleeps for, or, with `for_anything`, because there is something.
    #[must_use]
    pub(crate) fn rouse_reader(&self, for_anything: bool) -> bool {
        self.reader.rouse(|wanted| {
            // ORDERING: Relaxed; the fence in `rouse` orders them, and no byte is touched for them.
            let written = self.writer.position.load(Ordering::Relaxed);
            let unread = written.wrapping_sub(self.reader.position.load(Ordering::Relaxed));
            unread >= if for_anything { 1 } else { wanted }
        })
    }

    /// For the reader: where it reads next, and how many bytes are there.
    pub(crate) fn filled(&self, capacity: u32) -> Result<(u32, u32), Overrun> {
        // ORDERING: Relaxed; only readers write it, one after the other.
        let read = self.reader.position.load(Ordering::Relaxed);
        // ORDERING: Acquire; pairs with `publish`.
        let written = self.writer.position.load(Ordering::Acquire);
        let filled = written.wrapping_sub(read);
        if filled <= capacity { Ok((read, filled)) } else { Err(Overrun) }
    }

    /// For the reader: `count` bytes were read. True if it is to wake the writer.
    #[must_use]
    pub(crate) fn consume(&self, count: u32) -> bool {
        // ORDERING: Relaxed; as in `filled`.
        let read = self.reader.position.load(Ordering::Relaxed);
        // ORDERING: Release; pairs with `room`: the bytes were read.
        self.reader.position.store(read.wrapping_add(count), Ordering::Release);
        self.writer.rouse(|_| true)
    }

    /// For the reader: it means to sleep until there are so many bytes, at least 1. False, and it
    /// does not, if something is there now.
    #[must_use]
    pub(crate) fn reader_sleeps(&self, until: u32) -> bool {
        self.reader.falls_asleep(until, || {
            // ORDERING: Relaxed; the fences are what counts, and `filled` reads it again.
            let written = self.writer.position.load(Ordering::Relaxed);
            written == self.reader.position.load(Ordering::Relaxed) // ORDERING: as in `filled`
        })
    }

    /// For the reader: it is awake, and need not be woken.
    pub(crate) fn reader_is_awake(&self) {
        self.reader.wakes();
    }

    /// For the writer: it means to sleep. False, and it does not, if there is room.
    #[must_use]
    pub(crate) fn writer_sleeps(&self, capacity: u32) -> bool {
        self.writer.falls_asleep(1, || self.room(capacity).1 == 0)
    }

    /// Where the writer sleeps: until it is not 1.
    #[cfg(not(concurrent_loom))]
    pub(crate) fn writer_bed(&self) -> &AtomicU32 {
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
