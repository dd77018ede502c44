//! Inputs as streams of frames, with orders in between.
//!
//! The first byte has flags for the whole stream. An order looks like a frame, with a kind that no frame has.
//! The bytes behind the last complete frame are written as they are.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{LIMIT, file};
use crate::futures::process::channel::fds::{FILES, send_with_files};
use crate::futures::process::channel::frame::{HEADER, Header};

/// In the first byte: frames are written as they are, even if their checksums are wrong.
pub(super) const AS_IT_IS: u8 = 1;
/// In the first byte: frames come in two parts.
pub(super) const IN_PARTS: u8 = 2;

/// Events besides frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ScriptOrder {
    /// A call is submitted: `seq` selects the function, the body is the argument.
    Submit = 0xe0,
    /// The call numbered `seq` is cancelled.
    Cancel,
    /// The call numbered `seq` is killed.
    Kill,
    /// The worker claims the call of number `seq`.
    Begin,
    /// Makes the next descriptor, of kind `flags`. Its content is the body, repeated up to `seq` bytes.
    File,
    /// The body is sent over the socket, with `files` descriptors.
    Message,
    /// The body is written into the page at `seq`.
    Poke,
    /// The time limits are checked.
    Clock,
    /// The worker closes its bell.
    Leave,
    /// Calls that have not started are cancelled.
    CancelAll,
    /// The pool takes no more calls.
    Close,
    /// The pool ends its workers.
    Terminate,
    /// Takes the call of number `seq` back.
    Revoke,
}

impl ScriptOrder {
    const FIRST: u8 = Self::Submit as u8;

    fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [ScriptOrder; 13] = [
            ScriptOrder::Submit,
            ScriptOrder::Cancel,
            ScriptOrder::Kill,
            ScriptOrder::Begin,
            ScriptOrder::File,
            ScriptOrder::Message,
            ScriptOrder::Poke,
            ScriptOrder::Clock,
            ScriptOrder::Leave,
            ScriptOrder::CancelAll,
            ScriptOrder::Close,
            ScriptOrder::Terminate,
            ScriptOrder::Revoke,
        ];
        ALL.get(usize::from(byte.checked_sub(Self::FIRST)?)).copied()
    }
}

/// A frame or an order.
#[derive(Debug)]
pub(super) struct ScriptStep {
    /// All bytes, including the header.
    pub(super) bytes: Vec<u8>,
    pub(super) order: Option<ScriptOrder>,
}

impl ScriptStep {
    fn header(&self) -> [u8; HEADER] {
        self.bytes.first_chunk().copied().unwrap_or_default()
    }

    pub(super) fn kind(&self) -> u8 {
        self.header()[4]
    }

    pub(super) fn flags(&self) -> u8 {
        self.header()[5]
    }

    pub(super) fn files(&self) -> u8 {
        self.header()[6]
    }

    pub(super) fn seq(&self) -> u64 {
        let mut seq = [0; 8];
        seq.copy_from_slice(&self.header()[8..16]);
        u64::from_ne_bytes(seq)
    }

    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or(&[])
    }

    pub(super) fn body_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(HEADER..).unwrap_or(&mut [])
    }

    pub(super) fn is_sealed(&self) -> bool {
        let frame = self.bytes.split_first_chunk();
        frame.is_some_and(|(head, body)| Header::check(head, body).is_ok())
    }

    pub(super) fn seal(&mut self) {
        Header::seal(&mut self.bytes);
    }
}

/// The first byte, and the steps.
pub(super) fn steps(input: &[u8]) -> (u8, Vec<ScriptStep>) {
    let (first, mut rest) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
    let mut steps = Vec::new();
    while let Some(len) = rest.first_chunk().map(|len| u32::from_ne_bytes(*len) as usize) {
        let Some((frame, behind)) = rest.split_at_checked(HEADER.saturating_add(len)) else {
            break;
        };
        rest = behind;
        let mut step =
            ScriptStep { bytes: frame.to_vec(), order: ScriptOrder::from_byte(frame[4]) };
        if step.order.is_none() && first & AS_IT_IS == 0 {
            step.seal();
        }
        steps.push(step);
    }
    if !rest.is_empty() {
        steps.push(ScriptStep { bytes: rest.to_vec(), order: None });
    }
    (first, steps)
}

/// The descriptors that belong to frames.
#[derive(Debug, Default)]
pub(super) struct ScriptFiles(VecDeque<OwnedFd>);

impl ScriptFiles {
    pub(super) fn add(&mut self, order: &ScriptStep) {
        let len = usize::try_from(order.seq()).unwrap_or(0).min(2 * LIMIT as usize);
        let content = order.body();
        let len = if content.is_empty() { 0 } else { len.max(content.len()) };
        let content: Vec<u8> = content.iter().copied().cycle().take(len).collect();
        self.0.extend(file(order.flags(), &content).ok());
    }

    /// Sends a message with `count` descriptors: those that were made for it, or the socket itself.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, text: &[u8], count: u8) {
        let count = usize::from(count).min(FILES);
        let own: Vec<_> = self.0.drain(..count.min(self.0.len())).collect();
        let mut files: Vec<BorrowedFd<'_>> = own.iter().map(AsFd::as_fd).collect();
        files.resize(count, socket);
        let _ = send_with_files(socket, text, &files, false);
    }
}
