//! [`MpiDelivery`]: how a call is delivered to another rank.

use std::sync::Arc;

use super::dispatcher::Item;
use crate::futures::call::state::Phase;
use crate::futures::mpi::transport::buffer_pool::BufferPool;
use crate::futures::remote::protocol::FrameKind;
use crate::futures::remote::request::{Delivery, RequestRef};
use crate::sync::Mutex;

/// A call as the pool sees it.
pub(crate) type MpiCallRef = RequestRef<MpiDelivery>;

/// An encoded call. It is kept until the call is answered, in case it must be sent again.
#[derive(Clone, Debug)]
pub(crate) enum RequestPayload {
    /// Copied into a message with other calls.
    Small(Arc<[u8]>),
    /// A message of its own.
    Large(Arc<Vec<u8>>),
}

impl RequestPayload {
    /// From this size on a call has a message of its own.
    const LARGE: usize = 16 * 1024;

    /// From the bytes of an encoded call. A buffer with few bytes is used again at once.
    pub(crate) fn new(written: Vec<u8>, buffers: &BufferPool) -> Self {
        if written.len() >= Self::LARGE {
            return Self::Large(Arc::new(written));
        }
        let payload = Self::Small(written[..].into());
        buffers.give_back(written);
        payload
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }

    pub(crate) fn give_back(self, buffers: &BufferPool) {
        if let Self::Large(bytes) = self {
            buffers.give_back_shared(bytes);
        }
    }
}

/// The message of a call, and what the dispatcher knows of it.
pub(crate) struct MpiDelivery {
    id: u64,
    weight: usize,
    /// `None` when the call has ended.
    payload: Mutex<Option<RequestPayload>>,
}

impl MpiDelivery {
    pub(crate) fn new(id: u64, payload: RequestPayload) -> Self {
        Self { id, weight: payload.bytes().len(), payload: Mutex::new(Some(payload)) }
    }

    /// The bytes to send; `None` if the call has ended.
    pub(crate) fn payload(&self) -> Option<RequestPayload> {
        self.payload.lock().clone()
    }

    /// Takes the bytes, which are not needed any more.
    pub(crate) fn take_payload(&self) -> Option<RequestPayload> {
        self.payload.lock().take()
    }
}

impl Delivery for MpiDelivery {
    const NAME: &'static str = "a call on another rank";

    fn release(&self) {
        drop(self.take_payload());
    }
}

impl MpiCallRef {
    /// Whether the call was neither sent nor ended.
    pub(crate) fn is_pending(&self) -> bool {
        self.state().phase() == Phase::Pending
    }
}

impl Item for MpiCallRef {
    fn id(&self) -> u64 {
        self.delivery().id
    }

    fn weight(&self) -> usize {
        self.delivery().weight
    }

    fn offer(&self) -> bool {
        match self.start() {
            Ok(_) => true,
            Err(state) => !state.is_done(), // it comes back from a rank that died
        }
    }
}

/// The kind of an answer; an error if a call on a rank cannot end in that way.
pub(crate) fn is_answer(kind: FrameKind) -> Result<FrameKind, &'static str> {
    match kind {
        FrameKind::Done
        | FrameKind::Panicked
        | FrameKind::BadArgument
        | FrameKind::BadResult
        | FrameKind::TooLarge => Ok(kind),
        _ => Err("unknown kind of answer"),
    }
}
