//! `map` and its options.

mod buffers;
mod ends;
mod results;

use concurrent::futures::{Map, MapOptions};

pub(super) fn options() -> MapOptions {
    MapOptions::new()
}

pub(super) fn values<R>(map: Map<'_, R>) -> Vec<R> {
    map.map(Result::unwrap).collect()
}
