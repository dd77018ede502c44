//! The parent's side: it copes with anything that a worker may send, and every call ends.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::Location;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::process::Signal;

use super::script::{IN_PARTS, ScriptFiles, ScriptOrder, ScriptStep, steps};
use super::values::{bytes, echo, len, number, shared};
use super::{LIMIT, sockets};
use crate::error::Result;
use crate::futures::Future;
use crate::futures::process::SharedBytes;
use crate::futures::process::channel::fds::receive_with_files;
use crate::futures::process::channel::frame::{REPLY_LIMIT, REQUEST_LIMIT, put};
use crate::futures::process::channel::frame_reader::FrameReader;
use crate::futures::process::channel::sender::Sender;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::{Hello, Welcome};
use crate::futures::process::options::OnWorkerDeath;
use crate::futures::process::parent::deferred::Step as Deferred;
use crate::futures::process::parent::incoming::Incoming;
use crate::futures::process::parent::manager::PoolManager;
use crate::futures::process::parent::reply_reader::{ReaderRole, ReplyReader};
use crate::futures::process::parent::spawn::Ended;
use crate::futures::process::parent::worker_handle::{WorkerHandle, WorkerRef};
use crate::futures::process::settings::ProcessSettings;
use crate::futures::remote::protocol::FrameKind;
use crate::futures::remote::segments::Arena;
use crate::futures::remote::submit::{RemotePool, send, send_chunk};

/// In the first byte of an input: the worker claims no call by itself.
const LEAVES_CLAIMS: u8 = 4;
/// The worker sends no hello.
const NO_HELLO: u8 = 8;
/// A waiting thread reads instead of the supervisor.
const WAITER: u8 = 16;
/// The worker runs an initializer first.
const INITIALIZES: u8 = 32;
/// One call is sent at a time.
const ONE_BY_ONE: u8 = 64;
/// A worker that dies breaks its pool.
const BREAKS: u8 = 128;

const HELLO: Hello = Hello { nonce: 7, fingerprint: 9 };

/// The methods of a future, for any type of result.
trait AnyFuture {
    fn is_over(&self) -> bool;
    fn give_up(&self);
    fn end_worker(&self);
}

impl<R: Send + 'static> AnyFuture for Future<R> {
    fn is_over(&self) -> bool {
        self.done()
    }

    fn give_up(&self) {
        self.cancel();
    }

    fn end_worker(&self) {
        self.kill();
    }
}

/// A pool, and the other end of the channel to its only worker, which is no process.
pub(in crate::futures::process) struct Parent {
    pub(in crate::futures::process) worker: WorkerRef,
    pub(in crate::futures::process) incoming: Arc<Incoming>,
    role: ReaderRole,
    claims: bool,
    /// The worker's.
    pub(super) page: Arc<SharedPage>,
    pub(super) page_file: OwnedFd,
    #[cfg(test)]
    pub(super) own_socket: Arc<OwnedFd>,
    pub(super) socket: OwnedFd,
    bell: Option<OwnedFd>,
    _their_bell: OwnedFd,
    files: ScriptFiles,
    /// Reads the requests, unless the input has written to the page.
    requests: Option<FrameReader>,
    futures: Vec<Box<dyn AnyFuture>>,
    /// The parent does not read from the worker any more.
    over: bool,
}

fn settings(first: u8) -> ProcessSettings {
    ProcessSettings {
        max_workers: 1,
        on_worker_death: match first & BREAKS {
            0 => OnWorkerDeath::FailCall,
            _ => OnWorkerDeath::BreakPool,
        },
        prefetch: Some(if first & ONE_BY_ONE == 0 { 8 } else { 1 }),
        max_message_size: LIMIT,
        ..ProcessSettings::default()
    }
}

