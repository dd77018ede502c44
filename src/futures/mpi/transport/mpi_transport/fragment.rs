//! Messages that are too long for MPI's counts: an announcement, then parts.

use std::ffi::c_int;

use super::{MpiTransport, Sending};
use crate::futures::mpi::protocol::Tag;
use crate::futures::mpi::transport::ffi::Probed;
use crate::futures::mpi::transport::{Fault, Outgoing, Peer};

/// The most bytes of one MPI message. Smaller in tests, so that they cover messages in pieces.
pub(super) const PIECE: usize = if cfg!(debug_assertions) { 16 << 20 } else { 1 << 30 };

/// The tag of an announcement: length and kind of a message in pieces.
pub(super) const ANNOUNCEMENT: c_int = 64;

/// The tag of a part of a message in pieces.
pub(super) const PART: c_int = 65;

impl MpiTransport {
    pub(super) fn send_pieces(
        &mut self,
        to: Peer,
        tag: Tag,
        message: Outgoing,
    ) -> Result<(), Fault> {
        let mut head = (message.bytes().len() as u64).to_le_bytes().to_vec();
        head.push(tag as u8);
        let Some(request) = self.begin_send(to, ANNOUNCEMENT, &head)? else { return Ok(()) };
        self.sends.push_back(Sending { to, request, message: Some(Outgoing::Own(head)) });
        let mut begun = Ok(());
        for part in message.bytes().chunks(PIECE) {
            match self.begin_send(to, PART, part) {
                Ok(Some(request)) => self.sends.push_back(Sending { to, request, message: None }),
                Ok(None) => break,
                Err(fault) => {
                    begun = Err(fault); // the sends that were begun go on
                    break;
                }
            }
        }
        if let Some(last) = self.sends.back_mut() {
            match &mut last.message {
                None => last.message = Some(message),
                Some(_) => drop(message), // not even the first part was begun
            }
        }
        begun
    }

    /// Receives the announcement of a message in pieces.
    pub(super) fn announced(&mut self, from: Peer, found: Probed) -> Result<(), Fault> {
        let mut head = [0; 9];
        if found.len != head.len() {
            return Err(Fault::new("an announcement of the wrong length"));
        }
        // SAFETY: it has that length, and this function waits for it.
        let request = unsafe { found.receive(head.as_mut_ptr()) };
        match request {
            // The probe has found it, so it has come.
            Ok(mut request) => while !request.is_done()? {},
            Err(failed) => return self.failed(failed, Some(from)),
        }
        let [len @ .., tag] = head;
        let len = usize::try_from(u64::from_le_bytes(len));
        let len = len.map_err(|_| Fault::new("a message that is longer than memory"))?;
        let tag = Tag::from_number(tag.into()).ok_or_else(|| Fault::new("an unknown message"))?;
        self.expect(from, tag, len)
    }

    /// Receives a part of a message.
    pub(super) fn part(&mut self, from: Peer, found: Probed) -> Result<(), Fault> {
        let awaited = self.receives.iter().rev().find(|receiving| receiving.from == from);
        if awaited.is_none_or(|awaited| awaited.len - awaited.begun < found.len) {
            if self.dead[from] {
                return self.ignore(from, found);
            }
            return Err(Fault::new("a part without a message"));
        }
        self.receive_into_last(from, found)
    }

    /// Receives a further part of a message that was given up.
    fn ignore(&mut self, from: Peer, found: Probed) -> Result<(), Fault> {
        let mut buffer = Vec::<u8>::with_capacity(found.len);
        // SAFETY: the buffer has that length, and is never freed.
        let request = unsafe { found.receive(buffer.as_mut_ptr()) };
        #[expect(clippy::mem_forget, reason = "MPI may still write to it")]
        std::mem::forget(buffer);
        request.map(drop).or_else(|failed| self.failed(failed, Some(from)))
    }
}
