//! The segments of the other side, which are read and never looked at in place.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result};

use super::segments::Announced;
use crate::futures::remote::codec::OutOfLineBytes;
use crate::futures::remote::protocol::{Malformed, OutOfLine};

/// The segments of the other side, by what it said of them.
#[derive(Debug, Default)]
pub(crate) struct Foreigners(Vec<(u64, Foreign)>);

impl Foreigners {
    /// More than an honest sender ever has announced: those that it keeps, and one for each message
    /// that is not read yet.
    const MOST: usize = Announced::MOST + 1 + 64;

    /// The sender has announced a segment, by its descriptor.
    pub(crate) fn announced(
        &mut self,
        id: u64,
        file: Option<OwnedFd>,
    ) -> std::result::Result<(), Malformed> {
        let file = file.ok_or(Malformed("shared memory did not come"))?;
        let segment = Foreign::new(file).map_err(|_| Malformed("this is no shared memory"))?;
        self.forgotten(id);
        self.0.push((id, segment));
        if self.0.len() <= Self::MOST { Ok(()) } else { Err(Malformed("too much shared memory")) }
    }

    /// Where a payload is.
    pub(crate) fn window(&self, far: OutOfLine) -> std::result::Result<Window<'_>, Malformed> {
        let segment = self.0.iter().find(|(id, _)| *id == far.segment);
        let (_, segment) = segment.ok_or(Malformed("shared memory that was not announced"))?;
        if segment.has(far.len) {
            Ok(Window { segment, len: far.len })
        } else {
            Err(Malformed("not so much shared memory"))
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

/// A segment of the other side, to be read.
#[derive(Debug)]
pub(crate) struct Foreign {
    file: OwnedFd,
}

impl Foreign {
    /// An error if it is no memory: to read from something else may block.
    pub(crate) fn new(file: OwnedFd) -> Result<Self> {
        rustix::fs::fcntl_get_seals(&file)?;
        Ok(Self { file })
    }

    /// Whether there are so many bytes. If the system does not say, to read them is an error.
    pub(crate) fn has(&self, len: u64) -> bool {
        rustix::fs::fstat(&self.file)
            .map_or(true, |stat| i128::from(stat.st_size) >= i128::from(len))
    }

    /// Copies bytes from the beginning; gives those that were filled. The kernel copies, so that
    /// nothing that the other side does to its memory meanwhile can harm more than the bytes.
    pub(crate) fn read<'a>(&self, into: &'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8]> {
        let mut filled = 0;
        while filled < into.len() {
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::pread(&self.file, &mut into[filled..], filled as u64)
                    .map(|(read, _)| read.len())
            })?;
            if read == 0 {
                return Err(Errno::INVAL); // it is shorter than its sender said
            }
            filled += read;
        }
        // SAFETY: the loop above has filled all of them.
        Ok(unsafe { &mut *(std::ptr::from_mut(into) as *mut [u8]) })
    }
}

/// A payload in a segment of the other side.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    segment: &'a Foreign,
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
        assert!(Foreign::new(pipe).is_err());
        assert!(Foreign::new(std::fs::File::open("/proc/self/exe").unwrap().into()).is_err());
    }

    #[test]
    fn a_sender_that_announces_without_end_is_found_out() {
        let segment = Segment::new(1).unwrap();
        let mut foreigners = Foreigners::default();
        let file = || Some(segment.file().try_clone_to_owned().unwrap());
        let far = |segment, len| OutOfLine { segment, len };
        assert!(foreigners.window(far(1, 1)).is_err());
        foreigners.announced(1, file()).unwrap();
        foreigners.announced(1, file()).unwrap();
        assert!(foreigners.window(far(1, 1)).is_ok());
        assert!(foreigners.window(far(1, 1 << 20)).is_err(), "it is shorter");
        foreigners.forgotten(1);
        assert!(foreigners.window(far(1, 1)).is_err());
        assert!(foreigners.announced(1, None).is_err());
        let last = (0..200).take_while(|id| foreigners.announced(*id, file()).is_ok()).last();
        assert!(last.is_some_and(|last| last < 100));
    }
}
