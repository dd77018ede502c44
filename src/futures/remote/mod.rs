//! The common part of pools of processes and pools of ranks: requests and replies, and functions, arguments
//! and results as bytes. Nothing here knows a process or a rank.

pub(crate) mod attachments;
pub(crate) mod chunk;
pub(crate) mod codec;
pub(crate) mod executor;
pub(crate) mod foreign;
pub(crate) mod function_id;
pub(crate) mod images;
pub(crate) mod initializer;
pub(crate) mod invoke;
pub(crate) mod number_chunk;
pub(crate) mod protocol;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod segments;
pub(crate) mod shared_bytes;
pub(crate) mod submit;

/// Writes to standard error, for code that cannot rely on a logger. Ignores that it is closed or full.
pub(crate) fn complain(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "concurrent: {text}");
}
