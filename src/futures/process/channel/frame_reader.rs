//! [`FrameReader`]: splits a stream of bytes into frames, however it is cut into reads. No descriptor, no lock.

use std::ops::Range;

use super::frame::{HEADER, Header};
use crate::futures::remote::protocol::Malformed;

/// Splits a stream of bytes into frames.
#[derive(Debug)]
pub(crate) struct FrameReader {
    bytes: Vec<u8>,
    /// The bytes that were read and not consumed yet.
    filled: Range<usize>,
    /// The most bytes of a body.
    limit: usize,
}

impl FrameReader {
    /// The most bytes of one read.
    const ROOM: usize = 64 * 1024;

    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), filled: 0..0, limit }
    }

    /// Room for a read. The bodies of frames that were returned before are no longer there.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.filled.start > 0 {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        let wanted = self.filled.end + Self::ROOM;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        &mut self.bytes[self.filled.end..]
    }

    /// The caller has read `count` bytes into the room.
    pub(crate) fn fill(&mut self, count: usize) {
        self.filled.end = (self.filled.end + count).min(self.bytes.len());
    }

    /// The next complete frame, and the range of its body.
    pub(crate) fn next(&mut self) -> Result<Option<(Header, Range<usize>)>, Malformed> {
        let have = &self.bytes[self.filled.clone()];
        let Some((head, rest)) = have.split_first_chunk::<HEADER>() else { return Ok(None) };
        let header = Header::from_bytes(head, self.limit)?;
        let len = header.len as usize;
        if rest.len() < len {
            return Ok(None);
        }
        Header::check(head, &rest[..len])?;
        let body = self.filled.start + HEADER..self.filled.start + HEADER + len;
        self.filled.start = body.end;
        Ok(Some((header, body)))
    }

    /// Whether all bytes that were read belong to frames that were returned.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// The body of a frame that was returned since the last read.
    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::process::channel::frame::put_with_files;
    use crate::futures::remote::protocol::{FrameKind, FunctionToken, OutOfLine, Text};
    use proptest::prelude::{Strategy, any, proptest};

    fn kinds() -> impl Strategy<Value = FrameKind> {
        proptest::sample::select(vec![
            FrameKind::Call,
            FrameKind::Free,
            FrameKind::Ready,
            FrameKind::Done,
            FrameKind::Panicked,
            FrameKind::BadArgument,
            FrameKind::BadResult,
            FrameKind::TooLarge,
            FrameKind::Raised,
            FrameKind::Skipped,
            FrameKind::Lost,
            FrameKind::Forget,
            FrameKind::Undelivered,
            FrameKind::Unsent,
        ])
    }

    proptest! {
        /// However the stream is cut into reads, the same frames come out.
        #[test]
        fn frames_survive_any_cutting(
            frames in proptest::collection::vec(
                (kinds(), 0u8..2, any::<u64>(), proptest::collection::vec(any::<u8>(), 0..300)),
                0..20,
            ),
            cuts in proptest::collection::vec(1usize..200, 1..20),
        ) {
            let mut stream = Vec::new();
            for (kind, flags, seq, body) in &frames {
                let (kind, flags, seq) = (*kind, *flags, *seq);
                put_with_files(&mut stream, Header { len: 0, kind, flags, files: 9, seq }, &[body]);
            }
            let mut frame_reader = FrameReader::new(300);
            let mut got = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !stream.is_empty() {
                let count = (*cuts.next().unwrap()).min(stream.len());
                frame_reader.room()[..count].copy_from_slice(&stream[..count]);
                frame_reader.fill(count);
                stream.drain(..count);
                while let Some((header, body)) = frame_reader.next().unwrap() {
                    got.push((header.kind, header.flags, header.seq, frame_reader.body(body).to_vec()));
                }
            }
            assert_eq!(got, frames);
        }

        /// Garbage is a frame, half a frame or an error; never a panic, never beyond the limit.
        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut frame_reader = FrameReader::new(64);
            frame_reader.room()[..bytes.len()].copy_from_slice(&bytes);
            frame_reader.fill(bytes.len());
            while let Ok(Some((header, body))) = frame_reader.next() {
                assert!(header.len <= 64);
                let _ = FunctionToken::split(frame_reader.body(body.clone()));
                let _ = OutOfLine::from_bytes(frame_reader.body(body.clone()));
                let _ = Text::from_bytes(frame_reader.body(body));
            }
        }
    }
}
