//! The other process: takes calls from the channel until it is closed.

use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;

use crate::futures::process::channel::flow::Overrun;
use crate::futures::process::channel::inbox::Inbox;
use crate::futures::process::channel::page::Page;
use crate::futures::process::channel::ring::ring;
use crate::futures::process::handshake::{Greeting, Hello};
use crate::futures::process::look::{GLANCE, LOOK, look};
use crate::futures::process::parent::spawn::{receive_with_files, send_with_files};
use crate::futures::process::shm::segments::{Arena, Foreign, Recent, Segment};
use crate::futures::remote::attached::Files;
use crate::futures::remote::codec::{Payload, Sink, Source};
use crate::futures::remote::identity::fingerprint;
use crate::futures::remote::shared_bytes::SharedBytes;
use crate::futures::remote::wire::{
    DESCRIPTORS, FAR, Far, HEADER, Header, Kind, REPLY_LIMIT, REQUEST_LIMIT, Token, put,
};
use crate::guard::install_hook;

/// How many pools this process is inside of.
static DEPTH: AtomicU32 = AtomicU32::new(0);

pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed) // ORDERING: Relaxed; set before user code runs
}

/// What the parent sent to begin with.
pub(crate) struct Order {
    pub(crate) greeting: Greeting,
    pub(crate) socket: OwnedFd,
    pub(crate) bell: OwnedFd,
    pub(crate) own_bell: OwnedFd,
    pub(crate) page: Page,
}

/// Why the worker ends early: its channel does not work. The exit code tells the parent.
struct Lost(&'static str);

impl From<rustix::io::Errno> for Lost {
    fn from(_: rustix::io::Errno) -> Self {
        Self("the channel to the parent process is closed")
    }
}

impl From<crate::futures::remote::wire::Malformed> for Lost {
    fn from(malformed: crate::futures::remote::wire::Malformed) -> Self {
        Self(malformed.0)
    }
}

/// Exit code of a worker that lost its channel, or never had one.
pub(crate) const LOST: i32 = 113;

/// Takes calls until the parent closes the channel; then the process ends.
pub(crate) fn run(order: Order) -> ! {
    let Order { greeting, socket, bell, own_bell, page } = order;
    // ORDERING: Relaxed; no other thread is there.
    DEPTH.store(greeting.depth, Ordering::Relaxed);
    let page = Arc::new(page);
    let socket = Arc::new(socket);
    install_hook();
    keep_last_words(&page);
    watch_parent(&socket);
    let mut worker = Worker {
        bell,
        own_bell,
        socket,
        page,
        arena: Arena::new(usize::MAX),
        limit: greeting.limit,
        segments: Recent::new(),
        known: Recent::new(),
        lent: HashMap::new(),
        out: Vec::new(),
        prompt: false,
    };
    let code = match worker.serve(greeting) {
        Ok(()) => 0,
        Err(Lost(why)) => {
            log::error!(target: crate::LOG_TARGET, "worker process ends: {why}");
            LOST
        }
    };
    std::process::exit(code)
}

/// What a panic says goes to where the parent finds it if the process dies of it.
fn keep_last_words(page: &Arc<Page>) {
    let page = Arc::clone(page);
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        page.say(&info.to_string());
        next(info);
    }));
}

