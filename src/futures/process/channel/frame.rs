//! Frames: the messages between a worker and its parent, as bytes. No descriptor, no lock.
//!
//! ```text
//!   0      4    5     6       8            16    20
//!   ├──────┼────┼─────┼───┬───┼─────────────┼─────┼──────────────────┐
//!   │ len  │kind│flags│ n │ 0 │     seq     │ sum │ body: len bytes  │   native endian
//!   └──────┴────┴─────┴───────┴─────────────┴─────┴──────────────────┘
//! ```
//!
//! `n` is the number of descriptors that were sent over the socket for this frame, before it. Both sides
//! share no state but what frames say: a frame announces a segment of shared memory when it brings its
//! descriptor, later frames name the segment, and a frame says when it is forgotten.
//!
//! Both sides run the same program image on the same machine, so nothing here is a promise to any other
//! program. User code in the worker can overwrite a frame by mistake, so each carries a checksum: an
//! overwritten frame is an error, and never another value. Nothing in a frame is trusted: lengths are
//! checked before they are used, an unknown kind or flag is [`Malformed`], and that ends the worker.

use crate::futures::remote::protocol::{FrameKind, Malformed, part};

/// Bytes of a header.
pub(crate) const HEADER: usize = 20;

/// The bytes of a header that the checksum covers, together with the body; the checksum follows.
const SUMMED: usize = 16;

/// The most bytes of a frame to a worker.
pub(crate) const REQUEST_LIMIT: usize = 4096;

/// The most bytes of a body to the parent; larger ones go into shared memory.
pub(crate) const REPLY_LIMIT: usize = 64 * 1024;

/// Instead of the payload the body has the place of the payload in shared memory.
pub(crate) const OUT_OF_LINE: u8 = 1;
/// With [`OUT_OF_LINE`]: the last of the frame's descriptors is that of the segment.
pub(crate) const ANNOUNCED: u8 = 2;
/// With [`OUT_OF_LINE`]: no later frame names the segment.
pub(crate) const ONCE: u8 = 4;

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) len: u32,
    pub(crate) kind: FrameKind,
    pub(crate) flags: u8,
    /// Number of descriptors that were sent for it.
    pub(crate) files: u8,
    pub(crate) seq: u64,
}

impl Header {
    pub(crate) fn is_out_of_line(self) -> bool {
        self.flags & OUT_OF_LINE != 0
    }

    pub(crate) fn announces(self) -> bool {
        self.flags & ANNOUNCED != 0
    }

    pub(crate) fn is_used_once(self) -> bool {
        self.flags & ONCE != 0
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.len.to_ne_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags;
        bytes[6] = self.files;
        bytes[8..SUMMED].copy_from_slice(&self.seq.to_ne_bytes());
        bytes
    }

    /// Writes the checksum into the header of a complete frame.
    pub(crate) fn seal(frame: &mut [u8]) {
        if let Some((head, body)) = frame.split_first_chunk_mut::<HEADER>() {
            let sum = sum(head, body);
            head[SUMMED..].copy_from_slice(&sum.to_ne_bytes());
        }
    }

    /// An error if the frame is not as it was written.
    pub(crate) fn check(head: &[u8; HEADER], body: &[u8]) -> Result<(), Malformed> {
        if u32::from_ne_bytes(part(head, SUMMED)) == sum(head, body) {
            Ok(())
        } else {
            Err(Malformed("its channel was overwritten: has a call written to memory not its own?"))
        }
    }

