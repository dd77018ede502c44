//! A transport within one process: for a program of one rank, and for the tests of the pool itself.

use std::collections::VecDeque;
use std::sync::Arc;

use super::buffers::Buffers;
use super::transport::{Event, Fault, Outgoing, Peer, Transport};
use super::wire::Tag;
use crate::sync::Mutex;

/// One direction between two ends.
#[derive(Debug, Default)]
struct Pipe(Mutex<Flow>);

#[derive(Debug, Default)]
struct Flow {
    messages: VecDeque<(Tag, Vec<u8>)>,
    /// The end that sends is gone.
    closed: bool,
}

/// What one end has of its peers.
#[derive(Debug)]
struct Channel {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    lost: bool,
}

/// One end: root with all workers, or a worker with root.
#[derive(Debug)]
pub(crate) struct LocalLink {
    channels: Vec<Channel>,
    buffers: Arc<Buffers>,
}

impl LocalLink {
    /// Root, and so many workers.
    pub(crate) fn network(workers: usize, buffers: &Arc<Buffers>) -> (Self, Vec<Self>) {
        let end = |channels| Self { channels, buffers: Arc::clone(buffers) };
        let pair = |_| {
            let (there, back) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
            let root =
                Channel { incoming: Arc::clone(&back), outgoing: Arc::clone(&there), lost: false };
            (root, end(vec![Channel { incoming: there, outgoing: back, lost: false }]))
        };
        let (channels, workers) = (0..workers).map(pair).unzip();
        (end(channels), workers)
    }
}

impl Transport for LocalLink {
    fn send(&mut self, to: Peer, tag: Tag, message: Outgoing) -> Result<(), Fault> {
        let bytes = match message {
            Outgoing::Own(bytes) => bytes,
            Outgoing::Shared(shared) => {
                let mut bytes = self.buffers.take(shared.len());
                bytes.extend_from_slice(&shared);
                bytes
            }
        };
        self.channels[to].outgoing.0.lock().messages.push_back((tag, bytes));
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Event>, Fault> {
        for (peer, channel) in self.channels.iter_mut().enumerate() {
            let (message, closed) = {
                let mut flow = channel.incoming.0.lock();
                (flow.messages.pop_front(), flow.closed)
            };
            if let Some((tag, bytes)) = message {
                return Ok(Some(Event::Message { from: peer, tag, bytes }));
            }
            if closed && !std::mem::replace(&mut channel.lost, true) {
                return Ok(Some(Event::Lost(peer)));
            }
        }
        Ok(None)
    }

    fn is_sending(&self) -> bool {
        false
    }

    fn outlives_peers(&self) -> bool {
        true
    }
}

impl Drop for LocalLink {
    fn drop(&mut self) {
        for channel in &self.channels {
            channel.outgoing.0.lock().closed = true;
        }
    }
}
