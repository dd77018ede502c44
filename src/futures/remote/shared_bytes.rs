//! [`SharedBytes`]: bytes that cross a process border without being copied.

use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attachments::{add_outgoing, note_refused, take_incoming};
use super::foreign::fill;
use crate::error::{Error, Result};
use crate::futures::sys::mapping::{Mapping, map_constant, memory_file, seal_for_ever};

/// Bytes in shared memory, which a call takes or returns without copying them.
///
/// As an argument or a result of a call in another process, alone or inside of other values, only a
/// descriptor crosses, and both processes see the same memory. It is sealed when it is made: nobody
/// can change it any more. Cloning copies a pointer. Each handle that is not a clone of another
/// holds one file descriptor.
///
/// Through any other serde format the bytes themselves are written, as a copy.
///
/// # Python
///
/// `multiprocessing.shared_memory.SharedMemory`, which both sides can write to, and which somebody
/// has to unlink.
///
/// # Examples
///
/// ```
/// use concurrent::futures::process::{self, ProcessPoolExecutor, SharedBytes};
///
/// process::init();
/// let pool = ProcessPoolExecutor::new(1)?;
/// let picture = SharedBytes::new(1 << 20, |bytes| bytes.fill(7))?;
/// let sum = pool.submit(|p: SharedBytes| p.iter().map(|b| *b as u64).sum::<u64>(), picture)?;
/// assert_eq!(sum.into_result()?, 7 << 20);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[doc(alias = "SharedMemory")]
#[derive(Clone)]
pub struct SharedBytes(Option<Arc<SharedMemory>>);

struct SharedMemory {
    file: OwnedFd,
    mapping: Mapping,
}

impl SharedBytes {
    /// Makes `len` bytes, which are zero until `fill` writes to them.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`](crate::Error::Encode) if the system gives no shared memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::process::SharedBytes;
    /// let squares = SharedBytes::new(4, |bytes| {
    ///     for (n, byte) in (0..).zip(bytes) {
    ///         *byte = n * n;
    ///     }
    /// })?;
    /// assert_eq!(squares[..], [0, 1, 4, 9]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn new(len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Self> {
        if len == 0 {
            fill(&mut []);
            return Ok(Self(None));
        }
        let make = || {
            let file = memory_file(len)?;
            let mapping = Mapping::new(file.as_fd(), len, true)?;
            Ok((file, mapping))
        };
        let (file, mut mapping) = make().map_err(no_memory)?;
        // SAFETY: the mapping is writable, and the file is known to this function only.
        fill(unsafe { mapping.bytes_mut() });
        Self::seal(file, mapping).map_err(no_memory)
    }

    /// Seals the file, so that no process can write to it any more, this one included.
    fn seal(file: OwnedFd, mapping: Mapping) -> rustix::io::Result<Self> {
        drop(mapping); // while it exists the system does not seal
        let file = match seal_for_ever(file.as_fd()) {
            Ok(()) => file,
            // A process that was forked while `fill` ran still has the mapping.
            Err(Errno::BUSY) => constant_copy(file.as_fd())?,
            Err(error) => return Err(error),
        };
        let len = usize::try_from(rustix::fs::fstat(&file)?.st_size);
        let mapping = map_constant(file.as_fd(), len.map_err(|_| Errno::OVERFLOW)?)?;
        Ok(Self(Some(Arc::new(SharedMemory { file, mapping }))))
    }

    /// Makes a copy of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::process::SharedBytes;
    /// let text = SharedBytes::copy_from(b"shared")?;
    /// assert_eq!((text.len(), &text[..]), (6, &b"shared"[..]));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn copy_from(bytes: &[u8]) -> Result<Self> {
        Self::new(bytes.len(), |to| to.copy_from_slice(bytes))
    }

    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|shared| shared.file.as_fd())
    }

    /// Maps the file that another process handed over.
    fn open(file: OwnedFd, len: u64) -> rustix::io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| Errno::OVERFLOW)?;
        let mapping = map_constant(file.as_fd(), len)?;
        Ok(Self(Some(Arc::new(SharedMemory { file, mapping }))))
    }
}

