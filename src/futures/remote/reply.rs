//! The meaning of a worker's reply for the caller.

use super::codec::Source;
use super::protocol::{FrameKind, Text};
use crate::error::{Error, Panic, Result};

/// How to decode the reply to a call, or to turn an error into its result.
pub(crate) struct ReplyHandler<R> {
    /// Decodes a result of `items` items.
    pub(crate) decode: fn(&mut Source<'_>, usize) -> Result<R>,
    /// Turns an error into the result: a chunk gives it to each of its `items` items.
    pub(crate) fail: fn(Error, usize) -> Result<R>,
    pub(crate) items: usize,
}

/// The error that a frame stands for.
pub(crate) fn failure(kind: FrameKind, body: &[u8]) -> Error {
    let text = Text::from_bytes(body)
        .unwrap_or_else(|malformed| Text { message: malformed.0.into(), location: None });
    match kind {
        FrameKind::Panicked => Error::Panicked(Panic::new(Box::new(text.message), text.location)),
        FrameKind::BadResult => Error::Encode(format!("the result: {}", text.message).into()),
        FrameKind::Undelivered => {
            Error::Undelivered(format!("the argument: {}", text.message).into())
        }
        FrameKind::Unsent => Error::Undelivered(format!("the result: {}", text.message).into()),
        FrameKind::Raised => Error::raised(text.message),
        FrameKind::TooLarge => {
            Error::MessageTooLarge { limit: text.message.parse().unwrap_or(u64::MAX) }
        }
        _ => Error::Decode(format!("the argument: {}", text.message).into()),
    }
}
