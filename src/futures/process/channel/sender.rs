//! [`Sender`]: the parent's end of the channel to one worker. Nothing here blocks.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::{Errno, Result};
use rustix::net::{Shutdown, shutdown};
use rustix::process::Signal;

use super::fds::send_files;
use super::message::{INLINE_LIMIT, Message};
use super::ring::{CAPACITY, ring};
use super::shared_page::SharedPage;
use super::wake::{send_signal, wake};

use super::frame::{
    ANNOUNCED, HEADER, Header, ONCE, OUT_OF_LINE, REQUEST_LIMIT, put, put_with_files,
};
use crate::futures::remote::codec::Payload;
use crate::futures::remote::protocol::{FrameKind, FunctionToken, OutOfLine};
use crate::futures::remote::segments::Announced;

/// The part of a channel that submitters and supervisors use, under the lock of the pool.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) pid: u32,
    /// Wakes the worker; `None` after the worker was told to end.
    bell: Option<OwnedFd>,
    socket: Arc<OwnedFd>,
    pidfd: OwnedFd,
    /// Wakes the supervisor.
    wake: Arc<OwnedFd>,
    page: Arc<SharedPage>,
    /// The parent's segments that the worker has.
    announced: Announced,
    /// Segments of the worker that it gets back with the next call.
    to_release: VecDeque<(u64, SegmentFate)>,
    /// Whether the supervisor checks the time for the running call.
    pub(crate) armed: bool,
}

/// The most bytes in flight, so that there is always room for them, and for notes about segments.
pub(crate) const BUDGET: usize = CAPACITY as usize / 2 - REQUEST_LIMIT;

/// The bytes in flight that a payload in shared memory counts for, so that few are in flight at a time.
pub(crate) const OUT_OF_LINE_WEIGHT: usize = 12 * 1024;

/// Whether a segment of the worker arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentFate {
    Read,
    /// Its descriptor could not be received.
    Lost,
}

/// Why descriptors were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The worker has not received earlier ones.
    NoRoom,
    /// The system has refused it.
    Refused(Errno),
}

impl Sender {
    pub(crate) fn new(
        pid: u32,
        bell: OwnedFd,
        socket: Arc<OwnedFd>,
        pidfd: OwnedFd,
        wake: Arc<OwnedFd>,
        page: Arc<SharedPage>,
    ) -> Self {
        let (announced, to_release) = (Announced::default(), VecDeque::new());
        let bell = Some(bell);
        Self { pid, bell, socket, pidfd, wake, page, announced, to_release, armed: false }
    }

    pub(crate) fn page(&self) -> &Arc<SharedPage> {
        &self.page
    }

    /// Signals the worker. If the system refuses it, has the worker end itself.
    pub(crate) fn signal(&self, signal: Signal) {
        if !send_signal(self.pidfd.as_fd(), signal) {
            let _ = shutdown(&self.socket, Shutdown::Both); // a thread of the worker sees that
        }
    }

    /// Wakes the worker; false if the system has no memory for it.
    pub(crate) fn ring(&self) -> bool {
        // If the worker has ended, its supervisor is about to see it.
        self.bell.as_ref().is_none_or(|bell| ring(bell) != Err(Errno::NOMEM))
    }

    /// Makes the supervisor check the worker.
    pub(crate) fn wake(&self) {
        wake(self.wake.as_fd());
    }

    /// Tells the worker to end when it has read everything before.
    pub(crate) fn close(&mut self) {
        let mut stop = Vec::new();
        put(&mut stop, FrameKind::Stop, 0, &[]);
        let _ = self.write(&stop); // without room, the worker sees that the channel is closed
        self.bell = None;
    }

    /// Gives a segment back to the worker, with the next call.
    pub(crate) fn release_segment(&mut self, segment: u64, fate: SegmentFate) {
        self.to_release.push_back((segment, fate));
    }

