//! [`Reply`]: what a worker has answered, in memory that no other process can write.

use std::os::fd::OwnedFd;

use super::delivery::ProcessCallRef;
use crate::futures::remote::codec::OutOfLineBytes;
use crate::futures::remote::codec::numbers::copy_numbers;
use crate::futures::remote::protocol::FrameKind;

/// The reply to one call.
pub(crate) struct Reply {
    pub(crate) kind: FrameKind,
    pub(crate) bytes: ReplyBytes,
    pub(crate) files: Vec<OwnedFd>,
}

impl Reply {
    /// Ends the call; gives it back if it has waiters to notify.
    pub(crate) fn finish(self, call: ProcessCallRef) -> Option<ProcessCallRef> {
        call.finish(self.kind, self.bytes.as_slice(), self.files)
    }
}

/// The bytes of a reply; a small one needs no allocation.
pub(crate) enum ReplyBytes {
    Few(u8, [u8; Self::FEW]),
    Many(Vec<u8>),
}

impl ReplyBytes {
    const FEW: usize = 46;

    /// Copies bytes that lie where others may write to them.
    pub(crate) fn fetch(bytes: &dyn OutOfLineBytes) -> Result<Self, String> {
        copy_numbers(bytes).map(Self::Many)
    }

    /// `None` if there is no memory for them.
    pub(crate) fn copy(bytes: &[u8]) -> Option<Self> {
        let mut few = [0; Self::FEW];
        if let (Some(start), Ok(len)) = (few.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            start.copy_from_slice(bytes);
            return Some(Self::Few(len, few));
        }
        let mut many = Vec::new();
        many.try_reserve_exact(bytes.len()).ok()?;
        many.extend_from_slice(bytes);
        Some(Self::Many(many))
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Few(len, few) => &few[..usize::from(*len)],
            Self::Many(many) => many,
        }
    }
}
