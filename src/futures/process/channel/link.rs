//! The parent's end of the channel to one worker. Nothing here blocks.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::{Errno, Result};
use rustix::process::Signal;

use super::page::Page;
use super::ring::{CAPACITY, ring};
use crate::futures::process::parent::receiver::Incoming;
use crate::futures::process::parent::spawn::{send_signal, send_with_files, wake};
use crate::futures::process::parent::task::{Message, NEAR};
use crate::futures::process::shm::segments::{Arena, Recent, Segment};
use crate::futures::remote::codec::Payload;
use crate::futures::remote::wire::{
    DESCRIPTORS, FAR, Far, HEADER, Kind, REQUEST_LIMIT, Token, put,
};

/// What submitters and supervisors use of a channel, under the lock of the pool.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) pid: u32,
    /// Rung for the worker; `None` after it was told to end.
    bell: Option<OwnedFd>,
    socket: Arc<OwnedFd>,
    pidfd: OwnedFd,
    incoming: Arc<Incoming>,
    page: Arc<Page>,
    /// The segments that the worker has mapped.
    known: Recent<()>,
    /// Segments of the worker that it may use again; told with the next call.
    owed: VecDeque<u64>,
    /// Whether the supervisor watches the clock for the call that runs.
    pub(crate) armed: bool,
}

/// The most bytes in flight, so that there is always room for them, and for what is owed.
pub(crate) const BUDGET: usize = CAPACITY as usize / 2 - REQUEST_LIMIT;

/// Bytes in flight that a payload in shared memory counts for: few are in flight at a time.
pub(crate) const FAR_WEIGHT: usize = 12 * 1024;

impl Link {
    pub(crate) fn new(
        pid: u32,
        bell: OwnedFd,
        socket: Arc<OwnedFd>,
        pidfd: OwnedFd,
        incoming: Arc<Incoming>,
        page: Arc<Page>,
    ) -> Self {
        let (known, owed) = (Recent::new(), VecDeque::new());
        let bell = Some(bell);
        Self { pid, bell, socket, pidfd, incoming, page, known, owed, armed: false }
    }

    pub(crate) fn page(&self) -> &Arc<Page> {
        &self.page
    }

    pub(crate) fn incoming(&self) -> &Arc<Incoming> {
        &self.incoming
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send_signal(self.pidfd.as_fd(), signal);
    }

    /// Makes the supervisor look at the slot again.
    pub(crate) fn wake(&self) {
        wake(self.incoming.wake());
    }

    /// The worker ends when it has read what was written.
    pub(crate) fn close(&mut self) {
        let mut stop = Vec::new();
        put(&mut stop, Kind::Stop, 0, 0, &[]);
        let _ = self.write(&stop); // should there be no room, it sees that the channel is closed
        self.bell = None;
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
        out: &mut Vec<u8>,
        seq: u64,
        message: &mut Message,
        arena: &Arena,
    ) -> Result<()> {
        while let Some(segment) = self.owed.pop_front() {
            put(out, Kind::Free, 0, segment, &[]);
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
                put(out, Kind::Call, flags, seq, &[&token, payload]);
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
                put(out, Kind::Call, flags, seq, &[&token, &far]);
            }
        }
        Ok(())
    }

    fn send_files(&self, seq: u64, files: &[BorrowedFd<'_>]) -> Result<()> {
        match send_with_files(self.socket.as_fd(), &seq.to_ne_bytes(), files) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()), // its supervisor is about to see its end
            sent => sent,
        }
    }

    /// Writes frames. An error if there was no room, which the budget excludes.
    pub(crate) fn write(&self, frames: &[u8]) -> Result<()> {
        let Some(bell) = &self.bell else { return Ok(()) };
        match self.page.requests().try_write(frames, || ring(bell)) {
            Ok(true) | Err(Errno::PIPE) => Ok(()), // its supervisor is about to see its end
            Ok(false) => Err(Errno::AGAIN),
            Err(error) => Err(error),
        }
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
