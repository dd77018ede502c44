//! Feeds bytes that no honest worker sends to all code that reads from another process: there is never a
//! panic, never more memory than allowed, always an end.
//!
//! `fuzz.txt` has inputs that are tried each time. Findings of proptest are kept in `proptest-regressions/`;
//! `PROPTEST_CASES` sets the number of attempts.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::Index;
use serde::{Deserialize, Serialize};

use super::channel::frame_reader::FrameReader;
use crate::futures::process::channel::frame::{
    HEADER, Header, REPLY_LIMIT, REQUEST_LIMIT, put_with_files,
};
use crate::futures::remote::attachments::Files;
use crate::futures::remote::chunk::decode_chunk;
use crate::futures::remote::codec::Source;
use crate::futures::remote::function_id::resolve;
use crate::futures::remote::number_chunk::decode_number_chunk;
use crate::futures::remote::protocol::{FrameKind, FunctionToken, OutOfLine, Text};
use crate::futures::remote::segments::Arena;
use crate::futures::remote::shared_bytes::SharedBytes;

/// A value of every shape that serde knows, with lengths in all places.
#[derive(Debug, Deserialize, Serialize)]
enum Shape {
    Nothing,
    Text(String),
    Pair(i64, Option<Box<Shape>>),
    Many { names: Vec<String>, table: BTreeMap<u16, char>, rest: Vec<Shape> },
}

/// Noise, or frames with a few changed bytes.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let kind = (0..32_u8).prop_map(|byte| FrameKind::from_byte(byte).unwrap_or(FrameKind::Done));
    let body = prop_oneof![
        vec(any::<u8>(), 0..64),
        (0..70_000_usize).prop_map(|len| vec![b'x'; len]),
        // The bodies that are read: a token, a place in shared memory, a text.
        any::<[u8; 2 * OutOfLine::BYTES]>().prop_map(|bytes| bytes.to_vec()),
        any::<(u32, [u8; 8])>().prop_map(|(len, text)| [&len.to_ne_bytes()[..], &text].concat()),
    ];
    let frame = (kind, 0..8_u8, 0..3_u8, any::<u64>(), body);
    let frames = vec(frame, 0..5).prop_map(|frames| {
        let mut bytes = Vec::new();
        for (kind, flags, files, seq, body) in &frames {
            let (kind, flags, files, seq) = (*kind, *flags, *files, *seq);
            put_with_files(&mut bytes, Header { len: 0, kind, flags, files, seq }, &[body]);
        }
        bytes
    });
    let damage = vec((any::<Index>(), any::<u8>()), 0..4);
    let damaged = (frames, damage).prop_map(|(mut bytes, damage)| {
        let damage = if bytes.is_empty() { &[] } else { &damage[..] };
        for (at, byte) in damage {
            *at.get_mut(&mut bytes) = *byte;
        }
        bytes
    });
    let damaged = (damaged, any::<bool>())
        .prop_map(|(bytes, sums)| if sums { with_sums(bytes) } else { bytes });
    prop_oneof![1 => vec(any::<u8>(), 0..300), 4 => damaged]
}

/// Corrects the checksums, so that readers get past them.
fn with_sums(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut rest = &mut bytes[..];
    while let Some(head) = rest.first_chunk::<4>() {
        let len = HEADER.saturating_add(u32::from_ne_bytes(*head) as usize);
        let Some((frame, behind)) = rest.split_at_mut_checked(len) else { break };
        Header::seal(frame);
        rest = behind;
    }
    bytes
}

/// Reads `stream` as a worker or the parent does, `cut` bytes at a time; returns the total size of bodies.
fn read_all(stream: &[u8], cut: usize, limit: usize) -> usize {
    let mut frame_reader = FrameReader::new(limit);
    let mut unread = 0;
    let mut bodies = 0;
    for piece in stream.chunks(cut) {
        let room = frame_reader.room();
        let all = unread + room.len();
        // At most one incomplete frame, and room for one read.
        assert!(all <= limit + HEADER + 2 * 64 * 1024, "{all} bytes for a limit of {limit}");
        room[..piece.len()].copy_from_slice(piece);
        frame_reader.fill(piece.len());
        unread += piece.len();
        loop {
            match frame_reader.next() {
                Ok(Some((header, body))) => {
                    assert!(header.len as usize <= limit && body.len() == header.len as usize);
                    unread -= HEADER + body.len();
                    bodies += body.len();
                    read_body(frame_reader.body(body));
                }
                Ok(None) => break,
                Err(_) => return bodies, // that ends the worker
            }
        }
    }
    bodies
}

