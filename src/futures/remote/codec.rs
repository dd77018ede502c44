//! Arguments and results as bytes: postcard, with short cuts for long vectors of numbers.
//!
//! Everything a call carries passes through here, on both sides; user code (`Serialize` and
//! `Deserialize`) runs inside of [`catch`], so that its panics belong to one call.

use std::any::type_name;
use std::cell::OnceCell;
use std::mem::MaybeUninit;

use postcard::Deserializer;
use postcard::de_flavors;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attached::{Decoding, Encoding, Files, MOST_DESCRIPTORS};
use super::depth::{Depth, TOO_DEEP, on_large_stack};
use super::items::{CountsItems, Items, TOO_MANY};
use super::numbers::{copy_numbers, decode_far_numbers, decode_numbers};
use super::reasons::reason;
use super::shared_bytes::SharedBytes;
use crate::error::Panic;
use crate::futures::process::shm::segments::{Arena, Segment};
use crate::guard::catch;

/// Encoded bytes: in the heap, or in shared memory.
#[derive(Debug)]
pub(crate) enum Payload {
    Near(Vec<u8>),
    Far(Segment),
}

impl Payload {
    pub(crate) fn give_back(self, arena: &Arena) {
        if let Self::Far(segment) = self {
            arena.give_back(segment);
        }
    }
}

/// Why something could not be encoded.
#[derive(Debug)]
pub(crate) enum EncodeError {
    TooLarge(u64),
    Failed(String),
}

/// Where encoded bytes go: to the heap first, to shared memory when they become many.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    payload: Payload,
    /// Bytes that were in the vector before the payload.
    start: usize,
    /// The most bytes of a payload in the heap, if there is shared memory to be had.
    near: usize,
    /// The most bytes of a payload at all.
    limit: u64,
    /// Up to this length the vector takes bytes without further ado.
    easy: usize,
    arena: &'a Arena,
    too_large: bool,
    /// Shared bytes that go beside the payload.
    attachments: Vec<SharedBytes>,
    /// Whether anything but bytes can go: not to another machine.
    beside: bool,
}

/// For what goes to another machine: there is no shared memory then.
#[cfg(feature = "mpi")]
static NO_ARENA: Arena = Arena::new(0);

#[cfg(feature = "mpi")]
impl Sink<'static> {
    /// Appends to `out`, whatever comes, for another machine. `limit` is at most `isize::MAX`.
    pub(crate) fn remote(out: Vec<u8>, limit: u64) -> Self {
        Self { beside: false, ..Self::new(out, isize::MAX.unsigned_abs(), limit, &NO_ARENA) }
    }

    /// What was appended to, in full.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self.payload {
            Payload::Near(bytes) => bytes,
            Payload::Far(_) => unreachable!("no segment was to be had"),
        }
    }
}

impl<'a> Sink<'a> {
    /// Appends to `out` what has up to `near` bytes.
    pub(crate) fn new(out: Vec<u8>, near: usize, limit: u64, arena: &'a Arena) -> Self {
        let start = out.len();
        Self {
            payload: Payload::Near(out),
            start,
            near,
            limit,
            easy: start + usize::try_from(limit).map_or(near, |limit| limit.min(near)),
            arena,
            too_large: false,
            attachments: Vec::new(),
            beside: true,
        }
    }

    pub(crate) fn into_parts(self) -> (Payload, Vec<SharedBytes>) {
        (self.payload, self.attachments)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.payload {
            Payload::Near(bytes) => bytes.len() - self.start,
            Payload::Far(segment) => segment.len(),
        }
    }

    /// Makes room for `more` bytes, moving to shared memory if they are many.
    fn prepare(&mut self, more: usize) -> Option<()> {
        let wanted = self.len().checked_add(more)?;
        if wanted as u64 > self.limit {
            self.too_large = true;
            return None;
        }
        match &mut self.payload {
            Payload::Near(bytes) if wanted > self.near => {
                match self.arena.take_early(wanted) {
                    Some(mut segment) => {
                        let own = &bytes[self.start..];
                        segment.extend(own.len()).ok()?.copy_from_slice(own);
                        bytes.truncate(self.start);
                        self.payload = Payload::Far(segment);
                    }
                    None => bytes.reserve(more), // moved when it is sent
                }
            }
            Payload::Near(_) | Payload::Far(_) => {}
        }
        Some(())
    }

    /// Appends bytes as they are.
    #[inline(always)] // as `append`
    pub(crate) fn put(&mut self, data: &[u8]) -> Result<(), EncodeError> {
        match self.append(data) {
            Some(()) => Ok(()),
            None => Err(self.why("")),
        }
    }

