//! Values of every shape, and functions that take and return them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::futures::process::SharedBytes;

/// A value of every shape that serde knows, with lengths in all places.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) enum AnyValue {
    Nothing,
    Text(String),
    Pair(i64, Option<Box<AnyValue>>),
    Many { names: Vec<String>, table: BTreeMap<u16, char>, rest: Vec<AnyValue> },
    Numbers(Vec<u32>, [i128; 2], Vec<()>),
    Beside(SharedBytes),
}

/// Results have at most this many bytes, or at least `LONG`, so that they go into shared memory: one thread
/// plays both sides and would wait for room in the ring.
const SHORT: usize = 40_000;
const LONG: usize = 70_000;

pub(super) fn echo(mut text: String) -> String {
    if (SHORT..LONG).contains(&text.len()) {
        text.truncate((0..=SHORT).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    text
}

pub(super) fn shape(shape: AnyValue) -> u64 {
    format!("{shape:?}").len() as u64
}

pub(super) fn number(number: u32) -> u32 {
    number.wrapping_mul(3)
}

pub(super) fn len(bytes: SharedBytes) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

pub(super) fn bytes(count: u32) -> Vec<u8> {
    let count = count as usize % 200_000;
    vec![7; if (SHORT..LONG).contains(&count) { LONG } else { count }]
}

pub(super) fn shared(parts: Vec<SharedBytes>) -> Vec<SharedBytes> {
    parts
}

pub(super) fn initialize(_: String) {}