/// Reads a body as everything that it may be.
fn read_body(body: &[u8]) {
    if let Ok((token, rest)) = FunctionToken::split(body) {
        assert_eq!(rest.len() + FunctionToken::BYTES, body.len());
        assert!(resolve::<Arena>(token).is_err(), "noise led to code");
    }
    let _ = OutOfLine::from_bytes(body);
    if let Ok(text) = Text::from_bytes(body) {
        // A byte that is no UTF-8 becomes three.
        let len = text.message.len() + text.location.map_or(0, |location| location.len());
        assert!(len <= 3 * body.len());
    }
}

fn read_stream(stream: &[u8], cut: usize) {
    for limit in [REQUEST_LIMIT, REPLY_LIMIT, 0] {
        assert!(read_all(stream, cut, limit) <= stream.len());
    }
}

fn read_payload(bytes: &[u8]) {
    let files = Files::default();
    let source = || Source::new(bytes, &files);
    let _ = source().decode::<Shape>();
    let _ = source().decode::<Vec<Vec<String>>>();
    let _ = source().decode::<(u8, Vec<u8>, Option<Vec<f32>>)>();
    let _ = source().decode::<SharedBytes>();
    let _ = source().decode::<()>();
    if let Ok(numbers) = source().decode::<Vec<u64>>() {
        assert_eq!(numbers.len() * 8, bytes.len());
    }
}

fn read_chunk(bytes: &[u8], items: usize) {
    let files = Files::default();
    if let Ok(results) = decode_chunk::<String>(&mut Source::new(bytes, &files), items) {
        assert_eq!(results.len(), items);
    }
    if let Ok(results) = decode_number_chunk::<u32>(&mut Source::new(bytes, &files), items) {
        assert_eq!(results.len(), items);
    }
}

#[cfg(target_endian = "little")]
#[test]
fn the_corpus_is_read_to_an_end() {
    for line in include_str!("fuzz.txt").lines().filter(|line| !line.starts_with('#')) {
        let hex = line.split(" #").next().expect("a line has a beginning").as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
        let bytes: Vec<_> = hex.chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect();
        for cut in 1..=bytes.len() {
            read_stream(&bytes, cut);
            read_stream(&with_sums(bytes.clone()), cut);
        }
        read_payload(&bytes);
        (0..3).for_each(|items| read_chunk(&bytes, items));
    }
}

proptest! {
    #[test]
    fn any_stream_is_frames_up_to_an_error(stream in stream(), cut in 1..5_000_usize) {
        read_stream(&stream, cut);
    }

    #[test]
    fn any_header_is_within_its_limit_or_refused(bytes: [u8; HEADER], limit in 0..100_000_usize) {
        if let Ok(header) = Header::from_bytes(&bytes, limit) {
            assert!(header.len as usize <= limit);
            assert_eq!(header.to_bytes()[..16], bytes[..16]);
        }
    }

    #[test]
    fn any_payload_is_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        read_payload(&bytes);
    }

    #[test]
    fn any_chunk_is_as_many_results_as_items_or_an_error(
        heads in vec((prop_oneof![Just(4_u64), 0..100_u64, any::<u64>()], any::<u8>()), 0..6),
        noise in vec(any::<u8>(), 0..40),
        items in 0..8_usize,
    ) {
        let mut bytes = Vec::new();
        for (len, tag) in heads {
            bytes.extend_from_slice(&(len << 8 | u64::from(tag)).to_ne_bytes());
            bytes.extend_from_slice(b"\x03abc");
        }
        bytes.extend_from_slice(&noise);
        read_chunk(&bytes, items);
    }
}
