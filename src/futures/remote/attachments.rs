//! The descriptors of [`SharedBytes`], which accompany the bytes of a message.
//!
//! Serde has no room for them, so they pass through thread-locals while a thread encodes or decodes a
//! value. User code that serialises something else in between sees none of them.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;

use super::shared_bytes::SharedBytes;

/// Descriptors that came with a payload; each is taken once.
pub(crate) type Files = RefCell<Vec<Option<OwnedFd>>>;

/// The most descriptors that travel with one message; further shared bytes are copied.
pub(crate) const MOST_DESCRIPTORS: usize = 64;

thread_local! {
    /// While this thread encodes a value: the number of attachments that its message had before.
    static OUTSIDE: Cell<Option<usize>> = const { Cell::new(None) };
    /// Whether `OUTGOING` is not empty.
    static ATTACHED: Cell<bool> = const { Cell::new(false) };
    /// The shared bytes found so far in the value that this thread encodes.
    static OUTGOING: RefCell<Vec<SharedBytes>> = const { RefCell::new(Vec::new()) };
    /// Whether `INCOMING` may be not empty.
    static RECEIVING: Cell<bool> = const { Cell::new(false) };
    /// The descriptors that came with the value that this thread decodes.
    static INCOMING: RefCell<Vec<Option<OwnedFd>>> = const { RefCell::new(Vec::new()) };
    /// The error of the system that refused one of them: the format does not keep texts of errors.
    static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Exists while this thread encodes a value. It nearly always costs two flags: values are rarely
/// encoded within others, or have attachments.
pub(crate) struct Encoding {
    outer: Option<usize>,
    /// The attachments of the value around this one, if there is one.
    outer_list: Option<Vec<SharedBytes>>,
}

impl Encoding {
    /// `before` is the number of attachments that the message has already.
    #[inline]
    pub(crate) fn begin(before: usize) -> Self {
        let outer = OUTSIDE.replace(Some(before));
        Self { outer, outer_list: outer.map(|_| OUTGOING.take()) }
    }

    /// The attachments of the value.
    #[inline]
    pub(crate) fn attached(&self) -> Option<Vec<SharedBytes>> {
        ATTACHED.replace(false).then(|| OUTGOING.take())
    }
}

impl Drop for Encoding {
    #[inline]
    fn drop(&mut self) {
        if ATTACHED.replace(false) {
            drop(OUTGOING.take()); // after a panic
        }
        OUTSIDE.set(self.outer);
        if let Some(list) = self.outer_list.take() {
            ATTACHED.set(!list.is_empty());
            OUTGOING.set(list);
        }
    }
}

/// Exists while this thread decodes a value that may have come with descriptors.
pub(crate) struct Decoding<'a> {
    files: &'a Files,
    /// The state of the value around this one; `None` if there is neither one nor a descriptor.
    outer: Option<(bool, Vec<Option<OwnedFd>>)>,
}

impl<'a> Decoding<'a> {
    #[inline]
    pub(crate) fn begin(files: &'a Files) -> Self {
        let bare = !RECEIVING.get() && files.borrow().is_empty();
        let outer = (!bare).then(|| {
            REFUSED.take();
            (RECEIVING.replace(true), INCOMING.replace(files.take()))
        });
        Self { files, outer }
    }
}

impl Decoding<'_> {
    /// Why the system refused shared bytes, if it did.
    #[inline]
    pub(crate) fn refused(&self) -> Option<String> {
        self.outer.as_ref().and_then(|_| REFUSED.with_borrow(Option::clone))
    }
}

impl Drop for Decoding<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some((receiving, list)) = self.outer.take() {
            RECEIVING.set(receiving);
            self.files.replace(INCOMING.replace(list));
        }
    }
}

/// Attaches shared bytes to the message that is being encoded; returns their number in it.
pub(crate) fn add_outgoing(bytes: &SharedBytes) -> Option<u64> {
    let before = OUTSIDE.get()?;
    OUTGOING.with_borrow_mut(|list| {
        let number = before + list.len();
        if number >= MOST_DESCRIPTORS {
            return None;
        }
        list.push(bytes.clone());
        ATTACHED.set(true);
        Some(number as u64)
    })
}

/// Keeps the reason why the system refused a descriptor, and returns it.
pub(crate) fn note_refused(why: String) -> String {
    if RECEIVING.get() {
        REFUSED.set(Some(why.clone()));
    }
    why
}

/// Why the system refused shared bytes of the last value that came with some, if it did.
pub(crate) fn take_refused() -> Option<String> {
    REFUSED.take()
}

/// The descriptor with this number, once.
pub(crate) fn take_incoming(number: u64) -> Option<OwnedFd> {
    let number = usize::try_from(number).ok()?;
    INCOMING.with(|incoming| incoming.borrow_mut().get_mut(number)?.take())
}
