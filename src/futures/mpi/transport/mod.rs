//! The seam between the pool and the engine that carries its messages.
//!
//! Root and workers see it alike. An engine that comes later, say a message broker, implements this
//! and nothing else.

pub(crate) mod buffer_pool;
pub(crate) mod ffi;
pub(crate) mod local_transport;
pub(crate) mod mpi_transport;
mod ulfm;

use std::sync::Arc;

use super::protocol::Tag;
use crate::error::Error;

/// Who is at the other end: for root the number of a worker, for a worker 0, which is root.
pub(crate) type Peer = usize;

/// Bytes to be sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Used again when they were sent.
    Own(Vec<u8>),
    /// Somebody keeps them, to send them once more if need be.
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

/// What has happened.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    Message {
        from: Peer,
        tag: Tag,
        bytes: Vec<u8>,
    },
    /// The peer has died; what it sent before has come, or never will.
    Lost(Peer),
}

/// The engine cannot go on; the text says why.
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

/// Carries messages: each whole, those of one peer in order. Nothing blocks.
pub(crate) trait Transport {
    /// Begins to send. To a peer that has died it does nothing.
    fn send(&mut self, to: Peer, tag: Tag, message: Outgoing) -> Result<(), Fault>;

    /// What has happened next, if anything has. To be called as long as anything is to be sent or to
    /// come: nothing moves otherwise.
    fn poll(&mut self) -> Result<Option<TransportEvent>, Fault>;

    /// Whether something is still on its way out.
    fn is_sending(&self) -> bool;

    /// Whether one end outlives the other, so that [`TransportEvent::Lost`] may come.
    fn outlives_peers(&self) -> bool;
}
