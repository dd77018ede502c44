//! [`Storage`]: where payloads go that are too long for their message.

use crate::futures::remote::segments::{Arena, Segment};

/// Memory for the long payloads of a [`Sink`](super::Sink).
pub(crate) trait Storage {
    /// A piece of it that holds one payload.
    type Block: OutOfLineBlock;

    /// Whether descriptors can accompany a payload.
    const ATTACHES: bool;

    /// A block for `capacity` bytes and more; `None` if there is none at the moment.
    fn take(&self, capacity: usize) -> Option<Self::Block>;
}

/// The bytes of one payload outside of the heap.
pub(crate) trait OutOfLineBlock: std::fmt::Debug {
    fn len(&self) -> usize;

    /// Room for `len` more bytes, which count as written; `None` if there is no memory for them.
    fn extend(&mut self, len: usize) -> Option<&mut [u8]>;

    /// Replaces bytes that have been written.
    fn overwrite(&mut self, at: usize, data: &[u8]);

    /// Forgets what was written after the first `len` bytes.
    fn truncate(&mut self, len: usize);
}

/// Shared memory, for another process of this machine.
impl Storage for Arena {
    type Block = Segment;

    const ATTACHES: bool = true;

    fn take(&self, capacity: usize) -> Option<Segment> {
        self.take_early(capacity)
    }
}

impl OutOfLineBlock for Segment {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        Self::extend(self, len).ok()
    }

    fn overwrite(&mut self, at: usize, data: &[u8]) {
        Self::overwrite(self, at, data);
    }

    fn truncate(&mut self, len: usize) {
        Self::truncate(self, len);
    }
}

/// No storage, for other machines: a payload is part of its message, however long.
#[cfg(feature = "mpi")]
#[derive(Debug)]
pub(crate) struct HeapOnly;

#[cfg(feature = "mpi")]
impl Storage for HeapOnly {
    type Block = std::convert::Infallible;

    const ATTACHES: bool = false;

    fn take(&self, _capacity: usize) -> Option<Self::Block> {
        None
    }
}

#[cfg(feature = "mpi")]
impl OutOfLineBlock for std::convert::Infallible {
    fn len(&self) -> usize {
        match *self {}
    }

    fn extend(&mut self, _len: usize) -> Option<&mut [u8]> {
        match *self {}
    }

    fn overwrite(&mut self, _at: usize, _data: &[u8]) {
        match *self {}
    }

    fn truncate(&mut self, _len: usize) {
        match *self {}
    }
}
