//! [`Coordinator`]: sends calls, receives answers, and handles deaths of ranks, in the pool's thread on root.
//!
//! It alone uses the transport, without holding a lock, and runs no user code: the event loop ends calls
//! after each turn, so that a callback may wait for another call (`event_loop.rs`).

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::delivery::{MpiCallRef, RequestPayload, is_answer};
use super::dispatcher::Item;
use super::pool_state::PoolState;
use crate::LOG_TARGET;
use crate::error::WorkerDeath;
use crate::error::{Cause, Error};
use crate::futures::mpi::protocol::{RankHello, Tag, next_result, read_ready};
use crate::futures::mpi::transport::{Fault, Outgoing, Peer, Transport, TransportEvent};
use crate::futures::remote::protocol::{FrameKind, Malformed};
use crate::futures::remote::reply::failure;
use crate::sync::backoff::{Backoff, BackoffPolicy};
use crate::user_code::contain;

/// How long calls may go on when the program ends.
const GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Coordinator<T> {
    shared: Arc<PoolState>,
    pub(super) transport: T,
    workers: Vec<RankHello>,
    batch: Vec<MpiCallRef>,
    /// Ends of calls, which run user code and come after everything else.
    deferred: VecDeque<DeferredEnd>,
    /// Calls that have ended before those in `deferred`, and whose waiters are not notified yet.
    ended: VecDeque<MpiCallRef>,
    /// The program ends, and waits until this time.
    give_up_at: Option<Instant>,
}

/// The end of a call.
pub(super) enum DeferredEnd {
    /// By an answer in a message with several.
    Answered(MpiCallRef, FrameKind, Range<usize>, Rc<Vec<u8>>),
    Failed(MpiCallRef, Error),
    /// The end of all calls.
    Broken(Error),
}

/// The result of [`Coordinator::poll_once`].
pub(super) struct PollOutcome {
    pub(super) busy: bool,
    /// The version of the shared state that was seen.
    pub(super) seen: u64,
    /// No call is sent, so no answer can come.
    pub(super) idle: bool,
    pub(super) over: bool,
}

impl<T: Transport> Coordinator<T> {
    pub(super) fn new(shared: Arc<PoolState>, transport: T, workers: Vec<RankHello>) -> Self {
        let (batch, deferred, ended) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { shared, transport, workers, batch, deferred, ended, give_up_at: None }
    }

    pub(super) fn shared(&self) -> &Arc<PoolState> {
        &self.shared
    }

    /// Checks everything once. No user code runs: ends of calls are deferred.
    pub(super) fn poll_once(&mut self) -> Result<PollOutcome, Fault> {
        let mut busy = false;
        while self.deferred.is_empty() {
            let Some(event) = self.transport.poll()? else { break };
            busy = true;
            self.handle(event)?;
        }
        // Ranks get their next calls before the ends of earlier ones are notified.
        let outcome = self.dispatch()?;
        Ok(PollOutcome { busy: busy || outcome.busy, ..outcome })
    }

    /// The next end of a call to be handled.
    pub(super) fn next_deferred(&mut self) -> Option<DeferredEnd> {
        self.deferred.pop_front()
    }

    /// Defers the notification of calls that have ended.
    pub(super) fn notify_later(&mut self, ended: impl IntoIterator<Item = MpiCallRef>) {
        self.ended.extend(ended);
    }

    /// The next call that has ended and has waiters to notify.
    pub(super) fn next_ended(&mut self) -> Option<MpiCallRef> {
        self.ended.pop_front()
    }

    /// Sends calls to ranks that have room.
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
                idle: nothing && state.dispatcher.all_ready() && !self.transport.is_sending(),
                over: state.closing && nothing,
            };
            let hurry = state.hurry;
            drop(state);
            self.check_end(hurry)?;
            return Ok(outcome);
        }
    }

    /// A fault if the program has ended at least [`GRACE`] ago.
    fn check_end(&mut self, ends: bool) -> Result<(), Fault> {
        if ends && Instant::now() >= *self.give_up_at.get_or_insert_with(|| Instant::now() + GRACE)
        {
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
        self.transport.send(peer, Tag::Tasks, message)
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
            _ => Err(Malformed("it is no answer")),
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
                self.deferred.push_back(DeferredEnd::Answered(
                    task,
                    kind,
                    range,
                    Rc::clone(&bytes),
                ));
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
            self.deferred.push_back(DeferredEnd::Broken(cause));
        }
        Ok(())
    }

    /// Handles the death of a rank.
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
            self.deferred.push_back(DeferredEnd::Failed(task, error));
        }
        if !loss.goes_on {
            death.note = Some("no rank is left to run calls");
            self.deferred.push_back(DeferredEnd::Broken(Error::WorkerDied(Cause::new(death))));
        }
    }

    /// Tells all workers to stop, and waits until they have.
    pub(super) fn stop(&mut self) -> Result<(), Fault> {
        for peer in 0..self.workers.len() {
            let lost = self.shared.state.lock().dispatcher.is_lost(peer);
            if !lost {
                self.transport.send(peer, Tag::Stop, Outgoing::Own(Vec::new()))?;
            }
        }
        self.wait_for_goodbyes()
    }

    /// Waits until all workers, which were told to stop, have said goodbye. Their messages before that must be
    /// received: MPI waits for them when it is finalised, and others may turn up in the next communicator.
    pub(super) fn wait_for_goodbyes(&mut self) -> Result<(), Fault> {
        let peers = 0..self.workers.len();
        let mut gone: Vec<bool> = {
            let state = self.shared.state.lock();
            peers.map(|peer| state.dispatcher.is_lost(peer)).collect()
        };
        let mut backoff = Backoff::new(BackoffPolicy::BUSY_RANK);
        loop {
            while let Some(event) = self.transport.poll()? {
                backoff.reset();
                match event {
                    TransportEvent::Message { from: peer, tag: Tag::Bye, .. }
                    | TransportEvent::Lost(peer) => {
                        gone[peer] = true;
                    }
                    TransportEvent::Message { .. } => {} // no call waits for it any more
                }
            }
            if !self.transport.is_sending() && gone.iter().all(|gone| *gone) {
                return Ok(());
            }
            let ends = self.shared.state.lock().hurry;
            self.check_end(ends)?;
            if let Some(pause) = backoff.next_pause() {
                std::thread::sleep(pause);
            }
        }
    }

    /// The name of a worker in errors.
    pub(super) fn name(&self, peer: Peer) -> String {
        match self.workers.get(peer) {
            Some(RankHello { host, pid, .. }) => {
                format!("rank {} (process {pid} on {host})", peer + 1)
            }
            None => format!("rank {}", peer + 1),
        }
    }
}
