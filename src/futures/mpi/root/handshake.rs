//! The handshake of root and its workers.

use std::sync::Arc;

use super::coordinator::Coordinator;
use super::pool_state::PoolState;
use crate::error::Error;
use crate::futures::mpi::protocol::{RankHello, RankSettings, Tag};
use crate::futures::mpi::transport::{Fault, Outgoing, Transport, TransportEvent};
use crate::sync::backoff::{Backoff, BackoffPolicy};

impl<T: Transport> Coordinator<T> {
    /// Waits for the hellos of all `count` workers, and tells them to start. If one does not belong to this
    /// program, all are told to stop. An error also says whether they were.
    pub(crate) fn handshake(
        shared: Arc<PoolState>,
        mut transport: T,
        count: usize,
        own: &RankHello,
        initializer: Option<&[u8]>,
    ) -> Result<Self, (Error, bool)> {
        let workers = hellos(&mut transport, count).map_err(failed)?;
        let refusals: Vec<_> = workers.iter().map(|worker| own.refusal(worker)).collect();
        let mut coordinator = Self::new(shared, transport, workers);
        let adaptive = coordinator.shared().state.lock().dispatcher.is_adaptive();
        let packs = adaptive && !coordinator.transport.outlives_peers();
        let start =
            RankSettings { limit: coordinator.shared().limit, packs, initializer }.to_bytes();
        let refused = refusals.iter().any(Option::is_some);
        for (peer, refusal) in refusals.iter().enumerate() {
            let (tag, message) = match refusal {
                _ if !refused => (Tag::Start, start.clone()),
                Some(why) => (Tag::Stop, format!("{} {why}", coordinator.name(peer)).into_bytes()),
                None => (Tag::Stop, Vec::new()),
            };
            coordinator.transport.send(peer, tag, Outgoing::Own(message)).map_err(failed)?;
        }
        let words = refusals.iter().enumerate();
        let words =
            words.filter_map(|(peer, why)| Some(format!("{} {}", coordinator.name(peer), (*why)?)));
        let words: Vec<String> = words.collect();
        if words.is_empty() {
            return Ok(coordinator);
        }
        coordinator.wait_for_goodbyes().map_err(failed)?;
        Err((Error::Mpi(words.join("; ").into()), true))
    }
}

/// The transport failed before the workers were told to start or stop.
fn failed(fault: Fault) -> (Error, bool) {
    (fault.into_error(), false)
}

/// Receives the hellos of all workers.
fn hellos<T: Transport>(transport: &mut T, count: usize) -> Result<Vec<RankHello>, Fault> {
    let mut hellos: Vec<Option<RankHello>> = vec![None; count];
    let mut backoff = Backoff::new(BackoffPolicy::IDLE_RANK);
    while hellos.iter().any(Option::is_none) {
        match transport.poll()? {
            Some(TransportEvent::Message { from, tag: Tag::Hello, bytes }) => {
                let hello = RankHello::from_bytes(&bytes).map_err(|malformed| {
                    Fault::new(format!(
                        "the hello of rank {} is not understood: {}",
                        from + 1,
                        malformed.0
                    ))
                })?;
                backoff.reset();
                hellos[from] = Some(hello);
            }
            Some(TransportEvent::Message { from, .. }) => {
                return Err(Fault::new(format!("rank {} does not begin with a hello", from + 1)));
            }
            Some(TransportEvent::Lost(peer)) => {
                return Err(Fault::new(format!("rank {} died before it was ready", peer + 1)));
            }
            None => {
                if let Some(pause) = backoff.next_pause() {
                    std::thread::sleep(pause);
                }
            }
        }
    }
    Ok(hellos.into_iter().flatten().collect())
}
