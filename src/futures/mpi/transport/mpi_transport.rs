//! The transport over MPI.
//!
//! Sends and receives are begun and looked after until they are done; nothing blocks. Messages of
//! many bytes may take longer than smaller ones that were sent after them, so that what was received
//! is handed on in the order in which it was found. MPI counts in C integers: longer messages go in
//! pieces, after one that says how long they are together.

mod fragment;

use std::collections::VecDeque;
use std::ffi::c_int;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::fragment::{ANNOUNCEMENT, PART, PIECE};
use super::buffer_pool::BufferPool;
use super::ffi::{Comm, MpiFailure, Probed, Transfer};
use super::ulfm::Ulfm;
use super::{Fault, Outgoing, Peer, Transport, TransportEvent};
use crate::futures::mpi::protocol::Tag;

/// How often in a row a failure may be reported of which nothing comes, before it is taken to be one
/// of the engine.
const VAIN: u32 = 10_000;

/// How often to look in vain for messages of the dead. Once is not enough: MPI first looks at what it
/// has, then fetches more.
const LAST_LOOKS: u32 = 2;

/// How often to ask who has died.
const ASK: Duration = Duration::from_millis(20);

/// A message on its way out. Those that belong to one message are in a row, and the last has it.
struct Sending {
    to: Peer,
    request: Transfer,
    /// Kept where it is until it was sent.
    message: Option<Outgoing>,
}

/// A message on its way in.
struct Receiving {
    from: Peer,
    tag: Tag,
    /// Receives into it are under way, up to its capacity.
    buffer: Vec<u8>,
    /// Bytes that were asked for so far, of those there are in all.
    begun: usize,
    len: usize,
    requests: VecDeque<Transfer>,
    /// A receive has failed: it will never be complete.
    spoilt: bool,
}

/// One end: root with all workers, or a worker with root.
pub(crate) struct MpiTransport {
    comm: Comm,
    size: usize,
    is_root: bool,
    sends: VecDeque<Sending>,
    receives: VecDeque<Receiving>,
    buffers: Arc<BufferPool>,
    recovery: Option<Ulfm>,
    dead: Vec<bool>,
    /// Deaths that nobody was told of.
    news: VecDeque<Peer>,
    vain: u32,
    /// Looks that found nothing, since the last message and the last death.
    empty: u32,
    /// When it was last asked who has died.
    asked: Instant,
}

impl MpiTransport {
    pub(crate) fn new(comm: Comm, rank: usize, size: usize, buffers: Arc<BufferPool>) -> Self {
        // Where it is not switched on its functions are there and fail.
        let recovery = Ulfm::find().filter(|found| found.dead(comm, size).is_some());
        let is_root = rank == 0;
        Self {
            comm,
            size,
            is_root,
            sends: VecDeque::new(),
            receives: VecDeque::new(),
            buffers,
            recovery,
            dead: vec![false; if is_root { size - 1 } else { 1 }],
            news: VecDeque::new(),
            vain: 0,
            empty: 0,
            asked: Instant::now(),
        }
    }

    /// Whether a rank has died.
    pub(crate) fn has_lost(&self) -> bool {
        self.dead.contains(&true)
    }

    fn rank(&self, peer: Peer) -> c_int {
        let rank = if self.is_root { peer + 1 } else { 0 };
        c_int::try_from(rank).expect("ranks are C integers")
    }

    fn peer(&self, rank: usize) -> Option<Peer> {
        let peer = if self.is_root { rank.checked_sub(1)? } else { rank };
        (peer < self.dead.len()).then_some(peer)
    }

    /// Asks who has died; false if this MPI cannot tell.
    fn ask_for_deaths(&mut self) -> bool {
        let dead = self.recovery.and_then(|recovery| recovery.dead(self.comm, self.size));
        let Some(dead) = dead else { return false };
        for rank in dead {
            let Some(peer) = self.peer(rank) else { continue };
            if !std::mem::replace(&mut self.dead[peer], true) {
                self.news.push_back(peer);
                self.vain = 0;
                self.empty = 0;
            }
        }
        true
    }

