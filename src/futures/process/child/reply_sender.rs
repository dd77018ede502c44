//! [`ReplySender`]: the worker's end of the stream of replies, with the segments for large ones.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::main_loop::Lost;
use crate::futures::process::channel::fds::{TRIES, send_files};
use crate::futures::process::channel::frame::{
    ANNOUNCED, HEADER, Header, ONCE, OUT_OF_LINE, REPLY_LIMIT, put, put_with_files,
};
use crate::futures::process::channel::ring::ring_parent;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::StartFailure;
use crate::futures::remote::codec::Payload;
use crate::futures::remote::protocol::{FrameKind, OutOfLine, Text};
use crate::futures::remote::segments::{Announced, Arena, Segment};
use crate::futures::remote::shared_bytes::SharedBytes;

/// How long to wait before a system call is repeated that the system has refused.
pub(super) const REFUSED: Duration = Duration::from_millis(5);

/// Why a result was not sent.
enum UnsentReply {
    Lost(Lost),
    /// The system refused something; only this result is lost.
    Refused(String),
}

pub(crate) struct ReplySender {
    /// Wakes the parent.
    bell: OwnedFd,
    pub(super) socket: Arc<OwnedFd>,
    pub(super) page: Arc<SharedPage>,
    pub(super) arena: Arena,
    /// The worker's segments that the parent has.
    announced: Announced,
    /// The worker's segments that the parent has not read yet.
    outstanding: HashMap<u64, Segment>,
    out: Vec<u8>,
}

impl ReplySender {
    pub(super) fn new(socket: OwnedFd, bell: OwnedFd, page: Arc<SharedPage>) -> Self {
        Self {
            bell,
            socket: Arc::new(socket),
            page,
            arena: Arena::new(usize::MAX),
            announced: Announced::default(),
            outstanding: HashMap::new(),
            out: Vec::new(),
        }
    }