    /// Reads a header; `limit` is the most bytes that its body may have.
    pub(crate) fn from_bytes(bytes: &[u8; HEADER], limit: usize) -> Result<Self, Malformed> {
        let len = u32::from_ne_bytes(part(bytes, 0));
        let kind = FrameKind::from_byte(bytes[4]).ok_or(Malformed("unknown kind of frame"))?;
        let flags = bytes[5];
        if flags & !(OUT_OF_LINE | ANNOUNCED | ONCE) != 0 || bytes[7] != 0 {
            return Err(Malformed("unknown flags"));
        }
        let files = bytes[6];
        if flags & (OUT_OF_LINE | ANNOUNCED) == ANNOUNCED || flags & ANNOUNCED != 0 && files == 0 {
            return Err(Malformed("a segment is announced without a descriptor"));
        }
        if len as usize > limit {
            return Err(Malformed("frame too long"));
        }
        Ok(Self { len, kind, flags, files, seq: u64::from_ne_bytes(part(bytes, 8)) })
    }
}

/// The checksum of a frame. It detects accidents, and no forgery.
fn sum(head: &[u8; HEADER], body: &[u8]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    // Each step is invertible, so a changed word goes unnoticed once in 2^32 times.
    let mix = |sum: u64, word: u64| {
        let mixed = (sum ^ word).wrapping_mul(ODD);
        mixed ^ mixed >> 32
    };
    let word = |bytes: &[u8]| u64::from_ne_bytes(part(bytes, 0));
    // Four independent sums, since each step depends on the one before.
    let mut sums = [word(&head[..8]), word(&head[8..SUMMED]), ODD, !ODD];
    let blocks = body.chunks_exact(32);
    let words = blocks.remainder().chunks_exact(8);
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    for block in blocks {
        for (sum, bytes) in sums.iter_mut().zip(block.chunks_exact(8)) {
            *sum = mix(*sum, word(bytes));
        }
    }
    let rest = words.map(word).fold(u64::from_ne_bytes(last), mix);
    let all = sums.into_iter().fold(rest, mix);
    (all >> 32) as u32
}

/// Appends a frame without descriptors.
pub(crate) fn put(out: &mut Vec<u8>, kind: FrameKind, seq: u64, body: &[&[u8]]) {
    put_with_files(out, Header { len: 0, kind, flags: 0, files: 0, seq }, body);
}

/// Appends a frame; ignores the length in `header`.
pub(crate) fn put_with_files(out: &mut Vec<u8>, header: Header, body: &[&[u8]]) {
    let len: usize = body.iter().map(|part| part.len()).sum();
    let len = u32::try_from(len).expect("larger payloads travel in shared memory");
    let start = out.len();
    out.extend_from_slice(&Header { len, ..header }.to_bytes());
    body.iter().for_each(|part| out.extend_from_slice(part));
    Header::seal(&mut out[start..]);
}

/// The body of [`FrameKind::Undelivered`]: the segment that the call announced (0 for none), and a text.
pub(crate) fn split_segment(body: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let parts = body.split_first_chunk::<8>();
    let (segment, text) = parts.ok_or(Malformed("an answer is too short"))?;
    Ok((u64::from_ne_bytes(*segment), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_of_a_frame_counts_in_its_sum() {
        for len in [0, 1, 8, 31, 32, 33, 64, 300] {
            let mut frame = Vec::new();
            let body: Vec<_> = (0..len).map(|n| n as u8).collect();
            put(&mut frame, FrameKind::Done, 3, &[&body[..len / 2], &body[len / 2..]]);
            let check = |frame: &[u8]| {
                let (head, body) = frame.split_first_chunk().unwrap();
                Header::check(head, body)
            };
            assert_eq!(check(&frame), Ok(()));
            for at in 0..frame.len() {
                for bit in 0..8 {
                    frame[at] ^= 1 << bit;
                    assert!(check(&frame).is_err(), "byte {at} of {len}");
                    frame[at] ^= 1 << bit;
                }
            }
        }
        // Nor is nothing but zeros a frame, as memory that was never written is.
        assert!(Header::check(&[0; HEADER], &[]).is_err());
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_it_is_used() {
        let header = Header { len: u32::MAX, kind: FrameKind::Done, flags: 0, files: 0, seq: 1 };
        let refused = Header::from_bytes(&header.to_bytes(), REPLY_LIMIT);
        assert_eq!(refused, Err(Malformed("frame too long")));
    }
}
