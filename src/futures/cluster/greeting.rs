//! How root gets to know its workers.

use std::sync::Arc;

use super::manager::Manager;
use super::patience::Patience;
use super::shared::Shared;
use super::transport::{Event, Fault, Outgoing, Transport};
use super::wire::{Hello, Start, Tag};
use crate::error::Error;

impl<T: Transport> Manager<T> {
    /// Waits until all of `count` workers have said who they are, and tells them to start. If one
    /// does not belong to this program, all are told to stop; an error says whether they were.
    pub(crate) fn greet(
        shared: Arc<Shared>,
        mut link: T,
        count: usize,
        own: &Hello,
        initializer: Option<&[u8]>,
    ) -> Result<Self, (Error, bool)> {
        let workers = hellos(&mut link, count).map_err(failed)?;
        let refusals: Vec<_> = workers.iter().map(|worker| own.refusal(worker)).collect();
        let mut manager = Self::new(shared, link, workers);
        let adaptive = manager.shared().state.lock().dispatcher.is_adaptive();
        let packs = adaptive && !manager.link.outlives_peers();
        let start = Start { limit: manager.shared().limit, packs, initializer }.to_bytes();
        let refused = refusals.iter().any(Option::is_some);
        for (peer, refusal) in refusals.iter().enumerate() {
            let (tag, message) = match refusal {
                _ if !refused => (Tag::Start, start.clone()),
                Some(why) => (Tag::Stop, format!("{} {why}", manager.name(peer)).into_bytes()),
                None => (Tag::Stop, Vec::new()),
            };
            manager.link.send(peer, tag, Outgoing::Own(message)).map_err(failed)?;
        }
        let words = refusals.iter().enumerate();
        let words =
            words.filter_map(|(peer, why)| Some(format!("{} {}", manager.name(peer), (*why)?)));
        let words: Vec<String> = words.collect();
        if words.is_empty() {
            return Ok(manager);
        }
        manager.part().map_err(failed)?;
        Err((Error::Cluster(words.join("; ").into()), true))
    }
}

/// The engine failed before the workers were told anything.
fn failed(fault: Fault) -> (Error, bool) {
    (fault.into_error(), false)
}

/// Who the workers are.
fn hellos<T: Transport>(link: &mut T, count: usize) -> Result<Vec<Hello>, Fault> {
    let mut hellos: Vec<Option<Hello>> = vec![None; count];
    let mut patience = Patience::new(Patience::IDLE);
    while hellos.iter().any(Option::is_none) {
        match link.poll()? {
            Some(Event::Message { from, tag: Tag::Hello, bytes }) => {
                let hello = Hello::from_bytes(&bytes).map_err(|malformed| {
                    Fault::new(format!("rank {} does not greet: {}", from + 1, malformed.0))
                })?;
                patience.reset();
                hellos[from] = Some(hello);
            }
            Some(Event::Message { from, .. }) => {
                return Err(Fault::new(format!("rank {} does not greet", from + 1)));
            }
            Some(Event::Lost(peer)) => {
                return Err(Fault::new(format!("rank {} died before it was ready", peer + 1)));
            }
            None => {
                if let Some(pause) = patience.next_pause() {
                    std::thread::sleep(pause);
                }
            }
        }
    }
    Ok(hellos.into_iter().flatten().collect())
}
