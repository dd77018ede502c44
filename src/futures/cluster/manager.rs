//! The pool's own thread on root: sends calls, receives answers, ends calls.
//!
//! It alone uses the transport. It holds no lock while it does, nor while user code runs.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::patience::Patience;
use super::shared::{End, Shared};
use super::task::{After, Frame, Task, is_answer};
use super::transport::{Event, Fault, Outgoing, Peer, Transport};
use super::wire::{Hello, Start, Tag, next_result, read_ready};
use crate::LOG_TARGET;
use crate::death::WorkerDeath;
use crate::error::{Cause, Error};
use crate::futures::process::landing::failure;
use crate::futures::process::wire::{Kind, Malformed};
use crate::guard::contain;

/// How long to sleep at most while answers are to come.
const WORKING: Duration = Duration::from_micros(200);

/// How often to look at a pool that has nothing to do, for the deaths of ranks.
const IDLE: Duration = Duration::from_millis(50);

/// How long calls may run on when the program ends.
const GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Manager<T> {
    shared: Arc<Shared>,
    link: T,
    workers: Vec<Hello>,
    /// Workers that have not said that they are ready.
    starting: usize,
    batch: Vec<Task>,
    /// The program ends, and this is when it stops to wait.
    hurry: Option<Instant>,
}

