//! The segments of the other side. They are read by system calls, and never mapped.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result, pread};

use super::segments::Announced;
use crate::futures::remote::codec::OutOfLineBytes;
use crate::futures::remote::protocol::{Malformed, OutOfLine};

/// The segments that the other side has announced, by number.
#[derive(Debug, Default)]
pub(crate) struct ForeignSegments(Vec<(u64, ForeignSegment)>);

impl ForeignSegments {
    /// More than an honest sender ever has announced: those that it keeps, and one for each unread
    /// message.
    const MOST: usize = Announced::MOST + 1 + 64;

    /// The sender has announced a segment, by its descriptor. The inner error, a text, affects the message
    /// of that descriptor only.
    pub(crate) fn announced(
        &mut self,
        id: u64,
        file: Option<OwnedFd>,
    ) -> std::result::Result<std::result::Result<(), String>, Malformed> {
        let file = file.ok_or(Malformed("the descriptor of shared memory is missing"))?;
        let segment = match ForeignSegment::new(file) {
            Ok(segment) => segment,
            Err(Errno::INVAL) => return Err(Malformed("a descriptor is no shared memory")),
            Err(error) => return Ok(Err(format!("the system refuses its shared memory: {error}"))),
        };
        self.forgotten(id);
        self.0.push((id, segment));
        match self.0.len() {
            ..=Self::MOST => Ok(Ok(())),
            _ => Err(Malformed("too much shared memory")),
        }
    }

    /// The payload at a place in a segment.
    pub(crate) fn window(&self, place: OutOfLine) -> std::result::Result<Window<'_>, Malformed> {
        let segment = self.0.iter().find(|(id, _)| *id == place.segment);
        let (_, segment) = segment.ok_or(Malformed("shared memory that was not announced"))?;
        if segment.has(place.len) {
            Ok(Window { segment, len: place.len })
        } else {
            Err(Malformed("a payload is longer than its shared memory"))
        }
    }

    /// Whether the segment was announced and not forgotten.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.0.iter().any(|(own, _)| *own == id)
    }

    pub(crate) fn forgotten(&mut self, id: u64) {
        self.0.retain(|(own, _)| *own != id);
    }
}

/// A segment of the other side, for reading.
#[derive(Debug)]
pub(crate) struct ForeignSegment {
    file: OwnedFd,
}

impl ForeignSegment {
    /// An error if the file is no shared memory: reading from anything else may block.
    pub(crate) fn new(file: OwnedFd) -> Result<Self> {
        rustix::fs::fcntl_get_seals(&file)?;
        Ok(Self { file })
    }

    /// Whether the file has `len` bytes. If the system does not tell, reading them is an error.
    pub(crate) fn has(&self, len: u64) -> bool {
        rustix::fs::fstat(&self.file)
            .map_or(true, |stat| i128::from(stat.st_size) >= i128::from(len))
    }

    /// Copies bytes from the beginning; returns the buffer, filled. The kernel copies, so whatever the
    /// other side does to its memory meanwhile changes these bytes at most.
    pub(crate) fn read<'a>(&self, into: &'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8]> {
        fill(into.len(), |at| {
            pread(&self.file, &mut into[at..], at as u64).map(|(read, _)| read.len())
        })?;
        // SAFETY: `fill` has filled all of them.
        Ok(unsafe { &mut *(std::ptr::from_mut(into) as *mut [u8]) })
    }
}

/// Fills a buffer of `len` bytes: `read` reads to a position in it and returns the number of bytes that
/// it read. An error if the source is shorter.
pub(crate) fn fill(len: usize, mut read: impl FnMut(usize) -> Result<usize>) -> Result<()> {
    let mut filled = 0;
    while filled < len {
        match rustix::io::retry_on_intr(|| read(filled))? {
            0 => return Err(Errno::INVAL), // the file is shorter than its sender said
            count => filled += count,
        }
    }
    Ok(())
}

/// A payload in a segment of the other side.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    segment: &'a ForeignSegment,
    len: u64,
}

impl OutOfLineBytes for Window<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read<'a>(&self, into: &'a mut [MaybeUninit<u8>]) -> std::io::Result<&'a mut [u8]> {
        Ok(self.segment.read(into)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::remote::segments::Segment;

    #[test]
    fn what_is_no_memory_is_not_read() {
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        assert!(ForeignSegment::new(pipe).is_err());
        assert!(
            ForeignSegment::new(std::fs::File::open("/proc/self/exe").unwrap().into()).is_err()
        );
    }

    #[test]
    fn a_sender_that_announces_without_end_is_found_out() {
        let segment = Segment::new(1).unwrap();
        let mut segments = ForeignSegments::default();
        let file = || Some(segment.file().try_clone_to_owned().unwrap());
        let place = |segment, len| OutOfLine { segment, len };
        assert!(segments.window(place(1, 1)).is_err());
        segments.announced(1, file()).unwrap().unwrap();
        segments.announced(1, file()).unwrap().unwrap();
        assert!(segments.window(place(1, 1)).is_ok());
        assert!(segments.window(place(1, 1 << 20)).is_err(), "it is shorter");
        segments.forgotten(1);
        assert!(segments.window(place(1, 1)).is_err());
        assert!(segments.announced(1, None).is_err());
        let last = (0..200).take_while(|id| segments.announced(*id, file()).is_ok()).last();
        assert!(last.is_some_and(|last| last < 100));
    }
}