    /// An MPI function has failed, of a peer if it is known of which: because a rank has died, or
    /// because MPI cannot go on.
    fn failed(&mut self, failed: MpiFailure, peer: Option<Peer>) -> Result<(), Fault> {
        let explained = self.ask_for_deaths()
            && match peer {
                Some(peer) => self.dead[peer],
                None => {
                    self.vain += 1;
                    self.vain <= VAIN
                }
            };
        if explained { Ok(()) } else { Err(failed.into()) }
    }

    /// Not every death makes a function fail: one that follows another closely may not.
    fn ask_now_and_then(&mut self) {
        if self.recovery.is_some() && self.asked.elapsed() >= ASK {
            self.ask_for_deaths();
            self.asked = Instant::now();
        }
    }

    fn begin_send(
        &mut self,
        to: Peer,
        tag: c_int,
        bytes: &[u8],
    ) -> Result<Option<Transfer>, Fault> {
        // Where ranks may die, what was sent counts as such when it has come: a worker does not begin
        // the next call, which may kill it, while an answer of its own can still be lost with it.
        let awaited = self.recovery.is_some() && !self.is_root;
        // SAFETY: the callers keep the bytes in the message of `Sending`, or in one behind it, where
        // nobody changes them, until the request is done.
        match unsafe { self.comm.send(bytes, self.rank(to), tag, awaited) } {
            Ok(request) => Ok(Some(request)),
            Err(failed) => self.failed(failed, Some(to)).map(|()| None),
        }
    }

    /// Lets go of what was sent.
    fn look_after_sends(&mut self) -> Result<(), Fault> {
        while let Some(first) = self.sends.front_mut() {
            match first.request.is_done() {
                Ok(false) => break,
                Ok(true) => {}
                Err(failed) => {
                    let to = first.to;
                    self.failed(failed, Some(to))?;
                }
            }
            match self.sends.pop_front().and_then(|sent| sent.message) {
                Some(Outgoing::Own(bytes)) => self.buffers.give_back(bytes),
                Some(Outgoing::Shared(bytes)) => self.buffers.give_back_shared(bytes),
                None => {}
            }
        }
        Ok(())
    }

    /// Begins to receive a message.
    fn begin(&mut self, found: Probed) -> Result<(), Fault> {
        let from = usize::try_from(found.from).ok().and_then(|rank| self.peer(rank));
        let from = from.ok_or_else(|| Fault::new("a message of nobody"))?;
        match found.tag {
            ANNOUNCEMENT => self.announced(from, found),
            PART => self.part(from, found),
            tag => {
                let tag = Tag::from_number(tag).ok_or_else(|| Fault::new("an unknown message"))?;
                let len = found.len;
                self.expect(from, tag, len)?;
                self.receive_into_last(from, found)
            }
        }
    }

    fn expect(&mut self, from: Peer, tag: Tag, len: usize) -> Result<(), Fault> {
        let buffer = self.buffers.try_take(len).map_err(|_| {
            Fault::new(format!("there is no memory for a message of {len} bytes that is to come"))
        })?;
        let requests = VecDeque::new();
        self.receives.push_back(Receiving {
            from,
            tag,
            buffer,
            begun: 0,
            len,
            requests,
            spoilt: false,
        });
        Ok(())
    }

    /// Begins to receive into what came last from there, which has room.
    fn receive_into_last(&mut self, from: Peer, found: Probed) -> Result<(), Fault> {
        let last = self.receives.iter_mut().rev().find(|receiving| receiving.from == from);
        let Some(last) = last else { return Err(Fault::new("a message of nobody")) };
        let len = found.len;
        let into = &mut last.buffer.spare_capacity_mut()[last.begun..last.begun + len];
        let into = into.as_mut_ptr().cast::<u8>();
        // SAFETY: the place is in the buffer's spare capacity and no other receive has it. The buffer
        // is not touched until `next_received` has seen that all receives are done.
        let request = unsafe { found.receive(into) };
        match request {
            Ok(request) => {
                last.begun += len;
                last.requests.push_back(request);
                Ok(())
            }
            Err(failed) => {
                last.spoilt = true;
                self.failed(failed, Some(from))
            }
        }
    }