/// What there is to do besides what comes.
struct Look {
    sent: bool,
    /// What of the shared state was looked at.
    seen: u64,
    /// Nothing is out, so that nothing is to come.
    idle: bool,
    over: bool,
}

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
        let mut manager =
            Self { shared, link, workers, starting: count, batch: vec![], hurry: None };
        let packs = !manager.link.outlives_peers();
        let start = Start { limit: manager.shared.limit, packs, initializer }.to_bytes();
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
        manager.flush().map_err(failed)?;
        Err((Error::Cluster(words.join("; ").into()), true))
    }

    /// Until the pool was shut down and all calls are done.
    pub(crate) fn run(mut self) -> End {
        self.shared.adopt_thread();
        let driven = self.drive().and_then(|()| self.stop());
        let Err(fault) = driven else { return End::Stopped };
        self.shared.break_off(fault.clone().into_error());
        End::Faulty(fault)
    }

    fn drive(&mut self) -> Result<(), Fault> {
        let mut patience = Patience::new(WORKING);
        loop {
            let mut busy = false;
            while let Some(event) = self.link.poll()? {
                busy = true;
                self.handle(event)?;
            }
            let look = self.dispatch()?;
            if look.over {
                return Ok(());
            }
            if busy || look.sent {
                patience.reset();
            } else if let Some(pause) = patience.next_pause() {
                self.shared.sleep(if look.idle { IDLE } else { pause }, look.seen);
            }
        }
    }

    /// Sends what can be sent.
    fn dispatch(&mut self) -> Result<Look, Fault> {
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
            let look = Look {
                sent,
                seen: state.version,
                idle: nothing && self.starting == 0 && !self.link.is_sending(),
                over: state.closing && nothing,
            };
            let hurry = state.hurry;
            drop(state);
            if hurry && Instant::now() >= *self.hurry.get_or_insert_with(|| Instant::now() + GRACE)
            {
                return Err(Fault::new(
                    "the program ended while calls were running on other ranks",
                ));
            }
            return Ok(look);
        }
    }

    fn send_batch(&mut self, peer: Peer) -> Result<(), Fault> {
        let mut message = None;
        if let [task] = &self.batch[..] {
            if let Some(Frame::Large(bytes)) = task.frame() {
                message = Some(Outgoing::Shared(bytes));
            }
        }
        let message = message.unwrap_or_else(|| {
            let len = self.batch.iter().map(|task| task.weight()).sum();
            let mut bytes = self.shared.buffers.take(len);
            let frames = self.batch.iter().filter_map(|task| task.frame());
            frames.for_each(|frame| bytes.extend_from_slice(frame.bytes()));
            Outgoing::Own(bytes)
        });
        self.batch.clear();
        self.link.send(peer, Tag::Tasks, message)
    }

    fn handle(&mut self, event: Event) -> Result<(), Fault> {
        let (from, tag, bytes) = match event {
            Event::Message { from, tag, bytes } => (from, tag, bytes),
            Event::Lost(peer) => {
                self.lost(peer);
                return Ok(());
            }
        };
        let handled = match tag {
            Tag::Results => self.results(from, &bytes),
            Tag::Ready => self.ready(from, &bytes),
            _ => Err(Malformed("not an answer").into()),
        };
        self.shared.buffers.give_back(bytes);
        handled.map_err(|Bad(how)| match how {
            Ok(malformed) => {
                Fault::new(format!("{} does not answer: {}", self.name(from), malformed.0))
            }
            Err(fault) => fault,
        })
    }

    fn results(&mut self, from: Peer, bytes: &[u8]) -> Result<(), Bad> {
        let mut answers: Vec<(Kind, Range<usize>, u64, Duration)> = Vec::new();
        let mut rest = bytes;
        while let Some(answer) = next_result(&mut rest)? {
            let end = bytes.len() - rest.len();
            let kind = is_answer(answer.kind).map_err(Malformed)?;
            let took = Duration::from_micros(answer.micros.into());
            answers.push((kind, end - answer.bytes.len()..end, answer.id, took));
        }
        let mut ended = Vec::with_capacity(answers.len());
        {
            let mut state = self.shared.state.lock();
            for (kind, range, id, took) in answers {
                if let Some(task) = state.dispatcher.answered(from, id, took) {
                    state.answered += 1;
                    ended.push((task, kind, range));
                }
            }
        }
        // The rank gets its next calls before anybody is told of the last.
        self.dispatch().map_err(|fault| Bad(Err(fault)))?;
        for (task, kind, range) in ended {
            if let Some(frame) = task.take_frame() {
                frame.give_back(&self.shared.buffers);
            }
            if let Some(told) = task.finish(kind, &bytes[range]) {
                told.tell();
            }
        }
        Ok(())
    }

    fn ready(&mut self, from: Peer, bytes: &[u8]) -> Result<(), Bad> {
        self.starting = self.starting.saturating_sub(1);
        match read_ready(bytes)? {
            None => self.shared.state.lock().dispatcher.ready(from),
            Some((kind, text)) => {
                let cause = failure(kind, text);
                let name = self.name(from);
                contain("logging the failure of an initializer", || {
                    log::error!(target: LOG_TARGET, "{name}: exception in initializer: {cause}");
                });
                self.shared.break_off(cause);
            }
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
        let mut after = After::default();
        if let Some(task) = loss.failed {
            after.failed.push((task, Error::WorkerDied(Cause::new(death.clone()))));
        }
        after.run();
        if !loss.goes_on {
            death.note = Some("no rank is left to run calls");
            self.shared.break_off(Error::WorkerDied(Cause::new(death)));
        }
    }

    /// Tells all workers to stop.
    fn stop(&mut self) -> Result<(), Fault> {
        for peer in 0..self.workers.len() {
            let lost = self.shared.state.lock().dispatcher.is_lost(peer);
            if !lost {
                self.link.send(peer, Tag::Stop, Outgoing::Own(Vec::new()))?;
            }
        }
        self.flush()
    }

    /// Until all that was sent is on its way.
    fn flush(&mut self) -> Result<(), Fault> {
        let mut patience = Patience::new(WORKING);
        loop {
            while self.link.poll()?.is_some() {} // nobody waits for it any more
            if !self.link.is_sending() {
                return Ok(());
            }
            if let Some(pause) = patience.next_pause() {
                std::thread::sleep(pause);
            }
        }
    }

    /// What a worker is called in errors.
    fn name(&self, peer: Peer) -> String {
        match self.workers.get(peer) {
            Some(Hello { host, pid, .. }) => format!("rank {} (process {pid} on {host})", peer + 1),
            None => format!("rank {}", peer + 1),
        }
    }
}

/// The engine failed before the workers were told anything.
fn failed(fault: Fault) -> (Error, bool) {
    (fault.into_error(), false)
}

/// What is wrong with a message, or with the engine.
struct Bad(Result<Malformed, Fault>);

impl From<Malformed> for Bad {
    fn from(malformed: Malformed) -> Self {
        Self(Ok(malformed))
    }
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
