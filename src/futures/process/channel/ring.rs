//! [`RingBuffer`]: a stream of bytes from one process to another, through shared memory.
//!
//! While the reader is awake, writing takes no system call. If it sleeps, the writer rings its bell: it
//! writes a byte to a pipe, which also tells the reader of the writer's end. It rings at once, unless the
//! reader wants to sleep until there are more bytes and the writer has more to write.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::thread::futex;

use super::flow::{Flow, Overrun, Position};
use crate::futures::sys::signals::write_quietly;

/// The most unread bytes. A power of two, because positions wrap.
pub(crate) const CAPACITY: u32 = 64 * 1024;

/// The error of a writer whose reader claims to have read bytes that were never written.
pub(crate) const OVERWRITTEN: Errno = Errno::PROTO;

/// How long a writer waits for room before it checks again, in case a wake-up is lost.
const LOOKS_AGAIN: Duration = Duration::from_millis(100);

/// The shared part of a stream. All zero is an empty stream.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Memory {
    flow: Flow,
    bytes: [AtomicU8; CAPACITY as usize],
}

/// The private positions of this process in a stream, of which it is the writer or the reader.
#[derive(Debug, Default)]
pub(crate) struct OwnEnd {
    pub(crate) written: Position,
    pub(crate) read: Position,
}

/// A stream as one of its sides sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingBuffer<'a> {
    memory: &'a Memory,
    own: &'a OwnEnd,
}

impl<'a> RingBuffer<'a> {
    pub(crate) fn new(memory: &'a Memory, own: &'a OwnEnd) -> Self {
        Self { memory, own }
    }

    /// For the writer: the number of bytes that it has written, modulo 2^32.
    pub(crate) fn written(self) -> u32 {
        self.own.written.get()
    }

    /// For the reader: the number of bytes that it has read, modulo 2^32.
    pub(crate) fn has_read(self) -> u32 {
        self.own.read.get()
    }

    fn room(self) -> Result<(u32, u32)> {
        self.memory.flow.room(&self.own.written, CAPACITY).map_err(|Overrun| OVERWRITTEN)
    }

    /// Writes all of `bytes`, and calls `ring` if the reader must be woken. Waits for the reader if there is
    /// no room.
    pub(crate) fn write(self, mut bytes: &[u8], ring: impl Fn() -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            let (position, room) = self.room()?;
            if room == 0 {
                self.ring_for_anything(&ring)?;
                self.wait_for_room()?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.put_all(position, now);
            bytes = later;
        }
        self.ring_if_due(false, ring)
    }

    /// Like [`write`](Self::write), but it does not wait: false, and nothing was written, if there is no room
    /// for all of `bytes`.
    pub(crate) fn try_write(self, bytes: &[u8], ring: impl FnOnce() -> Result<()>) -> Result<bool> {
        let (position, room) = self.room()?;
        if bytes.len() > room as usize {
            return Ok(false);
        }
        self.put_all(position, bytes);
        self.ring_if_due(false, ring)?;
        Ok(true)
    }

    /// For a writer that has no more to write for now: wakes the reader, if it sleeps until there are more
    /// bytes and there are some.
    pub(crate) fn ring_for_anything(self, ring: impl FnOnce() -> Result<()>) -> Result<()> {
        self.ring_if_due(true, ring)
    }

    fn ring_if_due(self, for_anything: bool, ring: impl FnOnce() -> Result<()>) -> Result<()> {
        let rings = self.memory.flow.must_wake_reader(&self.own.written, for_anything);
        if rings { ring() } else { Ok(()) }
    }

    /// Reads as many bytes as there are and fit; returns their number.
    pub(crate) fn read(self, into: &mut [u8]) -> std::result::Result<usize, Overrun> {
        let (position, filled) = self.memory.flow.filled(&self.own.read, CAPACITY)?;
        if filled == 0 {
            return Ok(0);
        }
        let count = into.len().min(filled as usize);
        let (start, end) = into[..count].split_at_mut(count.min(until_wrap(position)));
        self.memory.get(position, start);
        self.memory.get(0, end);
        self.consume(length(&into[..count]));
        Ok(count)
    }

