//! A worker: takes calls from root until it is told to stop.

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
    /// Root does not want it; the text says why.
    Refused(String),
}

/// Answers that took longer than this are not held back for others to go with them.
const PROMPT: Duration = Duration::from_micros(200);

/// The most bytes of answers that go together.
const PACK: usize = 32 * 1024;

pub(crate) struct RankLoop<'a, T> {
    link: &'a mut T,
    buffers: Arc<BufferPool>,
    /// The most bytes of a result.
    limit: u64,
    /// Whether answers may be held back.
    packs: bool,
    todo: VecDeque<(Tag, Vec<u8>)>,
    /// Root has died, or is done; what it said before counts.
    alone: bool,
}

impl<'a, T: Transport> RankLoop<'a, T> {
    pub(crate) fn new(link: &'a mut T, buffers: Arc<BufferPool>) -> Self {
        Self { link, buffers, limit: 0, packs: false, todo: VecDeque::new(), alone: false }
    }

    /// Greets root, takes calls until it says stop, and says goodbye.
    pub(crate) fn serve(&mut self, hello: &RankHello) -> Result<Served, Fault> {
        self.link.send(0, Tag::Hello, Outgoing::Own(hello.to_bytes()))?;
        loop {
            let (tag, bytes) = self.next()?;
            let done = match tag {
                Tag::Start => self.start(&bytes),
                Tag::Tasks => self.tasks(&bytes),
                Tag::Stop => {
                    self.link.send(0, Tag::Bye, Outgoing::Own(Vec::new()))?;
                    self.flush()?;
                    let why = String::from_utf8_lossy(&bytes).into_owned();
                    return Ok(if why.is_empty() { Served::Stopped } else { Served::Refused(why) });
                }
                _ => Err(malformed(Malformed("not for a worker"))),
            };
            self.buffers.give_back(bytes);
            done?;
        }
    }

    /// The next message. Before it is looked at, all answers are on their way: while a call runs
    /// nothing moves.
    fn next(&mut self) -> Result<(Tag, Vec<u8>), Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::IDLE_RANK);
        loop {
            if self.listen()? {
                backoff.reset();
            }
            if !self.link.is_sending() {
                if let Some(next) = self.todo.pop_front() {
                    return Ok(next);
                }
            }
            if self.alone {
                return Err(Fault::new("rank 0 has died"));
            }
            if let Some(pause) = backoff.next_pause() {
                std::thread::sleep(pause);
            }
        }
    }

    /// Takes in what has come; whether there was anything.
    fn listen(&mut self) -> Result<bool, Fault> {
        let mut any = false;
        while let Some(event) = self.link.poll()? {
            match event {
                TransportEvent::Message { tag, bytes, .. } => self.todo.push_back((tag, bytes)),
                TransportEvent::Lost(_) => self.alone = true,
            }
            any = true;
        }
        Ok(any)
    }

    /// Until all that was sent is on its way, or nobody is there to get it.
    fn flush(&mut self) -> Result<(), Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::IDLE_RANK);
        while self.link.is_sending() && !self.alone {
            if self.listen()? {
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
        self.link.send(0, Tag::Ready, Outgoing::Own(ready(failure)))
    }

    fn tasks(&mut self, mut message: &[u8]) -> Result<(), Fault> {
        let files = Files::default();
        let mut begun = Instant::now();
        let mut held_since = begun;
        let mut out = self.buffers.take_largest();
        let mut held = None;
        while let Some(order) = next_call(&mut message).map_err(malformed)? {
            let CallFrame { id, token, argument } = order;
            // Answers are held back while calls are short. Of another function that is not known.
            if held.replace(token).is_some_and(|held| held != token) && !out.is_empty() {
                held_since = Instant::now();
                self.link.send(0, Tag::Results, Outgoing::Own(out))?;
                out = self.buffers.take(0);
            }
            let at = out.len();
            begin_result(&mut out, id);
            let payload = out.len();
            let mut sink = Sink::in_heap(out, self.limit);
            let verdict = run(token, &mut Source::new(argument, &files), &mut sink);
            out = sink.into_bytes();
            let kind = match verdict.failure() {
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
            let enough = out.len() >= PACK || now.duration_since(held_since) >= PROMPT;
            if enough || !self.packs {
                held_since = now;
                self.link.send(0, Tag::Results, Outgoing::Own(out))?;
                out = self.buffers.take(0);
                if !self.packs {
                    self.flush()?; // the next call may kill this rank, and this one has not
                }
            }
        }
        if out.is_empty() {
            self.buffers.give_back(out);
            return Ok(());
        }
        self.link.send(0, Tag::Results, Outgoing::Own(out))
    }
}

fn malformed(malformed: Malformed) -> Fault {
    Fault::new(format!("what rank 0 said is not understood: {}", malformed.0))
}
