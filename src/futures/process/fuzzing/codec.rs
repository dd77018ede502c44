//! Decoding values.

use std::any::type_name;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::file;
use super::values::AnyValue;
use crate::futures::process::SharedBytes;
use crate::futures::process::channel::frame::split_segment;
use crate::futures::process::handshake::{Hello, Mark, StartFailure, Welcome};
use crate::futures::remote::attachments::Files;
use crate::futures::remote::chunk::decode_chunk;
use crate::futures::remote::codec::{OutOfLinePayload, Payload, Sink, Source};
use crate::futures::remote::number_chunk::decode_number_chunk;
use crate::futures::remote::protocol::{FrameKind, OutOfLine, Text};
use crate::futures::remote::reply::failure;
use crate::futures::remote::segments::Arena;

fn files(count: u8, bytes: &[u8]) -> Files {
    let made = (0..count).map(|kind| file(kind, bytes).ok());
    Files::new(made.collect())
}

/// A decoded value does not depend on where its bytes lie, and comes back when it is encoded again.
fn value<T: Serialize + DeserializeOwned + Debug + 'static>(bytes: &[u8], beside: u8) {
    let inline = Source::new(bytes, &files(beside, bytes)).decode::<T>();
    let payload = OutOfLinePayload::new(&bytes);
    let out_of_line = Source::out_of_line(&payload, &files(beside, bytes)).decode::<T>();
    assert_eq!(format!("{inline:?}"), format!("{out_of_line:?}"), "{}", type_name::<T>());
    let Ok(value) = inline else { return };
    let arena = Arena::new(0);
    let mut sink = Sink::new(Vec::new(), usize::MAX, 1 << 30, &arena);
    sink.encode(&value).expect("it was decoded");
    let (Payload::Inline(again), attached) = sink.into_parts() else { return };
    let own = |shared: &SharedBytes| shared.file().and_then(|file| file.try_clone_to_owned().ok());
    let files = Files::new(attached.iter().map(own).collect());
    let second = Source::new(&again, &files).decode::<T>().expect("it was encoded");
    assert_eq!(format!("{value:?}"), format!("{second:?}"));
}

/// Values of all shapes, and the bodies of frames.
pub fn codec(input: &[u8]) {
    let [which, count, bytes @ ..] = input else { return };
    let (count, beside) = (usize::from(*count), count % 8);
    match which % 20 {
        0 => value::<AnyValue>(bytes, beside),
        1 => value::<Vec<Vec<String>>>(bytes, beside),
        2 => value::<(u8, Vec<u8>, Option<Vec<f32>>)>(bytes, beside),
        3 => value::<SharedBytes>(bytes, beside),
        4 => value::<()>(bytes, beside),
        5 => value::<Vec<u64>>(bytes, beside),
        6 => value::<BTreeMap<String, Vec<i8>>>(bytes, beside),
        7 => value::<(i128, f64, char, bool, Option<u16>, [i64; 3])>(bytes, beside),
        8 => value::<Vec<()>>(bytes, beside),
        9 => value::<Vec<AnyValue>>(bytes, beside),
        10 => value::<Option<BTreeMap<u8, Result<String, ()>>>>(bytes, beside),
        11 => value::<Vec<SharedBytes>>(bytes, beside),
        12 => value::<Vec<Vec<()>>>(bytes, beside),
        13 => chunk(bytes, count, beside),
        14 => {
            let files = Files::default();
            if let Ok(all) = decode_number_chunk::<u32>(&mut Source::new(bytes, &files), count) {
                assert_eq!(all.len(), count);
            }
        }
        15 => {
            let _ = Welcome::from_bytes(bytes);
            let _ = Hello::from_bytes(bytes);
            let _ = StartFailure::from_bytes(bytes);
        }
        16 => drop(Mark::from_argument(OsStr::from_bytes(bytes))),
        17 => {
            let _ = Text::from_bytes(bytes);
            let _ = OutOfLine::from_bytes(bytes);
            let _ = split_segment(bytes);
        }
        18 => {
            if let Some((kind, body)) = bytes.split_first() {
                let error = FrameKind::from_byte(*kind).map(|kind| failure(kind, body));
                drop(error.map(|error| error.to_string()));
            }
        }
        _ => value::<String>(bytes, beside),
    }
}

fn chunk(bytes: &[u8], count: usize, beside: u8) {
    let files = files(beside, bytes);
    if let Ok(all) = decode_chunk::<AnyValue>(&mut Source::new(bytes, &files), count) {
        assert_eq!(all.len(), count);
    }
    if let Ok(all) = decode_chunk::<Vec<u16>>(&mut Source::new(bytes, &files), count) {
        assert_eq!(all.len(), count);
    }
}
