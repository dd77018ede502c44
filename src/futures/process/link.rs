//! The parent's end of the channel to one worker. Nothing here blocks.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::{Errno, Result};
use rustix::process::Signal;

use super::codec::Payload;
use super::page::Page;
use super::receiver::Incoming;
use super::segments::{Arena, Recent, Segment};
use super::spawn::{send_signal, send_with_files, wake};
use super::task::{Message, NEAR};
use super::wire::{DESCRIPTORS, FAR, Far, HEADER, Kind, REQUEST_LIMIT, Token, put};

/// What submitters and minders use of a channel, under the lock of the pool.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) pid: u32,
    /// `None` after the worker was told to end: it reads the end of the pipe.
    requests: Option<OwnedFd>,
    socket: Arc<OwnedFd>,
    pidfd: OwnedFd,
    incoming: Arc<Incoming>,
    page: Arc<Page>,
    /// The segments that the worker has mapped.
    known: Recent<()>,
    /// Segments of the worker that it may use again; told with the next call.
    owed: VecDeque<u64>,
    /// The most bytes in flight, so that a write always finds room.
    pub(crate) budget: usize,
    /// Whether the minder watches the clock for the call that runs.
    pub(crate) armed: bool,
}

/// Bytes in flight that a payload in shared memory counts for: few are in flight at a time.
pub(crate) const FAR_WEIGHT: usize = 12 * 1024;

impl Link {
    pub(crate) fn new(
        pid: u32,
        requests: OwnedFd,
        socket: Arc<OwnedFd>,
        pidfd: OwnedFd,
        incoming: Arc<Incoming>,
        page: Arc<Page>,
    ) -> Result<Self> {
        // Each write may leave nearly a page unused.
        let capacity = rustix::pipe::fcntl_getpipe_size(&requests)?;
        let budget = (capacity / 2).saturating_sub(REQUEST_LIMIT);
        let (known, owed) = (Recent::new(), VecDeque::new());
        let requests = Some(requests);
        Ok(Self { pid, requests, socket, pidfd, incoming, page, known, owed, budget, armed: false })
    }

    pub(crate) fn page(&self) -> &Arc<Page> {
        &self.page
    }

    pub(super) fn incoming(&self) -> &Arc<Incoming> {
        &self.incoming
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send_signal(self.pidfd.as_fd(), signal);
    }

    /// Makes the minder look at the slot again.
    pub(crate) fn wake(&self) {
        wake(self.incoming.wake());
    }

    /// The worker ends when it has read what is in the pipe.
    pub(crate) fn close(&mut self) {
        self.requests = None;
    }

    pub(crate) fn owe(&mut self, segment: u64) {
        self.owed.push_back(segment);
    }

    /// How many bytes in flight a call will count for.
    pub(crate) fn weight(message: &Message) -> usize {
        match &message.payload {
            Payload::Near(bytes) if bytes.len() <= NEAR => HEADER + Token::BYTES + bytes.len(),
            Payload::Near(_) | Payload::Far(_) => FAR_WEIGHT,
        }
    }

    /// Appends the frame of a call to `out`. What goes over the socket is sent at once, so that
    /// it is there before the frame.
    pub(crate) fn frame(
        &mut self,
        out: &mut Batch,
        seq: u64,
        message: &mut Message,
        arena: &Arena,
    ) -> Result<()> {
        while let Some(segment) = self.owed.pop_front() {
            out.push(|bytes| put(bytes, Kind::Free, 0, segment, &[]));
        }
        move_far(message, arena)?;
        let token = message.token.to_bytes();
        let attached: Vec<BorrowedFd<'_>> =
            message.attachments.iter().filter_map(|shared| shared.file()).collect();
        let mut flags = 0;
        match &message.payload {
            Payload::Near(payload) => {
                if !attached.is_empty() {
                    flags |= DESCRIPTORS;
                    self.send_files(seq, &attached)?;
                }
                out.push(|bytes| put(bytes, Kind::Call, flags, seq, &[&token, payload]));
            }
            Payload::Far(segment) => {
                flags |= FAR;
                let mut files = attached;
                if !self.known.touch(segment.id()) {
                    self.known.insert(segment.id(), ());
                    files.push(segment.file());
                }
                if !files.is_empty() {
                    flags |= DESCRIPTORS;
                    self.send_files(seq, &files)?;
                }
                let far = Far { segment: segment.id(), len: segment.len() as u64 }.to_bytes();
                out.push(|bytes| put(bytes, Kind::Call, flags, seq, &[&token, &far]));
            }
        }
        Ok(())
    }

    fn send_files(&self, seq: u64, files: &[BorrowedFd<'_>]) -> Result<()> {
        match send_with_files(self.socket.as_fd(), &seq.to_ne_bytes(), files) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()), // its minder is about to see its end
            sent => sent,
        }
    }

    /// Writes frames. An error if there was no room, which the budget excludes.
    pub(crate) fn write(&self, batch: &Batch) -> Result<()> {
        let Some(requests) = &self.requests else { return Ok(()) };
        for part in batch.parts() {
            match rustix::io::retry_on_intr(|| rustix::io::write(requests, part)) {
                Ok(written) if written == part.len() => {}
                Ok(_) => return Err(Errno::AGAIN),
                Err(Errno::PIPE) => return Ok(()), // its minder is about to see its end
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Moves a payload that is too long for a frame into shared memory.
fn move_far(message: &mut Message, arena: &Arena) -> Result<()> {
    let Payload::Near(bytes) = &message.payload else { return Ok(()) };
    if bytes.len() <= NEAR {
        return Ok(());
    }
    let mut segment: Segment = arena.take(bytes.len())?;
    segment.extend(bytes.len())?.copy_from_slice(bytes);
    message.payload = Payload::Far(segment);
    Ok(())
}

/// Frames to be written, cut so that each write is done as a whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    cuts: Vec<usize>,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.cuts.clear();
    }

    fn push(&mut self, frame: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        frame(&mut self.bytes);
        let start = self.cuts.last().copied().unwrap_or(0);
        if self.bytes.len() - start > REQUEST_LIMIT {
            self.cuts.push(before);
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain(std::iter::once(self.bytes.len()));
        starts.zip(ends).map(|(start, end)| &self.bytes[start..end]).filter(|p| !p.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_between_frames_into_atomic_writes() {
        let mut batch = Batch::default();
        for len in [100, 4000, 4096, 1, 2, 3000, 3000] {
            batch.push(|bytes| bytes.extend(std::iter::repeat_n(1, len)));
        }
        let lens: Vec<usize> = batch.parts().map(<[u8]>::len).collect();
        assert_eq!(lens, [100, 4000, 4096, 3003, 3000]);
        batch.clear();
        assert_eq!(batch.parts().count(), 0);
    }
}