    /// A buffer for a result, with room for the header before it.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.resize(HEADER, 0);
        out
    }

    /// Sends a frame without descriptors.
    pub(super) fn send_frame(
        &mut self,
        kind: FrameKind,
        seq: u64,
        body: &[&[u8]],
    ) -> Result<(), Lost> {
        self.out.clear();
        put(&mut self.out, kind, seq, body);
        self.flush()
    }

    /// Reports that the system has refused something to this worker, so that a call did not run or its result
    /// is lost. `head` goes before the text.
    pub(super) fn send_refusal(
        &mut self,
        kind: FrameKind,
        seq: u64,
        head: &[u8],
        why: &str,
    ) -> Result<(), Lost> {
        let message = format!("{why}, in worker process {}", std::process::id());
        let text = Text { message, location: None };
        self.send_frame(kind, seq, &[head, &text.to_bytes()])
    }

    /// Reports that the system has refused the initializer's argument to this worker. The pool starts another
    /// one.
    pub(super) fn refuse_to_start(&self, why: String) -> Lost {
        let failure = StartFailure { refused: true, why };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = send(&self.socket, &failure.to_bytes(), flags);
        Lost("the argument of its initializer did not arrive")
    }

    /// Sends a result.
    pub(super) fn send_result(
        &mut self,
        seq: u64,
        payload: Payload,
        attached: &[SharedBytes],
    ) -> Result<(), Lost> {
        match self.put_result(seq, payload, attached) {
            Ok(()) => self.flush(),
            Err(UnsentReply::Lost(lost)) => Err(lost),
            Err(UnsentReply::Refused(why)) => self.send_refusal(FrameKind::Unsent, seq, &[], &why),
        }
    }

    /// Sends the descriptors of a result, and puts the frame into `out`.
    fn put_result(
        &mut self,
        seq: u64,
        payload: Payload,
        attached: &[SharedBytes],
    ) -> Result<(), UnsentReply> {
        let mut files: Vec<BorrowedFd<'_>> =
            attached.iter().filter_map(|shared| shared.file()).collect();
        let mut header = Header { len: 0, kind: FrameKind::Done, flags: 0, files: 0, seq };
        match self.fit(payload)? {
            Payload::Inline(mut out) => {
                header.files = self.send_files(seq, &files)?;
                let len = u32::try_from(out.len() - HEADER).expect("at most REPLY_LIMIT");
                out[..HEADER].copy_from_slice(&Header { len, ..header }.to_bytes());
                Header::seal(&mut out);
                self.out = out;
            }
            Payload::OutOfLine(mut segment) => {
                header.flags = OUT_OF_LINE;
                let announces = !self.announced.has(&segment);
                if announces {
                    header.flags |= ANNOUNCED;
                    files.push(segment.file());
                }
                header.files = match self.send_files(seq, &files) {
                    Ok(count) => count,
                    Err(unsent) => {
                        self.arena.give_back(segment);
                        return Err(unsent);
                    }
                };
                let place = OutOfLine { segment: segment.id(), len: segment.len() as u64 };
                if segment.is_used_once() {
                    header.flags |= ONCE;
                    self.announced.remove(segment.id());
                    self.arena.give_back(segment); // which frees it
                } else {
                    if announces {
                        self.announced.add(&segment);
                    }
                    segment.protect();
                    self.outstanding.insert(segment.id(), segment);
                }
                let mut out = std::mem::take(&mut self.out);
                out.clear();
                self.put_forgotten(&mut out);
                put_with_files(&mut out, header, &[&place.to_bytes()]);
                self.out = out;
            }
        }
        Ok(())
    }

    /// Moves a payload that is too long for a frame into shared memory: there was none before.
    fn fit(&self, payload: Payload) -> Result<Payload, UnsentReply> {
        let bytes = match &payload {
            Payload::Inline(out) if out.len() - HEADER > REPLY_LIMIT => &out[HEADER..],
            Payload::Inline(_) | Payload::OutOfLine(_) => return Ok(payload),
        };
        let len = bytes.len();
        let none =
            |error| UnsentReply::Refused(format!("no shared memory for {len} bytes: {error}"));
        self.arena.take_copy(bytes).map(Payload::OutOfLine).map_err(none)
    }

    /// Returns the number of descriptors.
    fn send_files(&self, seq: u64, files: &[BorrowedFd<'_>]) -> Result<u8, UnsentReply> {
        if files.is_empty() {
            return Ok(0);
        }
        match send_files(self.socket.as_fd(), seq, files, true) {
            Ok(()) => Ok(u8::try_from(files.len()).expect("at most FILES")),
            Err(error @ (Errno::PIPE | Errno::CONNRESET)) => Err(UnsentReply::Lost(error.into())),
            Err(error) => {
                Err(UnsentReply::Refused(format!("its descriptors could not be sent: {error}")))
            }
        }
    }

    /// The parent has read a segment, or did not receive it.
    pub(super) fn reclaim(&mut self, segment: u64) {
        if let Some(mut segment) = self.outstanding.remove(&segment) {
            match segment.unprotect() {
                Ok(()) => self.arena.give_back(segment),
                Err(_) => self.arena.discard(segment),
            }
        }
    }

    /// The parent did not receive the descriptor of a segment.
    pub(super) fn not_received(&mut self, segment: u64) {
        self.announced.remove(segment);
    }

    /// Releases memory that has not been used for a while, on both sides; returns when to do it next.
    pub(super) fn trim(&mut self) -> Result<Option<Instant>, Lost> {
        let next = self.arena.trim(Instant::now());
        let mut out = Vec::new();
        self.put_forgotten(&mut out);
        if !out.is_empty() {
            self.page.answers().write(&out, || self.ring())?;
            self.ring_for_anything()?;
        }
        Ok(next)
    }

    /// Appends the segments that the parent need not keep.
    fn put_forgotten(&mut self, out: &mut Vec<u8>) {
        while let Some(segment) = self.announced.surplus() {
            put(out, FrameKind::Forget, segment, &[]);
        }
    }

    /// Writes the frame in `out`. The parent reads at any time, so this ends.
    fn flush(&self) -> Result<(), Lost> {
        Ok(self.page.answers().write(&self.out, || self.ring())?)
    }

    /// Wakes the parent, if it sleeps until there are several replies and there is one.
    pub(super) fn ring_for_anything(&self) -> Result<(), Lost> {
        Ok(self.page.answers().ring_for_anything(|| self.ring())?)
    }

    /// Wakes the parent. If the system has no memory for it for long, the parent checks by itself later.
    fn ring(&self) -> rustix::io::Result<()> {
        for _ in 0..TRIES {
            match ring_parent(&self.bell) {
                Err(Errno::NOMEM) => std::thread::park_timeout(REFUSED),
                rung => return rung,
            }
        }
        Ok(())
    }
}
