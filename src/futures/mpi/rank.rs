//! [`RankLoop`]: a worker rank runs calls of root until it is told to stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::protocol::{
    CallFrame, RankHello, RankSettings, Tag, begin_result, end_result, next_call, ready,
};
use super::transport::buffer_pool::BufferPool;
use super::transport::{Fault, Outgoing, Transport, TransportEvent};
use crate::futures::remote::attachments::Files;
use crate::futures::remote::codec::{Sink, Source};
use crate::futures::remote::invoke::run;
use crate::futures::remote::protocol::{FrameKind, Malformed, Text};
use crate::sync::backoff::{Backoff, BackoffPolicy};

/// How a worker ended.
#[derive(Debug)]
pub(crate) enum Served {
    Stopped,
    /// Root has refused it; the text says why.
    Refused(String),
}

/// Answers of calls that take longer than this are sent at once.
const HOLD_BACK: Duration = Duration::from_micros(200);

/// The most bytes of answers in one message.
const PACK: usize = 32 * 1024;

pub(crate) struct RankLoop<'a, T> {
    transport: &'a mut T,
    buffers: Arc<BufferPool>,
    /// The most bytes of a result.
    limit: u64,
    /// Whether several answers may go in one message.
    packs: bool,
    inbox: VecDeque<(Tag, Vec<u8>)>,
    /// Root has died or ended; messages that it sent before count.
    root_is_gone: bool,
}

impl<'a, T: Transport> RankLoop<'a, T> {
    pub(crate) fn new(transport: &'a mut T, buffers: Arc<BufferPool>) -> Self {
        Self {
            transport,
            buffers,
            limit: 0,
            packs: false,
            inbox: VecDeque::new(),
            root_is_gone: false,
        }
    }

    /// Sends its hello to root, runs calls until root says stop, and says goodbye.
    pub(crate) fn serve(&mut self, hello: &RankHello) -> Result<Served, Fault> {
        self.transport.send(0, Tag::Hello, Outgoing::Own(hello.to_bytes()))?;
        loop {
            let (tag, bytes) = self.next()?;
            let done = match tag {
                Tag::Start => self.start(&bytes),
                Tag::Tasks => self.tasks(&bytes),
                Tag::Stop => {
                    self.transport.send(0, Tag::Bye, Outgoing::Own(Vec::new()))?;
                    self.flush()?;
                    let why = String::from_utf8_lossy(&bytes).into_owned();
                    return Ok(if why.is_empty() { Served::Stopped } else { Served::Refused(why) });
                }
                _ => Err(malformed(Malformed("it is not meant for a worker"))),
            };
            self.buffers.give_back(bytes);
            done?;
        }
    }

    /// The next message. All answers are sent before it is returned: while a call runs, MPI makes no progress.
    fn next(&mut self) -> Result<(Tag, Vec<u8>), Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::IDLE_RANK);
        loop {
            if self.receive()? {
                backoff.reset();
            }
            if !self.transport.is_sending() {
                if let Some(next) = self.inbox.pop_front() {
                    return Ok(next);
                }
            }
            if self.root_is_gone {
                return Err(Fault::new("rank 0 has died"));
            }
            if let Some(pause) = backoff.next_pause() {
                std::thread::sleep(pause);
            }
        }
    }

    /// Receives the messages that have come; returns whether there were any.
    fn receive(&mut self) -> Result<bool, Fault> {
        let mut any = false;
        while let Some(event) = self.transport.poll()? {
            match event {
                TransportEvent::Message { tag, bytes, .. } => self.inbox.push_back((tag, bytes)),
                TransportEvent::Lost(_) => self.root_is_gone = true,
            }
            any = true;
        }
        Ok(any)
    }

    /// Waits until all messages are sent, or root is gone.
    fn flush(&mut self) -> Result<(), Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::IDLE_RANK);
        while self.transport.is_sending() && !self.root_is_gone {
            if self.receive()? {
                backoff.reset();
            } else if let Some(pause) = backoff.next_pause() {
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }

    fn start(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let start = RankSettings::from_bytes(bytes).map_err(malformed)?;
        let RankSettings { limit, packs, initializer } = start;
        (self.limit, self.packs) = (limit, packs);
        let mut failure = None;
        if let Some(mut call) = initializer {
            let call = next_call(&mut call).map_err(malformed)?;
            let CallFrame { token, argument, .. } =
                call.ok_or(malformed(Malformed("no initializer")))?;
            let files = Files::default();
            let mut sink = Sink::in_heap(Vec::new(), limit);
            failure = run(token, &mut Source::new(argument, &files), &mut sink).failure();
        }
        self.transport.send(0, Tag::Ready, Outgoing::Own(ready(failure)))
    }

    fn tasks(&mut self, mut message: &[u8]) -> Result<(), Fault> {
        let files = Files::default();
        let mut begun = Instant::now();
        let mut held_since = begun;
        let mut out = self.buffers.take_largest();
        let mut held = None;
        while let Some(order) = next_call(&mut message).map_err(malformed)? {
            let CallFrame { id, token, argument } = order;
            // Answers are held back while calls are short. Calls of another function may be long.
            if held.replace(token).is_some_and(|held| held != token) && !out.is_empty() {
                held_since = Instant::now();
                self.transport.send(0, Tag::Results, Outgoing::Own(out))?;
                out = self.buffers.take(0);
            }
            let at = out.len();
            begin_result(&mut out, id);
            let payload = out.len();
            let mut sink = Sink::in_heap(out, self.limit);
            let outcome = run(token, &mut Source::new(argument, &files), &mut sink);
            out = sink.into_bytes();
            let kind = match outcome.failure() {
                None => FrameKind::Done,
                Some((kind, text)) => {
                    out.truncate(payload);
                    out.extend_from_slice(&Text::to_bytes(&text));
                    kind
                }
            };
            let now = Instant::now();
            let micros = now.duration_since(begun).as_micros();
            end_result(&mut out, at, kind, u32::try_from(micros).unwrap_or(u32::MAX));
            begun = now;
            let enough = out.len() >= PACK || now.duration_since(held_since) >= HOLD_BACK;
            if enough || !self.packs {
                held_since = now;
                self.transport.send(0, Tag::Results, Outgoing::Own(out))?;
                out = self.buffers.take(0);
                if !self.packs {
                    self.flush()?; // the next call may kill this rank; the answer must not be lost with it
                }
            }
        }
        if out.is_empty() {
            self.buffers.give_back(out);
            return Ok(());
        }
        self.transport.send(0, Tag::Results, Outgoing::Own(out))
    }
}

fn malformed(malformed: Malformed) -> Fault {
    Fault::new(format!("a message of rank 0 is not understood: {}", malformed.0))
}
