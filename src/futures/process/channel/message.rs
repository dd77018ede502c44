//! [`Message`]: an encoded call on its way to a worker.

use super::frame::{HEADER, REQUEST_LIMIT};
use crate::error::{Error, Result};
use crate::futures::remote::codec::{EncodeError, Payload, Sink};
use crate::futures::remote::protocol::FunctionToken;
use crate::futures::remote::segments::Arena;
use crate::futures::remote::shared_bytes::SharedBytes;

/// The function, the argument and its attachments.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) token: FunctionToken,
    pub(crate) payload: Payload,
    pub(crate) attachments: Vec<SharedBytes>,
}

/// The most bytes of an argument that travel inside of their frame.
pub(crate) const INLINE_LIMIT: usize = REQUEST_LIMIT - HEADER - FunctionToken::BYTES;

impl Message {
    /// Encodes an argument with `encode`.
    pub(crate) fn new(
        token: FunctionToken,
        arena: &Arena,
        limit: u64,
        encode: impl FnOnce(&mut Sink<'_>) -> Result<(), EncodeError>,
    ) -> Result<Self> {
        let mut sink = Sink::new(Vec::new(), INLINE_LIMIT, limit, arena);
        let encoded = encode(&mut sink);
        let (payload, attachments) = sink.into_parts();
        match encoded {
            Ok(()) => Ok(Self { token, payload, attachments }),
            Err(error) => {
                payload.give_back(arena);
                Err(error.of_argument())
            }
        }
    }

    /// Whether it can be sent as it is.
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(&self.payload, Payload::Inline(bytes) if bytes.len() > INLINE_LIMIT)
    }

    /// Moves a payload that is too long for a frame into shared memory, which may be slow.
    pub(crate) fn make_ready(&mut self, arena: &Arena) -> Result<()> {
        let Payload::Inline(bytes) = &self.payload else { return Ok(()) };
        if bytes.len() <= INLINE_LIMIT {
            return Ok(());
        }
        match arena.take_copy(bytes) {
            Ok(segment) => self.payload = Payload::OutOfLine(segment),
            Err(error) => {
                let len = bytes.len();
                return Err(undelivered(&format!("no shared memory for {len} bytes: {error}")));
            }
        }
        Ok(())
    }
}

/// The error of a call whose argument could not be sent.
pub(crate) fn undelivered(why: &str) -> Error {
    Error::Undelivered(format!("the argument: {why}").into())
}
