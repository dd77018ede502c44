//! [`MpiTransport`]: the transport over MPI.
//!
//! Sends and receives are begun, and tested until they are done; nothing blocks. A long message may take
//! longer than shorter ones that were sent after it, so messages are returned in the order in which they
//! were found. MPI counts in C integers: longer messages go in pieces, after an announcement of their total
//! length.

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

/// After this many unexplained failures in a row MPI counts as broken.
const MOST_UNEXPLAINED: u32 = 10_000;

/// How many probes must find no message before a death is reported. One is not enough: MPI first checks the
/// messages that it has, and then fetches more.
const LAST_PROBES: u32 = 2;

/// How often to ask MPI for deaths.
const ASK: Duration = Duration::from_millis(20);

/// A send under way. Those of one long message are in a row, and the last one owns the message.
struct Sending {
    to: Peer,
    request: Transfer,
    /// Not moved until it is sent.
    message: Option<Outgoing>,
}

/// A receive under way.
struct Receiving {
    from: Peer,
    tag: Tag,
    /// Receives into it are under way, up to its capacity.
    buffer: Vec<u8>,
    /// The bytes for which receives were begun.
    begun: usize,
    /// The bytes of the whole message.
    len: usize,
    requests: VecDeque<Transfer>,
    /// A receive has failed: the message will never be complete.
    failed: bool,
}

/// One end: root with all workers, or a worker with root.
pub(crate) struct MpiTransport {
    comm: Comm,
    size: usize,
    is_root: bool,
    sends: VecDeque<Sending>,
    receives: VecDeque<Receiving>,
    buffers: Arc<BufferPool>,
    ulfm: Option<Ulfm>,
    dead: Vec<bool>,
    /// Deaths that were not reported yet.
    deaths: VecDeque<Peer>,
    /// Failures in a row without the death of a rank.
    unexplained: u32,
    /// Probes that found nothing, since the last message and the last death.
    empty_probes: u32,
    /// When MPI was last asked for deaths.
    asked: Instant,
}