impl Parent {
    pub(in crate::futures::process) fn new(first: u8) -> std::io::Result<Self> {
        let (socket, theirs) = sockets()?;
        let (their_bell, bell) = rustix::pipe::pipe()?;
        let (own_bell, from_them) = rustix::pipe::pipe()?;
        rustix::fs::fcntl_setfl(&bell, OFlags::NONBLOCK)?;
        rustix::fs::fcntl_setfl(&own_bell, OFlags::NONBLOCK)?;
        let (page, page_file) = SharedPage::new()?;
        let (page, socket) = (Arc::new(page), Arc::new(socket));
        let (own_page, for_receiver) = (Arc::clone(&page), Arc::clone(&socket));
        #[cfg(test)]
        let own_socket = Arc::clone(&socket);
        let initializes = first & INITIALIZES != 0;
        let Hello { nonce, fingerprint } = HELLO;
        let welcome = Welcome { nonce, fingerprint, depth: 1, limit: LIMIT };
        let pool = PoolManager::new(settings(first), Arena::new(4), welcome);
        let mut handle = WorkerHandle::new();
        handle.start(None);
        pool.state.lock().handles.push(handle);
        let worker = WorkerRef { pool, index: 0 };
        let own = worker.clone();
        let reader = ReplyReader::new(own, own_bell, own_page, for_receiver, HELLO, initializes);
        let incoming = Incoming::new(reader)?;
        // Not a process, so that no signal has an effect.
        let nobody = page_file.try_clone()?;
        let pid = std::process::id();
        let sender = Sender::new(pid, bell, socket, nobody, Arc::clone(incoming.wake()), page);
        worker.connected(sender, &incoming);
        Ok(Self {
            worker,
            incoming,
            role: if first & WAITER == 0 { ReaderRole::Supervisor } else { ReaderRole::Waiter },
            claims: first & LEAVES_CLAIMS == 0,
            page: Arc::new(SharedPage::open(page_file.as_fd())?),
            page_file,
            #[cfg(test)]
            own_socket,
            socket: theirs,
            bell: Some(from_them),
            _their_bell: their_bell,
            files: ScriptFiles::default(),
            requests: Some(FrameReader::new(REQUEST_LIMIT)),
            futures: Vec::new(),
            over: false,
        })
    }

    /// One step of an input; an error if the pool takes no more calls.
    pub(super) fn step(&mut self, step: &ScriptStep, in_parts: bool) -> Result<()> {
        let future = || {
            let index = usize::try_from(step.seq()).ok()?;
            self.futures.get(index)
        };
        match step.order {
            Some(ScriptOrder::Submit) => self.submit(step.seq(), step.body())?,
            Some(ScriptOrder::Cancel) => future().iter().for_each(|future| future.give_up()),
            Some(ScriptOrder::Kill) => future().iter().for_each(|future| future.end_worker()),
            Some(ScriptOrder::Begin) => drop(self.page.begin(step.seq())),
            Some(ScriptOrder::Revoke) => {}
            Some(ScriptOrder::File) => self.files.add(step),
            Some(ScriptOrder::Message) => {
                self.files.send(self.socket.as_fd(), step.body(), step.files())
            }
            Some(ScriptOrder::Poke) => self.poke(step),
            Some(ScriptOrder::Clock) => {
                let (deferred, ..) = self.worker.on_time();
                deferred.run();
                self.incoming.reader.lock().standing();
            }
            Some(ScriptOrder::Leave) => drop(self.bell.take()),
            Some(ScriptOrder::CancelAll) => drop(self.worker.pool.cancel_pending()),
            Some(ScriptOrder::Close) => drop(self.worker.pool.close()),
            Some(ScriptOrder::Terminate) => self.worker.pool.signal_workers(Signal::KILL),
            None => self.frame(step, in_parts),
        }
        self.read_requests();
        Ok(())
    }

    pub(super) fn submit(&mut self, which: u64, argument: &[u8]) -> Result<()> {
        let (pool, site) = (&self.worker.pool, Location::caller());
        let text = || String::from_utf8_lossy(argument).into_owned();
        let first = u32::from(argument.first().copied().unwrap_or(0));
        let future: Box<dyn AnyFuture> = match which % 6 {
            0 => Box::new(send(pool, site, echo, text())?),
            1 => Box::new(send(pool, site, bytes, first * 1000)?),
            2 => {
                let numbers = argument.iter().map(|byte| u32::from(*byte)).collect();
                Box::new(send_chunk(pool, site, number, numbers)?)
            }
            3 => {
                let texts = argument.chunks(3).map(|part| String::from_utf8_lossy(part).into());
                Box::new(send_chunk(pool, site, echo, texts.collect())?)
            }
            4 => Box::new(send(pool, site, len, SharedBytes::copy_from(argument)?)?),
            _ => {
                let parts: Result<Vec<_>> =
                    argument.chunks(9).map(SharedBytes::copy_from).collect();
                Box::new(send(pool, site, shared, parts?)?)
            }
        };
        self.futures.push(future);
        Ok(())
    }

    fn poke(&mut self, step: &ScriptStep) {
        self.requests = None;
        if let Ok(stat) = rustix::fs::fstat(&self.page_file) {
            let at = step.seq() % stat.st_size.unsigned_abs();
            let _ = rustix::io::pwrite(&self.page_file, step.body(), at);
        }
    }

