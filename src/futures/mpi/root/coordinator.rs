//! What the pool's own thread on root does: sends calls, receives answers, looks after ranks.
//!
//! It alone uses the transport. It holds no lock while it does, and runs no user code: the ends of
//! calls are put off until it is done with its turn, so that a callback may wait for another call
//! (`event_loop.rs`).

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatcher::Item;
use super::pool_state::PoolState;
use super::request::{MpiCallRef, RequestPayload, is_answer};
use crate::LOG_TARGET;
use crate::error::WorkerDeath;
use crate::error::{Cause, Error};
use crate::futures::mpi::protocol::{RankHello, Tag, next_result, read_ready};
use crate::futures::mpi::transport::{Fault, Outgoing, Peer, Transport, TransportEvent};
use crate::futures::remote::protocol::{FrameKind, Malformed};
use crate::futures::remote::reply::failure;
use crate::sync::backoff::{Backoff, BackoffPolicy};
use crate::user_code::contain;

/// How long calls may run on when the program ends.
const GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Coordinator<T> {
    shared: Arc<PoolState>,
    pub(super) link: T,
    workers: Vec<RankHello>,
    batch: Vec<MpiCallRef>,
    /// What runs user code, and waits until nothing else is under way.
    later: VecDeque<Later>,
    /// Calls that have ended since, earlier than what is in `later`, and of which nobody was told.
    ended: VecDeque<MpiCallRef>,
    /// The program ends, and this is when it stops to wait.
    hurry: Option<Instant>,
}

/// The end of a call.
pub(super) enum Later {
    /// An answer, in a message that it shares with others.
    Answered(MpiCallRef, FrameKind, Range<usize>, Rc<Vec<u8>>),
    Failed(MpiCallRef, Error),
    /// Of all calls.
    Broken(Error),
}

/// What a turn found.
pub(super) struct PollOutcome {
    pub(super) busy: bool,
    /// What of the shared state was looked at.
    pub(super) seen: u64,
    /// Nothing is out, so that nothing is to come.
    pub(super) idle: bool,
    pub(super) over: bool,
}

impl<T: Transport> Coordinator<T> {
    pub(super) fn new(shared: Arc<PoolState>, link: T, workers: Vec<RankHello>) -> Self {
        let (batch, later, ended) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { shared, link, workers, batch, later, ended, hurry: None }
    }

    pub(super) fn shared(&self) -> &Arc<PoolState> {
        &self.shared
    }

    /// Looks after everything once. No user code runs: what does is put off.
    pub(super) fn poll_once(&mut self) -> Result<PollOutcome, Fault> {
        let mut busy = false;
        while self.later.is_empty() {
            let Some(event) = self.link.poll()? else { break };
            busy = true;
            self.handle(event)?;
        }
        // Ranks get their next calls before anybody is told of the last.
        let outcome = self.dispatch()?;
        Ok(PollOutcome { busy: busy || outcome.busy, ..outcome })
    }

    /// What was put off.
    pub(super) fn next_later(&mut self) -> Option<Later> {
        self.later.pop_front()
    }

    /// Puts off to tell of these, which have ended.
    pub(super) fn notify_later(&mut self, ended: impl IntoIterator<Item = MpiCallRef>) {
        self.ended.extend(ended);
    }

    /// A call of which somebody is to be told.
    pub(super) fn next_ended(&mut self) -> Option<MpiCallRef> {
        self.ended.pop_front()
    }

    /// Sends what can be sent.
    fn dispatch(&mut self) -> Result<PollOutcome, Fault> {
        let mut sent = false;
        loop {
            let mut state = self.shared.state.lock();
            if let Some(peer) = state.dispatcher.next_batch(&mut self.batch) {
                drop(state);
                self.send_batch(peer)?;
                sent = true;
                continue;
            }
            let nothing = state.dispatcher.is_idle();
            let outcome = PollOutcome {
                busy: sent,
                seen: state.version,
                idle: nothing && state.dispatcher.all_ready() && !self.link.is_sending(),
                over: state.closing && nothing,
            };
            let hurry = state.hurry;
            drop(state);
            self.hurry(hurry)?;
            return Ok(outcome);
        }
    }

    /// A fault if the program has ended, and that long enough ago.
    fn hurry(&mut self, ends: bool) -> Result<(), Fault> {
        if ends && Instant::now() >= *self.hurry.get_or_insert_with(|| Instant::now() + GRACE) {
            return Err(Fault::new("the program ended while calls were running on other ranks"));
        }
        Ok(())
    }

    fn send_batch(&mut self, peer: Peer) -> Result<(), Fault> {
        let mut message = None;
        if let [task] = &self.batch[..] {
            if let Some(RequestPayload::Large(bytes)) = task.delivery().payload() {
                message = Some(Outgoing::Shared(bytes));
            }
        }
        let message = message.unwrap_or_else(|| {
            let len = self.batch.iter().map(Item::weight).sum();
            let mut bytes = self.shared.buffers.take(len);
            let payloads = self.batch.iter().filter_map(|task| task.delivery().payload());
            payloads.for_each(|payload| bytes.extend_from_slice(payload.bytes()));
            Outgoing::Own(bytes)
        });
        self.batch.clear();
        self.link.send(peer, Tag::Tasks, message)
    }