    fn consume(self, count: u32) {
        if self.memory.flow.consume(&self.own.read, count) {
            let word = self.memory.flow.writer_futex();
            let _ = futex::wake(word, futex::Flags::empty(), 1); // no error: it is mapped
        }
    }

    /// For the reader: publishes its position once more. If it was overwritten, the writer may wait for room
    /// that is there.
    pub(crate) fn repeat(self) {
        self.consume(0);
    }

    /// For the reader: arms its bell. The writer rings when there are `until` bytes, or some and it has no more
    /// to write for now. False if there is something to read already.
    #[must_use]
    pub(crate) fn arm_bell(self, until: u32) -> bool {
        self.memory.flow.prepare_reader_sleep(&self.own.read, until.clamp(1, CAPACITY / 2))
    }

    /// For the reader: the writer need not ring.
    pub(crate) fn reader_is_awake(self) {
        self.memory.flow.reader_is_awake();
    }

    fn wait_for_room(self) -> Result<()> {
        let flow = &self.memory.flow;
        if !flow.prepare_writer_sleep(&self.own.written, CAPACITY) {
            return Ok(());
        }
        let again = Timespec::try_from(LOOKS_AGAIN).ok();
        match futex::wait(flow.writer_futex(), futex::Flags::empty(), 1, again.as_ref()) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(()), // the caller checks
            Err(error) => Err(error),
        }
    }

    /// Writes and publishes bytes that there is room for.
    fn put_all(self, position: u32, bytes: &[u8]) {
        let (start, end) = bytes.split_at(bytes.len().min(until_wrap(position)));
        self.memory.put(position, start);
        self.memory.put(0, end);
        self.memory.flow.publish(&self.own.written, length(bytes));
    }
}