    // Inlined even where the compiler would not: data is mostly of a few bytes, whose number is
    // known then, and a call of `memcpy` would take longer than to write them.
    #[inline(always)]
    pub(crate) fn append(&mut self, data: &[u8]) -> Option<()> {
        if let Payload::Near(bytes) = &mut self.payload {
            if bytes.len() + data.len() <= self.easy {
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
            Payload::Near(bytes) => bytes.extend_from_slice(data),
            Payload::Far(segment) => segment.extend(data.len()).ok()?.copy_from_slice(data),
        }
        Some(())
    }

    /// Makes room in the heap for about so many bytes.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        if let Payload::Near(payload) = &mut self.payload {
            payload.reserve(bytes.min(self.near));
        }
    }

    /// Begins an item of a chunk; gives where it is.
    #[inline]
    pub(crate) fn begin_item(&mut self) -> Result<usize, EncodeError> {
        let at = self.len();
        self.put(&[0; 8])?;
        Ok(at)
    }

    /// Ends the item that begins at `at`: puts its length and a tag before it.
    #[inline]
    pub(crate) fn end_item(&mut self, at: usize, tag: u8) {
        let len = (self.len() - at - 8) as u64;
        self.overwrite(at, (len << 8 | u64::from(tag)).to_ne_bytes());
    }

    #[inline]
    fn overwrite(&mut self, at: usize, data: [u8; 8]) {
        match &mut self.payload {
            Payload::Near(bytes) => {
                let at = self.start + at;
                bytes[at..at + 8].copy_from_slice(&data);
            }
            Payload::Far(segment) => segment.overwrite(at, &data),
        }
    }

    /// Forgets what was appended after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.too_large = false;
        match &mut self.payload {
            Payload::Near(bytes) => bytes.truncate(self.start + len),
            Payload::Far(segment) => segment.truncate(len),
        }
    }

    fn why(&self, otherwise: &str) -> EncodeError {
        if self.too_large {
            EncodeError::TooLarge(self.limit)
        } else if otherwise.is_empty() {
            EncodeError::Failed("no shared memory to be had".into())
        } else {
            EncodeError::Failed(otherwise.into())
        }
    }

    /// Appends `value`. After an error, what was appended of it must be truncated.
    pub(crate) fn encode<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), EncodeError> {
        match catch(|| self.write(value)) {
            Ok(written) => written,
            Err(panic) => Err(EncodeError::Failed(self.why_panicked::<T>(&panic))),
        }
    }

    /// Like [`encode`](Self::encode), but a panic of the user's code goes through.
    pub(crate) fn write<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), EncodeError> {
        if let Some(done) = self.encode_numbers(value) {
            return done.ok_or_else(|| self.why(""));
        }
        let (depth, len) = (Depth::new(), self.len());
        let written = self.write_within(value, &depth);
        if written.is_ok() || !depth.was_reached() {
            return written;
        }
        self.truncate(len);
        on_large_stack(|| {
            let depth = Depth::new();
            let written = self.write_within(value, &depth);
            let too_deep = || EncodeError::Failed(format!("`{}`: {TOO_DEEP}", type_name::<T>()));
            if depth.was_reached() { Err(too_deep()) } else { written }
        })
    }

    fn write_within<T: Serialize + 'static>(
        &mut self,
        value: &T,
        depth: &Depth,
    ) -> Result<(), EncodeError> {
        let attached = if self.beside { self.attachments.len() } else { MOST_DESCRIPTORS };
        let encoding = Encoding::begin(attached);
        let out = PostcardOut { sink: self, depth };
        let written = postcard::serialize_with_flavor::<T, _, ()>(value, out);
        if let Some(mut attached) = encoding.attached() {
            if !depth.was_reached() {
                self.attachments.append(&mut attached);
            }
        }
        written.map_err(|error| match error {
            postcard::Error::SerializeBufferFull => self.why(""), // that is ours
            error => self.why(&format!("`{}`: {}", type_name::<T>(), reason(error))),
        })
    }

    pub(crate) fn why_panicked<T>(&self, panic: &Panic) -> String {
        format!("`{}`: {panic}", type_name::<T>())
    }
}

/// The most bytes that postcard writes for a number of 64 bits.
const VARINT_MOST: usize = 10;

struct PostcardOut<'a, 'b> {
    sink: &'a mut Sink<'b>,
    depth: &'a Depth,
}

impl PostcardOut<'_, '_> {
    #[inline(always)]
    fn append(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.sink.append(data).ok_or(postcard::Error::SerializeBufferFull)
    }