/// Copies `file` to one that no process can change.
fn constant_copy(file: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let len = usize::try_from(rustix::fs::fstat(file)?.st_size).map_err(|_| Errno::OVERFLOW)?;
    for _ in 0..COPIES {
        let copy = copy_of(file, len)?;
        match seal_for_ever(copy.as_fd()) {
            Ok(()) => return Ok(copy),
            Err(Errno::BUSY) => {} // a process was forked during the copy
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY)
}

/// Copies through a mapping: writing to a file counts against the limit on the size of files.
fn copy_of(file: BorrowedFd<'_>, len: usize) -> rustix::io::Result<OwnedFd> {
    let copy = memory_file(len)?;
    let mut mapping = Mapping::new(copy.as_fd(), len, true)?;
    // SAFETY: the mapping is writable, and the file is known to this function only.
    let to = unsafe { mapping.bytes_mut() };
    fill(len, |at| rustix::io::pread(file, &mut to[at..], at as u64))?;
    Ok(copy)
}

fn no_memory(error: rustix::io::Errno) -> Error {
    Error::Encode(format!("shared bytes: the system gives no shared memory: {error}").into())
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: the file is sealed, which the system allows only if there is no writable mapping
            // of it: no process writes to it any more.
            Some(shared) => unsafe { shared.mapping.bytes() },
            None => &[],
        }
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedBytes {}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.len()).finish()
    }
}

/// How many copies are tried, should forks of the program keep them from being sealed.
const COPIES: usize = 100;

/// The number that stands for no descriptor: the bytes themselves follow.
const INLINE: u64 = u64::MAX;

/// The bytes themselves, as serde's byte string.
struct Inline<'a>(&'a [u8]);

impl Serialize for Inline<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for SharedBytes {
    /// Writes a triple: number of the descriptor (`u64::MAX` for none), length, bytes (if there is none).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = self.0.as_ref().and_then(|_| add_outgoing(self));
        let mut triple = serializer.serialize_tuple(3)?;
        triple.serialize_element(&number.unwrap_or(INLINE))?;
        triple.serialize_element(&(self.len() as u64))?;
        triple.serialize_element(&Inline(if number.is_some() { &[] } else { self }))?;
        triple.end()
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(3, TripleVisitor)
    }
}

struct TripleVisitor;

impl<'de> Visitor<'de> for TripleVisitor {
    type Value = SharedBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shared bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<SharedBytes, A::Error> {
        let missing = |index| de::Error::invalid_length(index, &self);
        let number: u64 = seq.next_element()?.ok_or_else(|| missing(0))?;
        let len: u64 = seq.next_element()?.ok_or_else(|| missing(1))?;
        let bytes: ByteBuf = seq.next_element()?.ok_or_else(|| missing(2))?;
        if number == INLINE {
            return SharedBytes::copy_from(&bytes.0).map_err(de::Error::custom);
        }
        let file = take_incoming(number)
            .ok_or_else(|| de::Error::custom("the descriptor of shared bytes is missing"))?;
        SharedBytes::open(file, len).map_err(|error| {
            let why = format!("shared bytes of {len} bytes cannot be mapped: {error}");
            de::Error::custom(note_refused(why))
        })
    }
}

/// An owned byte string.
struct ByteBuf(Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(ByteBufVisitor)
    }
}

struct ByteBufVisitor;

