//! [`Sink`]: the destination of encoded values.

use std::any::type_name;

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::depth::{Depth, TOO_DEEP, note_deep, on_large_stack};
use super::errors::reason;
#[cfg(feature = "mpi")]
use super::storage::HeapOnly;
use super::storage::{OutOfLineBlock, Storage};
use crate::error::{Error, Panic};
use crate::futures::remote::attachments::{Encoding, MOST_DESCRIPTORS};
use crate::futures::remote::segments::Arena;
use crate::futures::remote::shared_bytes::SharedBytes;
use crate::user_code::catch;

/// Encoded bytes: in the heap, or in a block of the storage.
#[derive(Debug)]
pub(crate) enum Payload<S: Storage = Arena> {
    Inline(Vec<u8>),
    OutOfLine(S::Block),
}

impl Payload {
    pub(crate) fn give_back(self, arena: &Arena) {
        if let Self::OutOfLine(segment) = self {
            arena.give_back(segment);
        }
    }
}

/// Why a value could not be encoded.
#[derive(Debug)]
pub(crate) enum EncodeError {
    TooLarge(u64),
    Failed(String),
}

impl EncodeError {
    /// The error of the call whose argument it was.
    pub(crate) fn of_argument(self) -> Error {
        match self {
            Self::TooLarge(limit) => Error::MessageTooLarge { limit },
            Self::Failed(text) => Error::Encode(format!("the argument: {text}").into()),
        }
    }
}

/// Collects encoded bytes: in the heap first, in the storage when there are many.
#[derive(Debug)]
pub(crate) struct Sink<'a, S: Storage = Arena> {
    payload: Payload<S>,
    /// Bytes that were in the vector before the payload.
    start: usize,
    /// The most bytes of a payload in the heap, unless the storage is exhausted.
    inline_limit: usize,
    /// The most bytes of a payload at all.
    limit: u64,
    /// Up to this length the vector takes bytes without a check.
    unchecked: usize,
    storage: &'a S,
    too_large: bool,
    /// Shared bytes whose descriptors accompany the payload.
    attachments: Vec<SharedBytes>,
}

#[cfg(feature = "mpi")]
impl Sink<'static, HeapOnly> {
    /// Appends everything to `out`. `limit` is at most `isize::MAX`.
    pub(crate) fn in_heap(out: Vec<u8>, limit: u64) -> Self {
        Self::new(out, isize::MAX.unsigned_abs(), limit, &HeapOnly)
    }

    /// The vector that was appended to.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let Payload::Inline(bytes) = self.payload;
        bytes
    }
}

impl<'a, S: Storage> Sink<'a, S> {
    /// Appends payloads of up to `inline_limit` bytes to `out`, and puts larger ones into `storage`.
    pub(crate) fn new(out: Vec<u8>, inline_limit: usize, limit: u64, storage: &'a S) -> Self {
        let start = out.len();
        let most = usize::try_from(limit).map_or(inline_limit, |limit| limit.min(inline_limit));
        Self {
            payload: Payload::Inline(out),
            start,
            inline_limit,
            limit,
            unchecked: start + most,
            storage,
            too_large: false,
            attachments: Vec::new(),
        }
    }

    pub(crate) fn into_parts(self) -> (Payload<S>, Vec<SharedBytes>) {
        (self.payload, self.attachments)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.payload {
            Payload::Inline(bytes) => bytes.len() - self.start,
            Payload::OutOfLine(block) => block.len(),
        }
    }

    /// Makes room for `more` bytes, moving to the storage if they are many.
    fn prepare(&mut self, more: usize) -> Option<()> {
        let wanted = self.len().checked_add(more)?;
        if wanted as u64 > self.limit {
            self.too_large = true;
            return None;
        }
        match &mut self.payload {
            Payload::Inline(bytes) if wanted > self.inline_limit => {
                match self.storage.take(wanted) {
                    Some(mut block) => {
                        let own = &bytes[self.start..];
                        block.extend(own.len())?.copy_from_slice(own);
                        bytes.truncate(self.start);
                        self.payload = Payload::OutOfLine(block);
                    }
                    None => bytes.reserve(more), // moved when it is sent
                }
            }
            Payload::Inline(_) | Payload::OutOfLine(_) => {}
        }
        Some(())
    }

    /// Appends bytes as they are.
    #[inline(always)] // as `append`
    pub(crate) fn put(&mut self, data: &[u8]) -> Result<(), EncodeError> {
        match self.append(data) {
            Some(()) => Ok(()),
            None => Err(self.error("")),
        }
    }

    // Inlined even where the compiler would not: most data is of a few bytes, whose number is known
    // then, and a call of `memcpy` would take longer than writing them.
    #[inline(always)]
    pub(crate) fn append(&mut self, data: &[u8]) -> Option<()> {
        if let Payload::Inline(bytes) = &mut self.payload {
            if bytes.len() + data.len() <= self.unchecked {
                bytes.extend_from_slice(data);
                return Some(());
            }
        }
        self.append_much(data)
    }