    fn handle(&mut self, event: TransportEvent) -> Result<(), Fault> {
        let (from, tag, bytes) = match event {
            TransportEvent::Message { from, tag, bytes } => (from, tag, bytes),
            TransportEvent::Lost(peer) => {
                self.lost(peer);
                return Ok(());
            }
        };
        let handled = match tag {
            Tag::Results => self.results(from, bytes),
            Tag::Ready => self.ready(from, &bytes),
            _ => Err(Malformed("not an answer")),
        };
        handled.map_err(|Malformed(how)| {
            Fault::new(format!("{} does not answer: {how}", self.name(from)))
        })
    }

    fn results(&mut self, from: Peer, bytes: Vec<u8>) -> Result<(), Malformed> {
        let bytes = Rc::new(bytes);
        let mut rest = &bytes[..];
        let mut state = self.shared.state.lock();
        while let Some(answer) = next_result(&mut rest)? {
            let end = bytes.len() - rest.len();
            let kind = is_answer(answer.kind).map_err(Malformed)?;
            let took = Duration::from_micros(answer.micros.into());
            if let Some(task) = state.dispatcher.answered(from, answer.id, took) {
                state.answered += 1;
                let range = end - answer.bytes.len()..end;
                self.later.push_back(Later::Answered(task, kind, range, Rc::clone(&bytes)));
            }
        }
        Ok(())
    }

    fn ready(&mut self, from: Peer, bytes: &[u8]) -> Result<(), Malformed> {
        let failed = read_ready(bytes)?;
        self.shared.state.lock().dispatcher.ready(from);
        if let Some((kind, text)) = failed {
            let cause = failure(kind, text);
            let name = self.name(from);
            contain("logging the failure of an initializer", || {
                log::error!(target: LOG_TARGET, "{name}: exception in initializer: {cause}");
            });
            self.shared.stop_sending(&cause);
            self.later.push_back(Later::Broken(cause));
        }
        Ok(())
    }

    /// The rank has died.
    fn lost(&mut self, peer: Peer) {
        let loss = self.shared.state.lock().dispatcher.lost(peer);
        let Some(loss) = loss else { return };
        let mut death = WorkerDeath {
            pid: self.workers.get(peer).map_or(0, |worker| worker.pid),
            rank: Some(peer + 1),
            host: self.workers.get(peer).map(|worker| worker.host.clone()),
            call: loss.failed.as_ref().map(|task| task.description()),
            ..WorkerDeath::default()
        };
        contain("logging the end of a rank", || log::warn!(target: LOG_TARGET, "{death}"));
        if let Some(task) = loss.failed {
            let error = Error::WorkerDied(Cause::new(death.clone()));
            self.later.push_back(Later::Failed(task, error));
        }
        if !loss.goes_on {
            death.note = Some("no rank is left to run calls");
            self.later.push_back(Later::Broken(Error::WorkerDied(Cause::new(death))));
        }
    }

    /// Tells all workers to stop, and waits until they have.
    pub(super) fn stop(&mut self) -> Result<(), Fault> {
        for peer in 0..self.workers.len() {
            let lost = self.shared.state.lock().dispatcher.is_lost(peer);
            if !lost {
                self.link.send(peer, Tag::Stop, Outgoing::Own(Vec::new()))?;
            }
        }
        self.part()
    }

    /// Until all workers, which were told to stop, have said goodbye. What they say before that has to
    /// be received: MPI waits for it when it is finalised, and what nobody takes may turn up in the
    /// next communicator.
    pub(super) fn part(&mut self) -> Result<(), Fault> {
        let peers = 0..self.workers.len();
        let mut gone: Vec<bool> = {
            let state = self.shared.state.lock();
            peers.map(|peer| state.dispatcher.is_lost(peer)).collect()
        };
        let mut backoff = Backoff::new(BackoffPolicy::BUSY_RANK);
        loop {
            while let Some(event) = self.link.poll()? {
                backoff.reset();
                match event {
                    TransportEvent::Message { from: peer, tag: Tag::Bye, .. }
                    | TransportEvent::Lost(peer) => {
                        gone[peer] = true;
                    }
                    TransportEvent::Message { .. } => {} // nobody waits for it any more
                }
            }
            if !self.link.is_sending() && gone.iter().all(|gone| *gone) {
                return Ok(());
            }
            let ends = self.shared.state.lock().hurry;
            self.hurry(ends)?;
            if let Some(pause) = backoff.next_pause() {
                std::thread::sleep(pause);
            }
        }
    }

    /// What a worker is called in errors.
    pub(super) fn name(&self, peer: Peer) -> String {
        match self.workers.get(peer) {
            Some(RankHello { host, pid, .. }) => {
                format!("rank {} (process {pid} on {host})", peer + 1)
            }
            None => format!("rank {}", peer + 1),
        }
    }
}
