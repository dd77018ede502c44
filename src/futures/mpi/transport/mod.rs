//! [`Transport`]: the interface between the pool and the carrier of its messages.
//!
//! Root and workers use the same interface. Another carrier, such as a message broker, would implement it
//! and nothing else.

pub(crate) mod buffer_pool;
pub(crate) mod ffi;
pub(crate) mod local_transport;
pub(crate) mod mpi_transport;
mod ulfm;

use std::sync::Arc;

use super::protocol::Tag;
use crate::error::Error;

/// The other end: for root the number of a worker, for a worker 0, which is root.
pub(crate) type Peer = usize;

/// Bytes to be sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Given back to the buffer pool after sending.
    Own(Vec<u8>),
    /// Kept by a call, in case they must be sent again.
    Shared(Arc<Vec<u8>>),
}

impl Outgoing {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// An event at the other ends.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    Message {
        from: Peer,
        tag: Tag,
        bytes: Vec<u8>,
    },
    /// The peer has died; its earlier messages have come, or never will.
    Lost(Peer),
}

/// The transport has failed; the text says why.
#[derive(Clone, Debug)]
pub(crate) struct Fault(pub(crate) Arc<str>);

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    pub(crate) fn into_error(self) -> Error {
        Error::Mpi(self.0)
    }
}

/// Carries messages, completely and in order for each peer. Nothing blocks.
pub(crate) trait Transport {
    /// Begins to send. Does nothing for a peer that has died.
    fn send(&mut self, to: Peer, tag: Tag, message: Outgoing) -> Result<(), Fault>;

    /// The next event, if there is one. Must be called while messages are to be sent or received: there is no
    /// progress otherwise.
    fn poll(&mut self) -> Result<Option<TransportEvent>, Fault>;

    /// Whether a message is not sent completely yet.
    fn is_sending(&self) -> bool;

    /// Whether one end survives the death of another, so that [`TransportEvent::Lost`] may come.
    fn outlives_peers(&self) -> bool;
}
