//! [`SharedPage`]: the memory that a worker and its parent share, with the two streams between them, the
//! claims of calls, and the worker's last message.
//!
//! A call in flight must run in the worker or be taken back by the parent, never both. Each call has a word
//! in the page, which both sides try to change from PENDING: one of them succeeds.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use rustix::io::Result;

use super::ring::{Memory, OwnEnd, RingBuffer};
use crate::futures::remote::protocol::cut;
use crate::futures::sys::mapping::{Mapping, memory_file};

/// The most calls in flight to one worker.
pub(crate) const MAX_DEPTH: usize = 128;

/// Twice as many words as calls in flight, so that a word is not used again too early.
const WORDS: usize = 2 * MAX_DEPTH;
const MESSAGE_LIMIT: usize = 2048;

const PENDING: u32 = 0;
const BEGUN: u32 = 1;
const REVOKED: u32 = 2;

/// The layout. All fields are atomic because another process writes to them at any time.
#[repr(C)]
struct Layout {
    claims: [AtomicU32; WORDS],
    message_len: AtomicU32,
    panic_message: [AtomicU8; MESSAGE_LIMIT],
    requests: Memory,
    answers: Memory,
}

#[derive(Debug)]
pub(crate) struct SharedPage {
    mapping: Mapping,
    /// The positions of this side, where the other side cannot write.
    requests: OwnEnd,
    answers: OwnEnd,
}

impl SharedPage {
    /// Makes a page, and the file through which the other side maps it.
    pub(crate) fn new() -> Result<(Self, OwnedFd)> {
        let file = memory_file(size_of::<Layout>())?;
        Ok((Self::open(file.as_fd())?, file))
    }

    pub(crate) fn open(file: BorrowedFd<'_>) -> Result<Self> {
        let mapping = Mapping::between_guards(file, size_of::<Layout>())?;
        Ok(Self { mapping, requests: OwnEnd::default(), answers: OwnEnd::default() })
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping has the size of the layout, is aligned to a page, lives as long as
        // `self`, and every bit pattern is valid; all access is atomic.
        unsafe { &*self.mapping.as_ptr().cast::<Layout>() }
    }

    fn word(&self, seq: u64) -> &AtomicU32 {
        let index = usize::try_from(seq % WORDS as u64).expect("less than WORDS");
        &self.layout().claims[index]
    }

    /// In the parent, before the call is sent.
    pub(crate) fn offer(&self, seq: u64) {
        // ORDERING: Relaxed; the frame that is published afterwards orders it for the worker.
        self.word(seq).store(mark(seq, PENDING), Ordering::Relaxed);
    }

    /// In the worker, before it runs the call; false if the call was taken back.
    pub(crate) fn begin(&self, seq: u64) -> bool {
        self.claim(seq, BEGUN)
    }

    /// In the parent: takes the call back; false if the worker has begun it.
    pub(crate) fn revoke(&self, seq: u64) -> bool {
        self.claim(seq, REVOKED) || self.is_revoked(seq)
    }

    /// In the parent, after the end of the worker: whether it may have begun the call. A word that neither side
    /// has written counts as begun.
    pub(crate) fn may_have_begun(&self, seq: u64) -> bool {
        !self.is(seq, PENDING) && !self.is(seq, REVOKED)
    }

    /// In the parent: whether the call was taken back.
    pub(crate) fn is_revoked(&self, seq: u64) -> bool {
        self.is(seq, REVOKED)
    }

    /// In the parent: whether the worker has begun the call.
    pub(crate) fn has_begun(&self, seq: u64) -> bool {
        self.is(seq, BEGUN)
    }

    fn claim(&self, seq: u64, by: u32) -> bool {
        // ORDERING: AcqRel; the side that fails sees all that the other one did before.
        let (old, new) = (mark(seq, PENDING), mark(seq, by));
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        self.word(seq).compare_exchange(old, new, success, failure).is_ok()
    }

    fn is(&self, seq: u64, state: u32) -> bool {
        // ORDERING: Acquire; pairs with `claim` in the other process.
        self.word(seq).load(Ordering::Acquire) == mark(seq, state)
    }

    /// The stream from the parent to the worker.
    pub(crate) fn requests(&self) -> RingBuffer<'_> {
        RingBuffer::new(&self.layout().requests, &self.requests)
    }

    /// The stream from the worker to the parent.
    pub(crate) fn answers(&self) -> RingBuffer<'_> {
        RingBuffer::new(&self.layout().answers, &self.answers)
    }

    /// In the worker: leaves a message for the parent to report, such as that of a panic.
    pub(crate) fn say(&self, message: &str) {
        let message = cut(message, MESSAGE_LIMIT);
        let layout = self.layout();
        for (to, from) in layout.panic_message.iter().zip(message.bytes()) {
            // ORDERING: Relaxed; read after the process has ended.
            to.store(from, Ordering::Relaxed);
        }
        let len = u32::try_from(message.len()).expect("just cut to less");
        layout.message_len.store(len, Ordering::Relaxed);
    }

    /// In the parent, after the worker has ended.
    pub(crate) fn panic_message(&self) -> Option<String> {
        let layout = self.layout();
        // ORDERING: Relaxed; the process that wrote it has ended.
        let len = layout.message_len.load(Ordering::Relaxed) as usize;
        let bytes = layout.panic_message.iter().take(len).map(|byte| byte.load(Ordering::Relaxed));
        // If it is no text, it was overwritten.
        let message = String::from_utf8(bytes.collect()).ok()?;
        (!message.is_empty()).then_some(message)
    }
}

/// The word of call `seq` in a state; it differs for calls that share a word.
fn mark(seq: u64, state: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits tell calls apart")]
    let low = seq as u32;
    low << 2 | state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_begun_or_taken_back_never_both() {
        let (parent, file) = SharedPage::new().unwrap();
        let worker = SharedPage::open(file.as_fd()).unwrap();
        parent.offer(1);
        parent.offer(2);
        assert!(worker.begin(1));
        assert!(!parent.revoke(1));
        assert!(parent.has_begun(1) && !parent.has_begun(2));
        assert!(parent.revoke(2) && parent.revoke(2));
        assert!(!worker.begin(2));
        let later = 2 + WORDS as u64;
        parent.offer(later);
        assert!(!worker.begin(2) && worker.begin(later));
    }

    #[test]
    fn a_message_is_cut_and_kept() {
        let (page, _file) = SharedPage::new().unwrap();
        assert_eq!(page.panic_message(), None);
        page.say(&"x".repeat(MESSAGE_LIMIT + 5));
        assert_eq!(page.panic_message().unwrap().len(), MESSAGE_LIMIT);
        page.say("short");
        assert_eq!(page.panic_message().unwrap(), "short");
        page.layout().panic_message[0].store(0xff, Ordering::Relaxed);
        page.layout().message_len.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(page.panic_message(), None);
    }
}
