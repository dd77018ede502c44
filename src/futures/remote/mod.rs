//! What every pool outside of this process shares: functions, arguments and results as bytes.
//! It knows no process and no rank.

pub(crate) mod attached;
pub(crate) mod calls;
pub(crate) mod chunk;
pub(crate) mod codec;
pub(crate) mod depth;
pub(crate) mod identity;
pub(crate) mod images;
mod items;
pub(crate) mod landing;
pub(crate) mod number_chunk;
pub(crate) mod numbers;
pub(crate) mod reasons;
pub(crate) mod send;
pub(crate) mod shared_bytes;
pub(crate) mod wire;

/// Says something on standard error where no logger can be relied on. It may be closed, or full.
pub(crate) fn complain(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "concurrent: {text}");
}