    #[inline(always)]
    fn look(&self) -> postcard::Result<()> {
        if self.depth.is_reached() { Err(postcard::Error::SerializeBufferFull) } else { Ok(()) }
    }
}

impl Flavor for PostcardOut<'_, '_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.look()?;
        self.append(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.look()?;
        if data.len() <= VARINT_MOST {
            // As above: a loop over so few is quicker than `memcpy`.
            return data.iter().try_for_each(|byte| self.append(&[*byte]));
        }
        self.append(data)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Bytes that lie where others may write to them.
pub(crate) trait FarBytes {
    fn len(&self) -> u64;

    /// Copies all of them; gives what was filled.
    fn read<'a>(&self, into: &'a mut [MaybeUninit<u8>]) -> std::io::Result<&'a mut [u8]>;
}

/// A payload that is copied before it is looked at, at most once.
pub(crate) struct FarPayload<'a> {
    bytes: &'a dyn FarBytes,
    copy: OnceCell<Vec<u8>>,
}

impl<'a> FarPayload<'a> {
    pub(crate) fn new(bytes: &'a dyn FarBytes) -> Self {
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

impl std::fmt::Debug for FarPayload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FarPayload").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Where encoded bytes come from.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    files: &'a Files,
    /// Until it was copied.
    far: Option<&'a FarPayload<'a>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8], files: &'a Files) -> Self {
        Self { bytes, files, far: None }
    }

    /// Of a payload that is still to be copied.
    pub(crate) fn far(payload: &'a FarPayload<'a>, files: &'a Files) -> Self {
        Self { bytes: &[], files, far: Some(payload) }
    }

    /// Copies the payload, before it is taken apart.
    pub(crate) fn load(&mut self) -> Result<(), String> {
        if let Some(far) = self.far.take() {
            self.bytes = far.copy()?;
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
        Ok(Source { bytes: self.take(len)?, files: self.files, far: None })
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

    /// Like [`decode`](Self::decode), but a panic of the user's code goes through.
    pub(crate) fn read<T: DeserializeOwned + 'static>(&self) -> Result<T, String> {
        let bytes = match self.far {
            Some(far) => {
                if let Some(numbers) = decode_far_numbers(far.bytes) {
                    return numbers;
                }
                far.copy()?
            }
            None => self.bytes,
        };
        if let Some(numbers) = decode_numbers(bytes) {
            return numbers;
        }
        // Descriptors are taken once, so that what has some is not read a second time.
        let once = !self.files.borrow().is_empty();
        let depth = Depth::new();
        if !once {
            let read = self.read_within(bytes, &depth);
            if !depth.was_reached() {
                return read;
            }
        }
        on_large_stack(|| {
            let depth = Depth::new();
            let read = self.read_within(bytes, &depth);
            if depth.was_reached() {
                Err(format!("`{}`: {TOO_DEEP}", type_name::<T>()))
            } else {
                read
            }
        })
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
        drop(decoding);
        if items.were_too_many() {
            return Err(format!("`{}`: {TOO_MANY}", type_name::<T>()));
        }
        match decoded.map(|value| (value, deserializer.finalize())) {
            Ok((value, Ok([]))) => Ok(value),
            Ok(_) => Err(format!("`{}`: bytes left over", type_name::<T>())),
            Err(error) => Err(format!("`{}`: {}", type_name::<T>(), reason(error))),
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
            return Err(end); // and whoever asked looks at the depth
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn round_trip<T: Serialize + DeserializeOwned + 'static>(value: &T, near: usize) -> T {
        let arena = Arena::new(usize::MAX);
        let mut sink = Sink::new(vec![9; 3], near, 1 << 20, &arena);
        sink.encode(value).unwrap();
        let files = Files::default();
        match sink.into_parts().0 {
            Payload::Near(bytes) => Source::new(&bytes[3..], &files).decode().unwrap(),
            Payload::Far(segment) => Source::new(&segment.to_vec(), &files).decode().unwrap(),
        }
    }

    proptest! {
        #[test]
        fn values_come_back(text in ".{0,50}", numbers: Vec<f64>, near in 0usize..64) {
            let numbers: Vec<f64> = numbers.into_iter().filter(|n| !n.is_nan()).collect();
            assert_eq!(round_trip(&numbers, near), numbers);
            let value = (text, numbers, Some(5u8));
            assert_eq!(round_trip(&value, near), value);
        }

        #[test]
        fn garbage_is_an_error_or_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Source::new(&bytes, &Files::default()).decode::<(String, Vec<u32>, Option<bool>)>();
            let _ = Source::new(&bytes, &Files::default()).decode::<Vec<f64>>();
        }
    }

    #[test]
    fn a_message_above_the_limit_is_refused_and_the_sink_goes_on() {
        let arena = Arena::new(usize::MAX);
        let mut sink = Sink::new(Vec::new(), 10, 16, &arena);
        assert!(matches!(sink.encode(&vec![0u8; 17]), Err(EncodeError::TooLarge(16))));
        sink.truncate(0);
        assert!(sink.encode(&"x".repeat(15)).is_ok());
        assert!(matches!(sink.encode(&1u8), Err(EncodeError::TooLarge(16))));
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Node(Option<Box<Node>>);

    impl Node {
        fn list(length: usize) -> Self {
            (0..length).fold(Self(None), |node, _| Self(Some(Box::new(node))))
        }

        /// Its length; without recursion, as its drop would be.
        fn unwind(mut self) -> usize {
            let mut length = 0;
            while let Some(node) = self.0.take() {
                (self, length) = (*node, length + 1);
            }
            length
        }
    }

    /// In a thread with the stack of a usual one, which does not do.
    fn in_small_stack(work: fn()) {
        std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
    }

    #[test]
    #[cfg(not(any(miri, concurrent_tsan)))]
    fn a_deep_value_comes_back_on_a_small_stack() {
        in_small_stack(|| {
            let list = Node::list(20_000);
            let arena = Arena::new(usize::MAX);
            let mut sink = Sink::new(vec![9; 3], 1 << 20, 1 << 20, &arena);
            sink.encode(&list).unwrap();
            assert_eq!((sink.len(), list.unwind()), (20_001, 20_000));
            let Payload::Near(bytes) = sink.into_parts().0 else { panic!("below the near limit") };
            let files = Files::default();
            assert_eq!(Source::new(&bytes[3..], &files).decode::<Node>().unwrap().unwind(), 20_000);
        });
    }

    #[test]
    #[cfg(not(any(miri, concurrent_tsan)))]
    fn a_value_that_is_too_deep_is_an_error() {
        in_small_stack(|| {
            const DEEP: usize = 3_000_000;
            let list = Node::list(DEEP);
            let arena = Arena::new(usize::MAX);
            let mut sink = Sink::new(Vec::new(), 1 << 30, 1 << 30, &arena);
            let error = sink.encode(&list).unwrap_err();
            assert!(matches!(&error, EncodeError::Failed(text) if text.contains("too deep")));
            assert_eq!(list.unwind(), DEEP);
            let bytes = [vec![1; DEEP], vec![0]].concat();
            let decoded = Source::new(&bytes, &Files::default()).decode::<Node>();
            assert!(decoded.is_err_and(|error| error.contains("too deep")));
        });
    }

    #[test]
    #[cfg(not(miri))] // millions of items
    fn a_list_claims_no_more_items_than_its_message_has_bytes_for() {
        type Kinds = (Vec<Vec<()>>, Vec<Option<[u8; 0]>>, std::collections::BTreeMap<u8, ()>);
        let kinds: Kinds =
            (vec![vec![(); 3]; 1000], vec![Some([]), None], [(1, ()), (2, ())].into());
        assert_eq!(round_trip(&kinds, 1 << 20), kinds);
        let most = vec![(); 1 << 20];
        assert_eq!(round_trip(&most, 100).len(), most.len());
        // As postcard writes the length 2^64 - 1, alone and within another value.
        let claims = [vec![0xff; 9], vec![1]].concat();
        let files = Files::default();
        let error = Source::new(&claims, &files).decode::<Vec<()>>().unwrap_err();
        assert!(error.contains("more items than bytes"), "{error}");
        let within = [vec![1, 7], claims].concat();
        let error = Source::new(&within, &files).decode::<Option<(u8, Vec<()>)>>().unwrap_err();
        assert!(error.contains("more items than bytes"), "{error}");
    }

    #[test]
    fn items_within_a_payload_come_apart_again() {
        let arena = Arena::new(usize::MAX);
        let mut sink = Sink::new(Vec::new(), 12, 1 << 20, &arena);
        for word in ["one", "", "three"] {
            let at = sink.begin_item().unwrap();
            sink.encode(&word.to_string()).unwrap();
            sink.end_item(at, 7);
        }
        let Payload::Far(segment) = sink.into_parts().0 else { panic!("above the near limit") };
        let bytes = segment.to_vec();
        let files = Files::default();
        let mut source = Source::new(&bytes, &files);
        for word in ["one", "", "three"] {
            let (tag, item) = source.item().unwrap();
            assert_eq!((tag, item.decode::<String>().unwrap().as_str()), (7, word));
        }
        assert!(source.item().is_err());
    }
}