    /// The worker sends its hello.
    pub(in crate::futures::process) fn send_hello(&mut self) {
        let mut bytes = Vec::new();
        put(&mut bytes, FrameKind::Ready, 0, &[&HELLO.to_bytes().expect("two numbers are bytes")]);
        self.frame(&ScriptStep { bytes, order: None }, false);
    }

    /// The worker writes a frame, which is not read yet.
    #[cfg(test)]
    pub(in crate::futures::process) fn say(&self, kind: FrameKind, seq: u64, body: &[&[u8]]) {
        let mut bytes = Vec::new();
        put(&mut bytes, kind, seq, body);
        assert!(self.page.begin(seq));
        assert_eq!(self.page.answers().try_write(&bytes, || Ok(())), Ok(true));
    }

    /// The worker writes a frame, and the parent reads it.
    fn frame(&mut self, step: &ScriptStep, in_parts: bool) {
        if step.files() > 0 {
            self.files.send(self.socket.as_fd(), &step.seq().to_ne_bytes(), step.files());
        }
        if self.claims && FrameKind::from_byte(step.kind()).is_some_and(FrameKind::is_answer) {
            self.page.begin(step.seq());
        }
        let (start, end) = step.bytes.split_at(if in_parts { step.bytes.len() / 2 } else { 0 });
        for part in [start, end].into_iter().flat_map(|part| part.chunks(REPLY_LIMIT / 2)) {
            let ring = || match &self.bell {
                Some(bell) => rustix::io::write(bell, &[0]).map(drop),
                None => Ok(()),
            };
            // Not if the input has made the positions impossible.
            if self.page.answers().try_write(part, ring) == Ok(true) {
                self.receive();
            }
        }
    }

    /// Reads like the supervisor, or like a waiting thread.
    pub(super) fn receive(&mut self) {
        if self.over {
            return;
        }
        let mut reader = self.incoming.reader.lock();
        let received = reader.empty_bell().and_then(|()| match self.role {
            ReaderRole::Supervisor => {
                reader.catch_up()?;
                reader.read(self.role)
            }
            ReaderRole::Waiter => {
                let read = reader.read_one();
                reader.catch_up()?;
                Ok(read)
            }
        });
        let awaited = reader.awaited.take();
        let steps = std::mem::take(&mut reader.steps);
        drop(reader);
        if let Err(malformed) = received {
            self.worker.violated_protocol(malformed.0);
            self.over = true;
        }
        if let Some((task, reply)) = awaited {
            Deferred::Finish(task, reply).run();
        }
        for step in steps {
            step.run();
        }
    }

    /// Checks that the parent writes frames, whatever the worker does.
    fn read_requests(&mut self) {
        let mut text = [0; 8];
        let mut receive = || receive_with_files(self.socket.as_fd(), &mut text, false);
        while receive().is_ok_and(|received| received.len > 0) {}
        let Some(requests) = &mut self.requests else {
            let _ = self.page.requests().read(&mut [0; 4096]);
            return;
        };
        let count = self.page.requests().read(requests.room()).expect("nobody has changed it");
        requests.fill(count);
        while let Some((header, _)) = requests.next().expect("a parent says frames") {
            assert!(!header.kind.is_answer() && header.kind != FrameKind::Ready, "{header:?}");
        }
        assert!(requests.is_empty(), "half a frame");
    }

    /// Ends the worker; returns the number of calls that it has answered.
    pub(super) fn end(mut self) -> u64 {
        self.bell = None;
        self.receive();
        let mut steps = std::collections::VecDeque::new();
        let (start_error, start_failure) = self.incoming.close(&mut steps);
        let (deferred, _, sender) = self.worker.ended(
            Ended::default(),
            start_error,
            start_failure.map(|start_failure| start_failure.why),
        );
        steps.extend(deferred.into_steps());
        for step in steps {
            step.run();
        }
        drop(sender);
        // Calls that it has not begun would go to the next worker.
        self.worker.pool.cancel_pending();
        assert!(self.futures.iter().all(|future| future.is_over()), "a call has no end");
        let state = self.worker.pool.state.lock();
        assert!(state.counts.answered <= state.counts.submitted, "{:?}", state.counts);
        state.counts.answered
    }
}

/// The parent's side of the channel, with any input.
pub fn parent(input: &[u8]) {
    let (first, steps) = steps(input);
    let Ok(mut parent) = Parent::new(first) else { return };
    if first & NO_HELLO == 0 {
        parent.send_hello();
    }
    for step in steps {
        if parent.step(&step, first & IN_PARTS != 0).is_err() {
            break;
        }
    }
    parent.end();
}