impl<'de> Visitor<'de> for ByteBufVisitor {
    type Value = ByteBuf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<ByteBuf, E> {
        Ok(ByteBuf(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<ByteBuf, E> {
        Ok(ByteBuf(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ByteBuf, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(ByteBuf(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::remote::attachments::Files;
    use crate::futures::remote::codec::{Payload, Sink, Source};
    use crate::futures::remote::segments::Arena;

    #[test]
    fn outside_of_a_message_the_bytes_themselves_are_written() {
        let bytes = SharedBytes::copy_from(b"abc").unwrap();
        let written = postcard::to_stdvec(&bytes).unwrap();
        assert_eq!(postcard::from_bytes::<SharedBytes>(&written).unwrap(), bytes);
    }

    #[test]
    fn inside_of_a_message_a_descriptor_crosses() {
        let pair =
            (SharedBytes::copy_from(&[7; 1000]).unwrap(), SharedBytes::new(0, |_| ()).unwrap());
        let arena = Arena::new(usize::MAX);
        let mut sink = Sink::new(Vec::new(), 100, 100, &arena);
        sink.encode(&pair).unwrap();
        let (Payload::Inline(written), attached) = sink.into_parts() else { panic!("it is short") };
        let file = |shared: &SharedBytes| shared.file().unwrap().try_clone_to_owned().unwrap();
        let files = Files::new(attached.iter().map(|shared| Some(file(shared))).collect());
        let read = || Source::new(&written, &files).decode::<(SharedBytes, SharedBytes)>();
        assert_eq!(read().unwrap(), pair);
        assert!(read().is_err(), "the descriptor is gone");
    }

    #[test]
    fn nobody_can_write_to_what_was_sealed() {
        let bytes = SharedBytes::copy_from(b"abc").unwrap();
        let file = bytes.file().unwrap();
        assert!(Mapping::new(file, 3, true).is_err());
        assert!(rustix::fs::ftruncate(file, 0).is_err() && rustix::fs::ftruncate(file, 9).is_err());
        assert!(rustix::io::pwrite(file, b"x", 0).is_err());
        // And this process neither: no mapping of the file is, or can become, writable.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let address = format!("{:x}-", bytes.as_ptr() as usize);
        let own = maps.lines().find(|line| line.starts_with(&address)).expect("it is mapped");
        assert_eq!(own.split(' ').nth(1), Some("r--p"));
    }

    fn sent(file: OwnedFd) -> rustix::io::Result<SharedBytes> {
        SharedBytes::open(file, 4096)
    }

    #[test]
    fn what_somebody_could_still_change_is_refused() {
        let made = || {
            let file = memory_file(4096).unwrap();
            let mapping = Mapping::new(file.as_fd(), 4096, true).unwrap();
            (file, mapping)
        };
        let (open, _mapping) = made();
        assert!(sent(open).is_err(), "not sealed");
        let (half, mapping) = made();
        crate::futures::sys::mapping::seal_for_readers(half.as_fd()).unwrap();
        assert!(seal_for_ever(half.as_fd()).is_err(), "its maker has it mapped");
        assert!(sent(half).is_err(), "its maker can write");
        drop(mapping);
        let (sealed, mapping) = made();
        drop(mapping);
        seal_for_ever(sealed.as_fd()).unwrap();
        assert!(SharedBytes::open(sealed.try_clone().unwrap(), 5000).is_err(), "longer than it is");
        assert_eq!(&*sent(sealed).unwrap(), &[0; 4096]);
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING | rustix::fs::MemfdFlags::HUGETLB;
        if let Ok(huge) = rustix::fs::memfd_create("test", flags) {
            rustix::fs::ftruncate(&huge, 2 << 20).unwrap();
            seal_for_ever(huge.as_fd()).unwrap();
            assert!(sent(huge).is_err(), "its pages may not be there");
        }
        assert!(sent(std::fs::File::open("/proc/self/exe").unwrap().into()).is_err());
    }

    #[test]
    fn what_a_forked_process_could_write_to_is_copied() {
        let file = memory_file(3 << 20).unwrap();
        let mut mapping = Mapping::new(file.as_fd(), 3 << 20, true).unwrap();
        // SAFETY: as in `new`.
        unsafe { mapping.bytes_mut() }.fill(5);
        let other = Mapping::new(file.as_fd(), 3 << 20, true).unwrap(); // as if in another process
        let bytes = SharedBytes::seal(file, mapping).unwrap();
        assert!(bytes.len() == 3 << 20 && bytes.iter().all(|byte| *byte == 5));
        drop(other);
    }
}