impl Memory {
    fn put(&self, position: u32, bytes: &[u8]) {
        let to = self.at(position, bytes.len()).cast_mut();
        // SAFETY: `at` has checked that the range is in the ring, whose bytes are atomics and so may
        // change behind `&self`. No side reads the range: `room` said that the reader is done with it,
        // and it does not come back before `publish`. One writer follows the other.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    fn get(&self, position: u32, bytes: &mut [u8]) {
        let from = self.at(position, bytes.len());
        // SAFETY: as in `put`; `filled` said that these bytes are written, and the writer does not
        // come back before `consume`. A writer that breaks this garbles its own message: these are
        // bytes, which are copied here before anything looks at them.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// The address of `len` bytes at `position`, which do not wrap.
    fn at(&self, position: u32, len: usize) -> *const u8 {
        let start = (position % CAPACITY) as usize;
        self.bytes[start..start + len].as_ptr().cast()
    }
}

/// The number of bytes from a position to the end of the memory.
fn until_wrap(position: u32) -> usize {
    (CAPACITY - position % CAPACITY) as usize
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("no more than CAPACITY")
}

/// Wakes the reader whose bell this is.
pub(crate) fn ring(bell: &OwnedFd) -> Result<()> {
    rung(write_quietly(bell, &[0]))
}

/// As [`ring`], in a worker, with one system call for three: if SIGPIPE ends it, its parent has ended
/// before.
pub(crate) fn ring_parent(bell: &OwnedFd) -> Result<()> {
    rung(retry_on_intr(|| rustix::io::write(bell, &[0])))
}

fn rung(written: Result<usize>) -> Result<()> {
    match written {
        Ok(_) | Err(Errno::AGAIN) => Ok(()), // full: the reader is woken already
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::process::channel::shared_page::SharedPage;
    use proptest::prelude::{any, proptest};

    fn page() -> SharedPage {
        SharedPage::new().unwrap().0
    }

    fn silent() -> Result<()> {
        panic!("nobody sleeps")
    }

    proptest! {
        /// However it is cut into writes and reads, the same bytes come out.
        #[test]
        fn bytes_survive_any_cutting(
            pieces in proptest::collection::vec((any::<u8>(), 1..40_000usize), 1..20),
            reads in proptest::collection::vec(1..50_000usize, 1..20),
        ) {
            let (page, mut reads) = (page(), reads.iter().cycle());
            let ring = page.answers();
            let (mut written, mut read) = (Vec::new(), Vec::new());
            let mut read_some = |ring: RingBuffer<'_>, read: &mut Vec<u8>| {
                let mut bytes = vec![0; *reads.next().unwrap()];
                let count = ring.read(&mut bytes).unwrap();
                read.extend_from_slice(&bytes[..count]);
                count
            };
            for (byte, len) in pieces {
                let piece: Vec<u8> = (0..len).map(|n| byte.wrapping_add(n as u8)).collect();
                while !ring.try_write(&piece, silent).unwrap() {
                    assert!(read_some(ring, &mut read) > 0);
                }
                written.extend(piece);
            }
            while read_some(ring, &mut read) > 0 {}
            assert!(read == written);
        }
    }

    #[test]
    fn a_writer_waits_for_room_and_a_reader_sleeps_until_it_is_rung_for() {
        let page = std::sync::Arc::new(page());
        let ring = page.answers();
        let (own_bell, bell) = rustix::pipe::pipe().unwrap();
        let other = std::sync::Arc::clone(&page);
        let writer = std::thread::spawn(move || {
            let piece = [7; 3 * CAPACITY as usize / 2];
            (0..50).for_each(|_| other.answers().write(&piece, || super::ring(&bell)).unwrap());
            other.answers().ring_for_anything(|| super::ring(&bell)).unwrap();
        });
        let (mut total, mut bytes) = (0, vec![0; 10_000]);
        while total < 75 * CAPACITY as usize {
            match ring.read(&mut bytes).unwrap() {
                0 if ring.arm_bell(1000) => {
                    assert!(rustix::io::read(&own_bell, &mut [0; 8]).unwrap() > 0);
                }
                count => total += count,
            }
        }
        assert_eq!(total, 75 * CAPACITY as usize);
        writer.join().unwrap();
    }

    #[test]
    fn a_writer_that_takes_the_stream_for_full_is_told_again_what_was_read() {
        let (parent, file) = SharedPage::new().unwrap();
        let worker = SharedPage::open(std::os::fd::AsFd::as_fd(&file)).unwrap();
        let mut bytes = vec![0; 2 * CAPACITY as usize];
        let quiet = || Ok(());
        // Full, and read; but in the worker a stray write undoes that.
        worker.answers().write(&[1; CAPACITY as usize], quiet).unwrap();
        assert_eq!(parent.answers().read(&mut bytes).unwrap(), CAPACITY as usize);
        let _ = worker.answers().memory.flow.consume(&Position::default(), 0);
        assert!(!worker.answers().try_write(&[2], quiet).unwrap());
        assert_eq!(parent.answers().read(&mut bytes).unwrap(), 0);
        assert!(!worker.answers().try_write(&[2], quiet).unwrap());
        parent.answers().repeat();
        assert!(worker.answers().try_write(&[2], quiet).unwrap());
        assert_eq!(parent.answers().read(&mut bytes).unwrap(), 1);
    }

    #[test]
    fn what_does_not_fit_is_not_written_at_all() {
        let page = page();
        let ring = page.answers();
        assert!(ring.try_write(&[1; CAPACITY as usize - 1], silent).unwrap());
        assert!(!ring.try_write(&[2; 2], silent).unwrap());
        assert!(ring.try_write(&[3], silent).unwrap());
        let mut bytes = [0; CAPACITY as usize];
        assert_eq!(ring.read(&mut bytes).unwrap(), bytes.len());
        assert_eq!((bytes[bytes.len() - 2], bytes[bytes.len() - 1]), (1, 3));
    }
}