    #[cold]
    fn append_much(&mut self, data: &[u8]) -> Option<()> {
        self.prepare(data.len())?;
        match &mut self.payload {
            Payload::Inline(bytes) => bytes.extend_from_slice(data),
            Payload::OutOfLine(block) => block.extend(data.len())?.copy_from_slice(data),
        }
        Some(())
    }

    /// Makes room in the heap for about `bytes` bytes.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        if let Payload::Inline(payload) = &mut self.payload {
            payload.reserve(bytes.min(self.inline_limit));
        }
    }

    /// Begins an item of a chunk; returns its position.
    #[inline]
    pub(crate) fn begin_item(&mut self) -> Result<usize, EncodeError> {
        let at = self.len();
        self.put(&[0; 8])?;
        Ok(at)
    }

    /// Ends the item that begins at `at`: writes its length and a tag in front of it.
    #[inline]
    pub(crate) fn end_item(&mut self, at: usize, tag: u8) {
        let len = (self.len() - at - 8) as u64;
        self.overwrite(at, (len << 8 | u64::from(tag)).to_ne_bytes());
    }

    #[inline]
    fn overwrite(&mut self, at: usize, data: [u8; 8]) {
        match &mut self.payload {
            Payload::Inline(bytes) => {
                let at = self.start + at;
                bytes[at..at + 8].copy_from_slice(&data);
            }
            Payload::OutOfLine(block) => block.overwrite(at, &data),
        }
    }

    /// Forgets what was appended after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.too_large = false;
        match &mut self.payload {
            Payload::Inline(bytes) => bytes.truncate(self.start + len),
            Payload::OutOfLine(block) => block.truncate(len),
        }
    }

    fn error(&self, otherwise: &str) -> EncodeError {
        if self.too_large {
            EncodeError::TooLarge(self.limit)
        } else if otherwise.is_empty() {
            EncodeError::Failed("there is no shared memory for it".into())
        } else {
            EncodeError::Failed(otherwise.into())
        }
    }

    /// Appends `value`. After an error the caller must truncate the part that was appended.
    pub(crate) fn encode<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), EncodeError> {
        match catch(|| self.write(value)) {
            Ok(written) => written,
            Err(panic) => Err(EncodeError::Failed(self.panic_text::<T>(&panic))),
        }
    }

    /// Like [`encode`](Self::encode), but a panic of user code goes through.
    pub(crate) fn write<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), EncodeError> {
        if let Some(done) = self.encode_numbers(value) {
            return done.ok_or_else(|| self.error(""));
        }
        let (depth, len) = (Depth::new(), self.len());
        let written = self.write_within(value, &depth);
        if written.is_ok() || !depth.was_reached() {
            return written;
        }
        self.truncate(len);
        note_deep(true);
        let written = on_large_stack(|| {
            let depth = Depth::new();
            let written = self.write_within(value, &depth);
            if depth.was_reached() { Err(too_deep::<T>(TOO_DEEP)) } else { written }
        });
        written.unwrap_or_else(|no_stack| Err(too_deep::<T>(&no_stack)))
    }

    fn write_within<T: Serialize + 'static>(
        &mut self,
        value: &T,
        depth: &Depth,
    ) -> Result<(), EncodeError> {
        let attached = if S::ATTACHES { self.attachments.len() } else { MOST_DESCRIPTORS };
        let encoding = Encoding::begin(attached);
        let out = PostcardOut { sink: self, depth };
        let written = postcard::serialize_with_flavor::<T, _, ()>(value, out);
        if let Some(mut attached) = encoding.attached() {
            if !depth.was_reached() {
                self.attachments.append(&mut attached);
            }
        }
        written.map_err(|error| match error {
            postcard::Error::SerializeBufferFull => self.error(""), // from `PostcardOut`
            error => self.error(&format!("`{}`: {}", type_name::<T>(), reason(error))),
        })
    }

    pub(crate) fn panic_text<T>(&self, panic: &Panic) -> String {
        format!("`{}`: {panic}", type_name::<T>())
    }
}

/// The most bytes that postcard writes for a number of 64 bits.
const VARINT_MOST: usize = 10;

fn too_deep<T>(why: &str) -> EncodeError {
    EncodeError::Failed(format!("`{}`: {why}", type_name::<T>()))
}

struct PostcardOut<'a, 'b, S: Storage> {
    sink: &'a mut Sink<'b, S>,
    depth: &'a Depth,
}

impl<S: Storage> PostcardOut<'_, '_, S> {
    #[inline(always)]
    fn append(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.sink.append(data).ok_or(postcard::Error::SerializeBufferFull)
    }

    #[inline(always)]
    fn check_depth(&self) -> postcard::Result<()> {
        if self.depth.is_reached() { Err(postcard::Error::SerializeBufferFull) } else { Ok(()) }
    }
}

impl<S: Storage> Flavor for PostcardOut<'_, '_, S> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.check_depth()?;
        self.append(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.check_depth()?;
        if data.len() <= VARINT_MOST {
            // As above: for so few bytes a loop is faster than `memcpy`.
            return data.iter().try_for_each(|byte| self.append(&[*byte]));
        }
        self.append(data)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