    /// The first message that has come in full, unless an earlier one of the same peer has not.
    fn next_received(&mut self) -> Result<Option<TransportEvent>, Fault> {
        let mut index = 0;
        while index < self.receives.len() {
            let from = self.receives[index].from;
            let later = self.receives.iter().take(index).any(|earlier| earlier.from == from);
            if !later && self.is_complete(index)? {
                let Some(mut received) = self.receives.remove(index) else { break };
                // SAFETY: so many bytes were asked for, and all receives are done.
                unsafe { received.buffer.set_len(received.len) };
                let Receiving { tag, buffer: bytes, .. } = received;
                return Ok(Some(TransportEvent::Message { from, tag, bytes }));
            }
            index += 1;
        }
        Ok(None)
    }

    /// A death that nobody was told of. What that peer did not send to the end is given up.
    fn next_death(&mut self) -> Option<TransportEvent> {
        let peer = self.news.pop_front()?;
        while let Some(index) = self.receives.iter().position(|gone| gone.from == peer) {
            let gone = self.receives.remove(index).map(|gone| gone.buffer);
            #[expect(clippy::mem_forget, reason = "MPI may still write to it")]
            std::mem::forget(gone);
        }
        Some(TransportEvent::Lost(peer))
    }

    fn is_complete(&mut self, index: usize) -> Result<bool, Fault> {
        let receiving = &mut self.receives[index];
        if receiving.spoilt {
            return Ok(false);
        }
        while let Some(request) = receiving.requests.front_mut() {
            match request.is_done() {
                Ok(true) => drop(receiving.requests.pop_front()),
                Ok(false) => return Ok(false),
                Err(failed) => {
                    receiving.spoilt = true;
                    let from = receiving.from;
                    return self.failed(failed, Some(from)).map(|()| false);
                }
            }
        }
        Ok(receiving.begun == receiving.len)
    }
}

impl Transport for MpiTransport {
    fn send(&mut self, to: Peer, tag: Tag, message: Outgoing) -> Result<(), Fault> {
        if self.dead[to] {
            return Ok(());
        }
        if message.bytes().len() > PIECE {
            return self.send_pieces(to, tag, message);
        }
        if let Some(request) = self.begin_send(to, c_int::from(tag as u8), message.bytes())? {
            self.sends.push_back(Sending { to, request, message: Some(message) });
            self.look_after_sends()?;
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<TransportEvent>, Fault> {
        self.look_after_sends()?;
        let from = (!self.is_root).then_some(0);
        loop {
            if let Some(event) = self.next_received()? {
                return Ok(Some(event));
            }
            match self.comm.probe(from) {
                Ok(Some(found)) => {
                    self.empty = 0;
                    self.begin(found)?;
                    return self.next_received();
                }
                Ok(None) => {
                    self.vain = 0;
                    self.empty = self.empty.saturating_add(1);
                    self.ask_now_and_then();
                    if self.news.is_empty() || self.empty >= LAST_LOOKS {
                        return Ok(self.next_death()); // all that they have said has come
                    }
                }
                Err(failed) => {
                    self.failed(failed, None)?;
                    // From root nothing comes any more.
                    return Ok(if self.is_root { None } else { self.next_death() });
                }
            }
        }
    }

    fn outlives_peers(&self) -> bool {
        self.recovery.is_some()
    }

    fn is_sending(&self) -> bool {
        !self.sends.is_empty()
    }
}

impl Drop for MpiTransport {
    fn drop(&mut self) {
        let under_way = (std::mem::take(&mut self.sends), std::mem::take(&mut self.receives));
        #[expect(
            clippy::mem_forget,
            reason = "MPI may still read and write it, until it is finalised"
        )]
        std::mem::forget(under_way);
    }
}