impl MpiTransport {
    pub(crate) fn new(comm: Comm, rank: usize, size: usize, buffers: Arc<BufferPool>) -> Self {
        // Where ULFM is not switched on, its functions are there and fail.
        let ulfm = Ulfm::find().filter(|found| found.dead(comm, size).is_some());
        let is_root = rank == 0;
        Self {
            comm,
            size,
            is_root,
            sends: VecDeque::new(),
            receives: VecDeque::new(),
            buffers,
            ulfm,
            dead: vec![false; if is_root { size - 1 } else { 1 }],
            deaths: VecDeque::new(),
            unexplained: 0,
            empty_probes: 0,
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

    /// Asks MPI for deaths; false if it cannot tell.
    fn ask_for_deaths(&mut self) -> bool {
        let dead = self.ulfm.and_then(|ulfm| ulfm.dead(self.comm, self.size));
        let Some(dead) = dead else { return false };
        for rank in dead {
            let Some(peer) = self.peer(rank) else { continue };
            if !std::mem::replace(&mut self.dead[peer], true) {
                self.deaths.push_back(peer);
                self.unexplained = 0;
                self.empty_probes = 0;
            }
        }
        true
    }

    /// Handles the failure of an MPI function, for `peer` if that is known. No error if a rank has died; a
    /// fault if MPI is broken.
    fn failed(&mut self, failed: MpiFailure, peer: Option<Peer>) -> Result<(), Fault> {
        let explained = self.ask_for_deaths()
            && match peer {
                Some(peer) => self.dead[peer],
                None => {
                    self.unexplained += 1;
                    self.unexplained <= MOST_UNEXPLAINED
                }
            };
        if explained { Ok(()) } else { Err(failed.into()) }
    }

    /// Asks for deaths from time to time: a death shortly after another one may not make a function fail.
    fn ask_now_and_then(&mut self) {
        if self.ulfm.is_some() && self.asked.elapsed() >= ASK {
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
        // Where ranks may die, a worker's answer counts as sent when root has begun to receive it: the worker
        // does not begin the next call, which may kill it, while the answer can still be lost with it.
        let awaited = self.ulfm.is_some() && !self.is_root;
        // SAFETY: the callers keep the bytes in the message of this `Sending`, or of one behind it, where
        // they are not changed until the request is done.
        match unsafe { self.comm.send(bytes, self.rank(to), tag, awaited) } {
            Ok(request) => Ok(Some(request)),
            Err(failed) => self.failed(failed, Some(to)).map(|()| None),
        }
    }

    /// Releases the messages that are sent.
    fn finish_sends(&mut self) -> Result<(), Fault> {
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
        let from = from.ok_or_else(|| Fault::new("a message of an unknown rank"))?;
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
            failed: false,
        });
        Ok(())
    }

    /// Begins to receive into the last message of that peer, which has room.
    fn receive_into_last(&mut self, from: Peer, found: Probed) -> Result<(), Fault> {
        let last = self.receives.iter_mut().rev().find(|receiving| receiving.from == from);
        let Some(last) = last else { return Err(Fault::new("a message of an unknown rank")) };
        let len = found.len;
        let into = &mut last.buffer.spare_capacity_mut()[last.begun..last.begun + len];
        let into = into.as_mut_ptr().cast::<u8>();
        // SAFETY: the range is in the buffer's spare capacity, and no other receive has it. The buffer is not
        // touched until `next_received` has seen that all receives are done.
        let request = unsafe { found.receive(into) };
        match request {
            Ok(request) => {
                last.begun += len;
                last.requests.push_back(request);
                Ok(())
            }
            Err(failed) => {
                last.failed = true;
                self.failed(failed, Some(from))
            }
        }
    }

    /// The first complete message, unless an earlier one of the same peer is incomplete.
    fn next_received(&mut self) -> Result<Option<TransportEvent>, Fault> {
        let mut index = 0;
        while index < self.receives.len() {
            let from = self.receives[index].from;
            let later = self.receives.iter().take(index).any(|earlier| earlier.from == from);
            if !later && self.is_complete(index)? {
                let Some(mut received) = self.receives.remove(index) else { break };
                // SAFETY: receives for all of these bytes were begun, and all are done.
                unsafe { received.buffer.set_len(received.len) };
                let Receiving { tag, buffer: bytes, .. } = received;
                return Ok(Some(TransportEvent::Message { from, tag, bytes }));
            }
            index += 1;
        }
        Ok(None)
    }

    /// The next death to report. Incomplete messages of that peer are given up.
    fn next_death(&mut self) -> Option<TransportEvent> {
        let peer = self.deaths.pop_front()?;
        while let Some(index) = self.receives.iter().position(|gone| gone.from == peer) {
            let gone = self.receives.remove(index).map(|gone| gone.buffer);
            #[expect(clippy::mem_forget, reason = "MPI may still write to it")]
            std::mem::forget(gone);
        }
        Some(TransportEvent::Lost(peer))
    }

    fn is_complete(&mut self, index: usize) -> Result<bool, Fault> {
        let receiving = &mut self.receives[index];
        if receiving.failed {
            return Ok(false);
        }
        while let Some(request) = receiving.requests.front_mut() {
            match request.is_done() {
                Ok(true) => drop(receiving.requests.pop_front()),
                Ok(false) => return Ok(false),
                Err(failed) => {
                    receiving.failed = true;
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
            self.finish_sends()?;
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<TransportEvent>, Fault> {
        self.finish_sends()?;
        let from = (!self.is_root).then_some(0);
        loop {
            if let Some(event) = self.next_received()? {
                return Ok(Some(event));
            }
            match self.comm.probe(from) {
                Ok(Some(found)) => {
                    self.empty_probes = 0;
                    self.begin(found)?;
                    return self.next_received();
                }
                Ok(None) => {
                    self.unexplained = 0;
                    self.empty_probes = self.empty_probes.saturating_add(1);
                    self.ask_now_and_then();
                    if self.deaths.is_empty() || self.empty_probes >= LAST_PROBES {
                        return Ok(self.next_death()); // all messages of the dead have come
                    }
                }
                Err(failed) => {
                    self.failed(failed, None)?;
                    // No more messages come from root.
                    return Ok(if self.is_root { None } else { self.next_death() });
                }
            }
        }
    }

    fn outlives_peers(&self) -> bool {
        self.ulfm.is_some()
    }

    fn is_sending(&self) -> bool {
        !self.sends.is_empty()
    }
}

impl Drop for MpiTransport {
    fn drop(&mut self) {
        let unfinished = (std::mem::take(&mut self.sends), std::mem::take(&mut self.receives));
        #[expect(
            clippy::mem_forget,
            reason = "MPI may still read and write it, until it is finalised"
        )]
        std::mem::forget(unfinished);
    }
}
