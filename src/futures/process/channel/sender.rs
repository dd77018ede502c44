//! The parent's end of the channel to one worker. Nothing here blocks.

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

/// What submitters and supervisors use of a channel, under the lock of the pool.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) pid: u32,
    /// Rung for the worker; `None` after it was told to end.
    bell: Option<OwnedFd>,
    socket: Arc<OwnedFd>,
    pidfd: OwnedFd,
    /// Wakes the supervisor.
    wake: Arc<OwnedFd>,
    page: Arc<SharedPage>,
    /// Our segments that the worker has.
    announced: Announced,
    /// Segments of the worker that were read, and whether they arrived; told with the next call.
    to_release: VecDeque<(u64, SegmentFate)>,
    /// Whether the supervisor watches the clock for the call that runs.
    pub(crate) armed: bool,
}

/// The most bytes in flight, so that there is always room for them, and for what is to be released.
pub(crate) const BUDGET: usize = CAPACITY as usize / 2 - REQUEST_LIMIT;

/// Bytes in flight that a payload in shared memory counts for: few are in flight at a time.
pub(crate) const OUT_OF_LINE_WEIGHT: usize = 12 * 1024;

/// What became of a segment of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentFate {
    Read,
    /// Its descriptor could not be received.
    Lost,
}

/// Why descriptors were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The worker has not received those before.
    NoRoom,
    /// The system has none to spare.
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

    /// Signals the worker. If the system refuses that, the worker is to end itself.
    pub(crate) fn signal(&self, signal: Signal) {
        if !send_signal(self.pidfd.as_fd(), signal) {
            let _ = shutdown(&self.socket, Shutdown::Both); // its watch sees that
        }
    }

    /// Wakes the worker; false if the system has no memory for that.
    pub(crate) fn ring(&self) -> bool {
        // If it has ended, its supervisor is about to see that.
        self.bell.as_ref().is_none_or(|bell| ring(bell) != Err(Errno::NOMEM))
    }

    /// Makes the supervisor look at the slot again.
    pub(crate) fn wake(&self) {
        wake(self.wake.as_fd());
    }

    /// The worker ends when it has read what was written.
    pub(crate) fn close(&mut self) {
        let mut stop = Vec::new();
        put(&mut stop, FrameKind::Stop, 0, &[]);
        let _ = self.write(&stop); // should there be no room, it sees that the channel is closed
        self.bell = None;
    }

    pub(crate) fn release_segment(&mut self, segment: u64, fate: SegmentFate) {
        self.to_release.push_back((segment, fate));
    }

    /// The worker could not receive this segment.
    pub(crate) fn not_received(&mut self, segment: u64) {
        self.announced.remove(segment);
    }

    /// How many bytes in flight a call will count for.
    pub(crate) fn weight(message: &Message) -> usize {
        match &message.payload {
            Payload::Inline(bytes) if bytes.len() <= INLINE_LIMIT => {
                HEADER + FunctionToken::BYTES + bytes.len()
            }
            Payload::Inline(_) | Payload::OutOfLine(_) => OUT_OF_LINE_WEIGHT,
        }
    }

    /// Appends what the worker is to know of segments.
    fn tidy(&mut self, out: &mut Vec<u8>) {
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

    /// Whether the worker keeps segments of ours, which may go at any time.
    pub(crate) fn has_announced(&self) -> bool {
        !self.announced.is_empty()
    }

    /// Tells the worker what it need not keep any more.
    pub(crate) fn ask_to_tidy(&mut self) -> Result<()> {
        let mut out = Vec::new();
        self.tidy(&mut out);
        if out.is_empty() { Ok(()) } else { self.write(&out) }
    }

    /// Appends the frame of a call to `out`. What goes over the socket is sent at once, so that
    /// it is there before the frame. After an error nothing was sent, and nothing is known of it.
    pub(crate) fn frame(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        message: &Message,
    ) -> std::result::Result<(), Unsent> {
        self.tidy(out);
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

    /// Sends descriptors without waiting; gives how many.
    fn send(&self, seq: u64, files: &[BorrowedFd<'_>]) -> std::result::Result<u8, Unsent> {
        if files.is_empty() {
            return Ok(0);
        }
        match send_files(self.socket.as_fd(), seq, files, false) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {} // its supervisor is about to see its end
            Err(Errno::AGAIN) => return Err(Unsent::NoRoom),
            Err(error) => return Err(Unsent::Refused(error)),
        }
        Ok(u8::try_from(files.len()).expect("at most FILES"))
    }

    /// Writes frames. An error if there was no room, which the budget excludes.
    pub(crate) fn write(&self, frames: &[u8]) -> Result<()> {
        let Some(bell) = &self.bell else { return Ok(()) };
        match self.page.requests().try_write(frames, || ring(bell)) {
            // Its supervisor is about to see its end, or to ring again.
            Ok(true) | Err(Errno::PIPE | Errno::NOMEM) => Ok(()),
            Ok(false) => Err(Errno::AGAIN),
            Err(error) => Err(error),
        }
    }
}
