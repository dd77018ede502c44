//! [`LocalTransport`]: a transport within one process, for a program of one rank, and for tests of the pool.

use std::collections::VecDeque;
use std::sync::Arc;

use super::buffer_pool::BufferPool;
use super::{Fault, Outgoing, Peer, Transport, TransportEvent};
use crate::futures::mpi::protocol::Tag;
use crate::sync::Mutex;

/// One direction between two ends.
#[derive(Debug, Default)]
struct Pipe(Mutex<PipeState>);

#[derive(Debug, Default)]
struct PipeState {
    messages: VecDeque<(Tag, Vec<u8>)>,
    /// The sending end was dropped.
    closed: bool,
}

/// One end's connection to a peer.
#[derive(Debug)]
struct PeerPipes {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    lost: bool,
}

/// One end: root with all workers, or a worker with root.
#[derive(Debug)]
pub(crate) struct LocalTransport {
    channels: Vec<PeerPipes>,
    buffers: Arc<BufferPool>,
}

impl LocalTransport {
    /// The ends of root and of `workers` workers.
    pub(crate) fn network(workers: usize, buffers: &Arc<BufferPool>) -> (Self, Vec<Self>) {
        let end = |channels| Self { channels, buffers: Arc::clone(buffers) };
        let pair = |_| {
            let (there, back) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
            let root = PeerPipes {
                incoming: Arc::clone(&back),
                outgoing: Arc::clone(&there),
                lost: false,
            };
            (root, end(vec![PeerPipes { incoming: there, outgoing: back, lost: false }]))
        };
        let (channels, workers) = (0..workers).map(pair).unzip();
        (end(channels), workers)
    }
}

impl Transport for LocalTransport {
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

    fn poll(&mut self) -> Result<Option<TransportEvent>, Fault> {
        for (peer, channel) in self.channels.iter_mut().enumerate() {
            let (message, closed) = {
                let mut pipe = channel.incoming.0.lock();
                (pipe.messages.pop_front(), pipe.closed)
            };
            if let Some((tag, bytes)) = message {
                return Ok(Some(TransportEvent::Message { from: peer, tag, bytes }));
            }
            if closed && !std::mem::replace(&mut channel.lost, true) {
                return Ok(Some(TransportEvent::Lost(peer)));
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

impl Drop for LocalTransport {
    fn drop(&mut self) {
        for channel in &self.channels {
            channel.outgoing.0.lock().closed = true;
        }
    }
}