    /// The worker did not receive a segment.
    pub(crate) fn not_received(&mut self, segment: u64) {
        self.announced.remove(segment);
    }

    /// The bytes in flight that a call will count for.
    pub(crate) fn weight(message: &Message) -> usize {
        match &message.payload {
            Payload::Inline(bytes) if bytes.len() <= INLINE_LIMIT => {
                HEADER + FunctionToken::BYTES + bytes.len()
            }
            Payload::Inline(_) | Payload::OutOfLine(_) => OUT_OF_LINE_WEIGHT,
        }
    }

    /// Appends notes about segments.
    fn put_segment_notes(&mut self, out: &mut Vec<u8>) {
        while let Some((segment, fate)) = self.to_release.pop_front() {
            let kind = match fate {
                SegmentFate::Read => FrameKind::Free,
                SegmentFate::Lost => FrameKind::Lost,
            };
            put(out, kind, segment, &[]);
        }
        while let Some(segment) = self.announced.surplus() {
            put(out, FrameKind::Forget, segment, &[]);
        }
    }

    /// Whether the worker keeps segments of the parent, which may be freed at any time.
    pub(crate) fn has_announced(&self) -> bool {
        !self.announced.is_empty()
    }

    /// Tells the worker which segments it need not keep any more.
    pub(crate) fn send_segment_notes(&mut self) -> Result<()> {
        let mut out = Vec::new();
        self.put_segment_notes(&mut out);
        if out.is_empty() { Ok(()) } else { self.write(&out) }
    }

    /// Appends the frame of a call to `out`. Its descriptors are sent at once, so that they are there before
    /// the frame. After an error nothing was sent, and nothing counts as announced.
    pub(crate) fn frame(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        message: &Message,
    ) -> std::result::Result<(), Unsent> {
        self.put_segment_notes(out);
        let token = message.token.to_bytes();
        let mut files: Vec<BorrowedFd<'_>> =
            message.attachments.iter().filter_map(|shared| shared.file()).collect();
        let mut header = Header { len: 0, kind: FrameKind::Call, flags: 0, files: 0, seq };
        match &message.payload {
            Payload::Inline(payload) => {
                header.files = self.send(seq, &files)?;
                put_with_files(out, header, &[&token, payload]);
            }
            Payload::OutOfLine(segment) => {
                header.flags = OUT_OF_LINE;
                let announces = !self.announced.has(segment);
                if announces {
                    header.flags |= ANNOUNCED;
                    files.push(segment.file());
                }
                header.files = self.send(seq, &files)?;
                if segment.is_used_once() {
                    header.flags |= ONCE;
                    self.announced.remove(segment.id());
                } else if announces {
                    self.announced.add(segment);
                }
                let place =
                    OutOfLine { segment: segment.id(), len: segment.len() as u64 }.to_bytes();
                put_with_files(out, header, &[&token, &place]);
            }
        }
        Ok(())
    }

    /// Sends descriptors without waiting; returns their number.
    fn send(&self, seq: u64, files: &[BorrowedFd<'_>]) -> std::result::Result<u8, Unsent> {
        if files.is_empty() {
            return Ok(0);
        }
        match send_files(self.socket.as_fd(), seq, files, false) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {} // its supervisor is about to see it
            Err(Errno::AGAIN) => return Err(Unsent::NoRoom),
            Err(error) => return Err(Unsent::Refused(error)),
        }
        Ok(u8::try_from(files.len()).expect("at most FILES"))
    }

    /// Writes frames. An error if there is no room, which the budget excludes.
    pub(crate) fn write(&self, frames: &[u8]) -> Result<()> {
        let Some(bell) = &self.bell else { return Ok(()) };
        match self.page.requests().try_write(frames, || ring(bell)) {
            // Its supervisor is about to see its end, or rings again.
            Ok(true) | Err(Errno::PIPE | Errno::NOMEM) => Ok(()),
            Ok(false) => Err(Errno::AGAIN),
            Err(error) => Err(error),
        }
    }
}