/// Ends the process when the parent's end of the socket is closed, whatever runs meanwhile.
fn watch_parent(socket: &Arc<OwnedFd>) {
    let socket = Arc::clone(socket);
    let watch = move || {
        let mut hang_up = [PollFd::new(&socket, PollFlags::empty())];
        while !matches!(poll(&mut hang_up, None), Ok(1..)) {}
        if hang_up[0].revents().contains(PollFlags::NVAL) {
            return; // user code has closed it; the kernel's signal remains
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    };
    // If there is no thread for it, the kernel's signal at the parent's death remains.
    let builder = std::thread::Builder::new().name("parent-watch".into()).stack_size(64 * 1024);
    drop(builder.spawn(watch));
}

struct Worker {
    /// The parent's.
    bell: OwnedFd,
    /// Ends when the worker is to end.
    own_bell: OwnedFd,
    socket: Arc<OwnedFd>,
    page: Arc<Page>,
    arena: Arena,
    limit: u64,
    /// The parent's segments that are mapped here.
    segments: Recent<Foreign>,
    /// Our segments that the parent has mapped.
    known: Recent<()>,
    /// Our segments that the parent reads.
    lent: HashMap<u64, Segment>,
    out: Vec<u8>,
    /// When it last had nothing to do, the next call came soon.
    prompt: bool,
}

impl Worker {
    fn serve(&mut self, greeting: Greeting) -> Result<(), Lost> {
        let fingerprint = fingerprint().unwrap_or(0);
        let hello = Hello { nonce: greeting.nonce, fingerprint };
        let hello = hello.to_bytes().map_err(|_| Lost("no greeting"))?;
        self.reply(Kind::Ready, &hello)?;
        if fingerprint != greeting.fingerprint {
            return Err(Lost("this is another program image than the parent's"));
        }
        let mut inbox = Inbox::new(REQUEST_LIMIT);
        loop {
            while let Some((header, body)) = inbox.next()? {
                match header.kind {
                    Kind::Call => self.call(header, &inbox, body)?,
                    Kind::Stop => return Ok(()),
                    Kind::Free => {
                        if let Some(segment) = self.lent.remove(&header.seq) {
                            self.arena.give_back(segment);
                        }
                    }
                    _ => return Err(Lost("not a request")),
                }
            }
            match self.receive(&mut inbox)? {
                0 => return Ok(()),
                count => inbox.fill(count),
            }
        }
    }

    /// Blocks until there are requests; gives how many bytes. It looks for them first, as long as
    /// that pays, and tells the parent of answers that it has let come together.
    fn receive(&mut self, inbox: &mut Inbox) -> Result<usize, Lost> {
        let (answers, requests) = (self.page.answers(), self.page.requests());
        let mut came = Ok(0);
        let mut read = || {
            came = requests.read(inbox.room());
            came != Ok(0)
        };
        let now = Instant::now();
        let mut done = self.prompt && look(now + GLANCE, &mut read);
        if !done {
            answers.ring_for_anything(|| ring(&self.bell))?;
            done = self.prompt && look(now + LOOK, &mut read);
        }
        let mut ended = false;
        while !done {
            done = read() || ended;
            if !done && requests.reader_sleeps(1) {
                ended = !self.is_rung()?; // and then it reads once more
            }
        }
        requests.reader_is_awake();
        self.prompt = Instant::now() < now + LOOK;
        came.map_err(|Overrun| Lost("the parent overran the channel"))
    }

    /// Blocks until the parent rings; false if it tells the worker to end.
    fn is_rung(&self) -> Result<bool, Lost> {
        let rung = rustix::io::retry_on_intr(|| rustix::io::read(&self.own_bell, &mut [0; 64]))?;
        Ok(rung > 0)
    }

    fn call(&mut self, header: Header, inbox: &Inbox, body: Range<usize>) -> Result<(), Lost> {
        let mut files = Vec::new();
        if header.has_descriptors() {
            let mut seq = [0; 8];
            let (len, received) = receive_with_files(self.socket.as_fd(), &mut seq, true)?;
            if len != 8 || u64::from_ne_bytes(seq) != header.seq {
                return Err(Lost("descriptors of another call"));
            }
            files = received;
        }
        let (token, rest) = Token::split(inbox.body(body))?;
        let argument = if header.is_far() {
            let far = Far::from_bytes(rest)?;
            if !self.segments.touch(far.segment) {
                let file = files.pop().ok_or(Lost("shared memory did not come"))?;
                self.segments.insert(far.segment, Foreign::new(file));
            }
            Some(far)
        } else {
            None
        };
        if !self.page.begin(header.seq) {
            put_frame(&mut self.out, Kind::Skipped, header.seq, &[]);
            return self.flush();
        }
        self.page.say("");
        let argument = match argument {
            Some(far) => {
                let segment = self.segments.first().ok_or(Lost("no shared memory"))?;
                segment.bytes(far.len)?
            }
            None => rest,
        };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.resize(HEADER, 0);
        let files = Files::new(files.into_iter().map(Some).collect());
        let mut source = Source::new(argument, &files);
        let mut sink = Sink::new(out, REPLY_LIMIT, self.limit, &self.arena);
        let verdict = crate::futures::remote::calls::run(token, &mut source, &mut sink);
        let (payload, attachments) = sink.into_parts();
        match verdict.failure() {
            None => self.send(header.seq, payload, &attachments),
            Some((kind, text)) => {
                payload.give_back(&self.arena);
                put_frame(&mut self.out, kind, header.seq, &text.to_bytes());
                self.flush()
            }
        }
    }

    /// Sends a result.
    fn send(&mut self, seq: u64, payload: Payload, attached: &[SharedBytes]) -> Result<(), Lost> {
        let mut files: Vec<BorrowedFd<'_>> =
            attached.iter().filter_map(|shared| shared.file()).collect();
        let mut flags = if files.is_empty() { 0 } else { DESCRIPTORS };
        match payload {
            Payload::Near(mut out) => {
                if !files.is_empty() {
                    send_with_files(self.socket.as_fd(), &seq.to_ne_bytes(), &files)?;
                }
                let Ok(len) = u32::try_from(out.len() - HEADER) else {
                    return Err(Lost("no shared memory for a large result"));
                };
                if len as usize > REPLY_LIMIT {
                    return Err(Lost("no shared memory for a large result"));
                }
                let header = Header { len, kind: Kind::Done, flags, seq };
                out[..HEADER].copy_from_slice(&header.to_bytes());
                self.out = out;
            }
            Payload::Far(segment) => {
                flags |= FAR;
                if !self.known.touch(segment.id()) {
                    self.known.insert(segment.id(), ());
                    files.push(segment.file());
                    flags |= DESCRIPTORS;
                }
                if !files.is_empty() {
                    send_with_files(self.socket.as_fd(), &seq.to_ne_bytes(), &files)?;
                }
                let far = Far { segment: segment.id(), len: segment.len() as u64 };
                self.out.clear();
                put(&mut self.out, Kind::Done, flags, seq, &[&far.to_bytes()]);
                self.lent.insert(segment.id(), segment);
            }
        }
        self.flush()
    }

    fn reply(&mut self, kind: Kind, body: &[u8]) -> Result<(), Lost> {
        put_frame(&mut self.out, kind, 0, body);
        self.flush()
    }

    /// Writes the frame in `out`. The parent reads at any time, so this ends.
    fn flush(&self) -> Result<(), Lost> {
        Ok(self.page.answers().write(&self.out, || ring(&self.bell))?)
    }
}

fn put_frame(out: &mut Vec<u8>, kind: Kind, seq: u64, body: &[u8]) {
    out.clear();
    put(out, kind, 0, seq, &[body]);
}
