//! [`Source`]: the bytes that values are decoded from.

use std::any::type_name;
use std::cell::OnceCell;
use std::mem::MaybeUninit;

use postcard::Deserializer;
use postcard::de_flavors;
use serde::de::DeserializeOwned;

use super::depth::{Depth, SHALLOW, TOO_DEEP, note_deep, on_large_stack};
use super::errors::reason;
use super::items::{CountsItems, Items, TOO_MANY};
use super::numbers::{copy_numbers, decode_numbers, decode_out_of_line_numbers};
use crate::futures::remote::attachments::{Decoding, Files};
use crate::user_code::catch;

/// Bytes in memory that other processes may write to.
pub(crate) trait OutOfLineBytes {
    fn len(&self) -> u64;

    /// Copies all of them; returns the part of `into` that was filled.
    fn read<'a>(&self, into: &'a mut [MaybeUninit<u8>]) -> std::io::Result<&'a mut [u8]>;
}

/// A payload that is copied, at most once, before it is decoded.
pub(crate) struct OutOfLinePayload<'a> {
    bytes: &'a dyn OutOfLineBytes,
    copy: OnceCell<Vec<u8>>,
}

impl<'a> OutOfLinePayload<'a> {
    pub(crate) fn new(bytes: &'a dyn OutOfLineBytes) -> Self {
        Self { bytes, copy: OnceCell::new() }
    }

    fn copy(&self) -> Result<&[u8], String> {
        if let Some(copy) = self.copy.get() {
            return Ok(copy);
        }
        let copy = copy_numbers::<u8>(self.bytes)?;
        Ok(self.copy.get_or_init(|| copy))
    }
}

impl std::fmt::Debug for OutOfLinePayload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutOfLinePayload").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Encoded bytes, and the descriptors that came with them.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    files: &'a Files,
    /// `None` when it was copied to `bytes`.
    out_of_line: Option<&'a OutOfLinePayload<'a>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8], files: &'a Files) -> Self {
        Self { bytes, files, out_of_line: None }
    }

    /// From a payload that must be copied first.
    pub(crate) fn out_of_line(payload: &'a OutOfLinePayload<'a>, files: &'a Files) -> Self {
        Self { bytes: &[], files, out_of_line: Some(payload) }
    }

    /// Copies the payload, before a part of it is taken.
    pub(crate) fn load(&mut self) -> Result<(), String> {
        if let Some(payload) = self.out_of_line.take() {
            self.bytes = payload.copy()?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let parts = usize::try_from(len).ok().and_then(|len| self.bytes.split_at_checked(len));
        let (taken, rest) = parts.ok_or("payload too short")?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn take_u64(&mut self) -> Result<u64, String> {
        let bytes = self.take(8)?;
        Ok(u64::from_ne_bytes(bytes.try_into().expect("just took 8 bytes")))
    }

    /// The next `len` bytes, as a source of their own.
    #[inline]
    pub(crate) fn part(&mut self, len: u64) -> Result<Source<'a>, String> {
        Ok(Source { bytes: self.take(len)?, files: self.files, out_of_line: None })
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next item of a chunk, and its tag.
    #[inline]
    pub(crate) fn item(&mut self) -> Result<(u8, Source<'a>), String> {
        let head = self.take_u64()?;
        Ok((head as u8, self.part(head >> 8)?))
    }

    /// Decodes everything that is left.
    pub(crate) fn decode<T: DeserializeOwned + 'static>(&self) -> Result<T, String> {
        catch(|| self.read())
            .unwrap_or_else(|panic| Err(format!("`{}`: {panic}", type_name::<T>())))
    }

    /// Like [`decode`](Self::decode), but a panic of user code goes through.
    pub(crate) fn read<T: DeserializeOwned + 'static>(&self) -> Result<T, String> {
        let bytes = match self.out_of_line {
            Some(payload) => {
                if let Some(numbers) = decode_out_of_line_numbers(payload.bytes) {
                    return numbers;
                }
                payload.copy()?
            }
            None => self.bytes,
        };
        if let Some(numbers) = decode_numbers(bytes) {
            return numbers;
        }
        // Each descriptor is taken once, so a value with some cannot be read a second time.
        let once = !self.files.borrow().is_empty();
        let depth = Depth::new();
        if !once {
            let read = self.read_within(bytes, &depth);
            if !depth.was_reached() {
                return read;
            }
        }
        // Each level takes at least one byte.
        note_deep(!once || bytes.len() > SHALLOW);
        on_large_stack(|| self.read_to(bytes, TOO_DEEP))
            .unwrap_or_else(|no_stack| self.read_to(bytes, &no_stack))
    }

    /// Reads on this stack; an error if it is too small.
    fn read_to<T: DeserializeOwned + 'static>(
        &self,
        bytes: &[u8],
        too_deep: &str,
    ) -> Result<T, String> {
        let depth = Depth::new();
        let read = self.read_within(bytes, &depth);
        if depth.was_reached() {
            return Err(format!("`{}`: {too_deep}", type_name::<T>()));
        }
        read
    }

    fn read_within<T: DeserializeOwned + 'static>(
        &self,
        bytes: &[u8],
        depth: &Depth,
    ) -> Result<T, String> {
        let decoding = Decoding::begin(self.files);
        let mut deserializer = Deserializer::from_flavor(PostcardIn { bytes, depth });
        let items = Items::of_message(bytes.len());
        let decoded = T::deserialize(CountsItems::new(&mut deserializer, &items));
        let refused = decoding.refused();
        drop(decoding);
        if items.were_too_many() {
            return Err(format!("`{}`: {TOO_MANY}", type_name::<T>()));
        }
        match decoded.map(|value| (value, deserializer.finalize())) {
            Ok((value, Ok([]))) => Ok(value),
            Ok(_) => Err(format!("`{}`: bytes left over", type_name::<T>())),
            Err(error) => {
                let why = refused.filter(|_| error == postcard::Error::SerdeDeCustom);
                let why = why.unwrap_or_else(|| reason(error));
                Err(format!("`{}`: {why}", type_name::<T>()))
            }
        }
    }
}

struct PostcardIn<'de> {
    bytes: &'de [u8],
    depth: &'de Depth,
}

impl<'de> PostcardIn<'de> {
    #[inline(always)]
    fn split(&mut self, len: usize) -> postcard::Result<&'de [u8]> {
        let end = postcard::Error::DeserializeUnexpectedEnd;
        if self.depth.is_reached() {
            return Err(end); // the caller checks the depth
        }
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(end)?;
        self.bytes = rest;
        Ok(taken)
    }
}

impl<'de> de_flavors::Flavor<'de> for PostcardIn<'de> {
    type Remainder = &'de [u8];
    type Source = &'de [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        self.split(1).map(|byte| byte[0])
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.bytes.len())
    }

    #[inline]
    fn try_take_n(&mut self, len: usize) -> postcard::Result<&'de [u8]> {
        self.split(len)
    }

    fn finalize(self) -> postcard::Result<&'de [u8]> {
        Ok(self.bytes)
    }
}
