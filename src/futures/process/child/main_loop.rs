//! [`MainLoop`]: takes calls from the channel until it is closed.

use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::futures::process::channel::fds::{TRIES, receive_files, send_files};
use crate::futures::process::channel::flow::Overrun;
use crate::futures::process::channel::frame_reader::FrameReader;
use crate::futures::process::channel::inquiry::RunningId;
use crate::futures::process::channel::ring::{OVERWRITTEN, ring};
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::{Hello, Welcome};
use crate::futures::process::spin::{SHORT_SPIN, SPIN, spin_until_deadline};
use crate::futures::remote::attachments::Files;
use crate::futures::remote::codec::{OutOfLinePayload, Payload, Sink, Source};
use crate::futures::remote::foreign::Foreigners;
use crate::futures::remote::function_id::fingerprint;
use crate::futures::remote::invoke::run as run_call;
use crate::futures::remote::protocol::{
    ANNOUNCED, FrameKind, FunctionToken, HEADER, Header, ONCE, OUT_OF_LINE, OutOfLine, REPLY_LIMIT,
    REQUEST_LIMIT, Text, put, put_with_files,
};
use crate::futures::remote::segments::{Announced, Arena, Segment};
use crate::futures::remote::shared_bytes::SharedBytes;
use crate::futures::sys::fork::generation;

/// Why the worker ends early: its channel does not work. The exit code tells the parent.
#[derive(Debug)]
pub(crate) struct Lost(pub(super) &'static str);

impl From<rustix::io::Errno> for Lost {
    fn from(error: rustix::io::Errno) -> Self {
        Self(match error {
            OVERWRITTEN => "the memory of its channel was overwritten",
            _ => "the channel to the parent process is closed",
        })
    }
}

impl From<crate::futures::remote::protocol::Malformed> for Lost {
    fn from(malformed: crate::futures::remote::protocol::Malformed) -> Self {
        Self(malformed.0)
    }
}

/// Why a result is not sent.
enum UnsentReply {
    Lost(Lost),
    /// The system refused something; the result alone is lost.
    Refused(String),
}

/// How long to wait before the system is asked again for what it has just refused.
pub(super) const REFUSED: Duration = Duration::from_millis(5);

pub(crate) struct MainLoop {
    /// The parent's.
    bell: OwnedFd,
    /// Ends when the worker is to end.
    own_bell: OwnedFd,
    pub(super) socket: Arc<OwnedFd>,
    pub(super) page: Arc<SharedPage>,
    arena: Arena,
    limit: u64,
    /// The parent's segments that it has announced.
    segments: Foreigners,
    /// Our segments that the parent has.
    announced: Announced,
    /// Our segments that the parent reads.
    outstanding: HashMap<u64, Segment>,
    out: Vec<u8>,
    /// When it last had nothing to do, the next call came soon.
    spin_pays: bool,
    pub(super) running: Arc<RunningId>,
    /// Of this process; that of a fork is another.
    generation: u64,
}

impl MainLoop {
    pub(crate) fn new(
        socket: OwnedFd,
        bell: OwnedFd,
        own_bell: OwnedFd,
        page: Arc<SharedPage>,
        limit: u64,
    ) -> Self {
        Self {
            bell,
            own_bell,
            socket: Arc::new(socket),
            page,
            arena: Arena::new(usize::MAX),
            limit,
            segments: Foreigners::default(),
            announced: Announced::default(),
            outstanding: HashMap::new(),
            out: Vec::new(),
            spin_pays: false,
            running: Arc::default(),
            generation: generation(),
        }
    }

    pub(super) fn serve(&mut self, welcome: Welcome) -> Result<(), Lost> {
        let fingerprint = fingerprint().unwrap_or(0);
        let hello = Hello { nonce: welcome.nonce, fingerprint };
        let hello = hello.to_bytes().map_err(|_| Lost("no greeting"))?;
        self.reply(FrameKind::Ready, &hello)?;
        if fingerprint != welcome.fingerprint {
            return Err(Lost("this is another program image than the parent's"));
        }
        let mut frame_reader = FrameReader::new(REQUEST_LIMIT);
        while self.handle(&mut frame_reader)? {
            match self.receive(&mut frame_reader)? {
                0 => return Ok(()),
                count => frame_reader.fill(count),
            }
        }
        Ok(())
    }

    /// Does what the requests say that have come; false if the worker is to end.
    pub(crate) fn handle(&mut self, frame_reader: &mut FrameReader) -> Result<bool, Lost> {
        while let Some((header, body)) = frame_reader.next()? {
            match header.kind {
                FrameKind::Call => {
                    let done = self.call(header, frame_reader, body);
                    self.running.set(0);
                    done?;
                }
                FrameKind::Stop => return Ok(false),
                FrameKind::Free | FrameKind::Lost => {
                    if header.kind == FrameKind::Lost {
                        self.announced.remove(header.seq);
                    }
                    if let Some(mut segment) = self.outstanding.remove(&header.seq) {
                        match segment.reclaim() {
                            Ok(()) => self.arena.give_back(segment),
                            Err(_) => self.arena.lose(segment),
                        }
                    }
                }
                FrameKind::Forget => self.segments.forgotten(header.seq),
                _ => return Err(Lost("not a request")),
            }
        }
        Ok(true)
    }

    /// Blocks until there are requests; gives how many bytes. It looks for them first, as long as
    /// that pays, and tells the parent of answers that it has let come together.
    fn receive(&mut self, frame_reader: &mut FrameReader) -> Result<usize, Lost> {
        let page = Arc::clone(&self.page);
        let (answers, requests) = (page.answers(), page.requests());
        let mut came = Ok(0);
        let mut read = || {
            came = requests.read(frame_reader.room());
            came != Ok(0)
        };
        let now = Instant::now();
        let mut done = self.spin_pays && spin_until_deadline(now + SHORT_SPIN, &mut read);
        if !done {
            answers.ring_for_anything(|| self.ring())?;
            done = self.spin_pays && spin_until_deadline(now + SPIN, &mut read);
        }
        let mut ended = false;
        let mut kept = if done { None } else { self.trim()? };
        while !done {
            done = read() || ended;
            if !done && requests.reader_sleeps(1) {
                ended = !self.is_rung(kept)?; // and then it reads once more
                if kept.take().is_some() {
                    kept = self.trim()?;
                }
            }
        }
        requests.reader_is_awake();
        self.spin_pays = Instant::now() < now + SPIN;
        came.map_err(|Overrun| OVERWRITTEN.into())
    }

    /// Blocks until the parent rings, or until this time; false if the parent tells the worker to end.
    fn is_rung(&self, until: Option<Instant>) -> Result<bool, Lost> {
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or_default();
            let mut bell = [PollFd::new(&self.own_bell, PollFlags::IN)];
            if matches!(poll(&mut bell, Some(&timeout)), Ok(0) | Err(Errno::INTR)) {
                return Ok(true); // not that, but to look costs nothing
            }
        }
        let rung = rustix::io::retry_on_intr(|| rustix::io::read(&self.own_bell, &mut [0; 64]))?;
        Ok(rung > 0)
    }

    /// Lets go of memory that has not been used for a while, on both sides; gives when to do it next.
    fn trim(&mut self) -> Result<Option<Instant>, Lost> {
        let next = self.arena.trim(Instant::now());
        let mut out = Vec::new();
        self.forget(&mut out);
        if !out.is_empty() {
            let answers = self.page.answers();
            answers.write(&out, || self.ring())?;
            answers.ring_for_anything(|| self.ring())?;
        }
        Ok(next)
    }

    /// Appends what the parent need not keep.
    fn forget(&mut self, out: &mut Vec<u8>) {
        while let Some(segment) = self.announced.surplus() {
            put(out, FrameKind::Forget, segment, &[]);
        }
    }

    fn call(
        &mut self,
        header: Header,
        frame_reader: &FrameReader,
        body: Range<usize>,
    ) -> Result<(), Lost> {
        let (seq, count) = (header.seq, header.files.into());
        let mut files = match count {
            0 => Ok(Vec::new()),
            _ => receive_files(self.socket.as_fd(), seq, count, true)?,
        };
        let (token, rest) = FunctionToken::split(frame_reader.body(body))?;
        let far = if header.is_far() { Some(OutOfLine::from_bytes(rest)?) } else { None };
        let announced = far.filter(|_| header.announces());
        if let (Some(far), Ok(files)) = (announced, &mut files) {
            self.segments.announced(far.segment, files.pop())?;
        }
        // It was announced by a call whose descriptors could not be had; the parent does not know yet.
        let unknown = far.filter(|far| !self.segments.has(far.segment));
        if let (Some(_), None, Ok(_)) = (unknown, announced, &files) {
            files = Err("too many open files: its shared memory was not received".into());
        }
        let files = match files {
            Ok(files) => Files::new(files.into_iter().map(Some).collect()),
            Err(why) => {
                let segment = unknown.map_or(0, |far| far.segment).to_ne_bytes();
                let why = format!("{why}, in worker process {}", std::process::id());
                let text = Text { message: why, location: None };
                put_frame(
                    &mut self.out,
                    FrameKind::Undelivered,
                    seq,
                    &[&segment, &text.to_bytes()],
                );
                return self.flush();
            }
        };
        let once = far.filter(|_| header.is_used_once());
        if !self.page.begin(seq) {
            if let Some(far) = once {
                self.segments.forgotten(far.segment);
            }
            put_frame(&mut self.out, FrameKind::Skipped, seq, &[]);
            return self.flush();
        }
        self.running.set(seq);
        self.page.say("");
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.resize(HEADER, 0);
        let mut sink = Sink::new(out, REPLY_LIMIT, self.limit, &self.arena);
        let verdict = match far {
            Some(far) => {
                let window = self.segments.window(far)?;
                let payload = OutOfLinePayload::new(&window);
                run_call(token, &mut Source::far(&payload, &files), &mut sink)
            }
            None => run_call(token, &mut Source::new(rest, &files), &mut sink),
        };
        if let Some(far) = once {
            self.segments.forgotten(far.segment);
        }
        let (payload, attachments) = sink.into_parts();
        if generation() != self.generation {
            // The call has forked, and this is the fork. The answer is the other's to give.
            // SAFETY: it ends this process, and nothing of the other's is done here first.
            unsafe { libc::_exit(0) };
        }
        match verdict.failure() {
            None => self.send(seq, payload, &attachments),
            Some((kind, text)) => {
                payload.give_back(&self.arena);
                put_frame(&mut self.out, kind, seq, &[&text.to_bytes()]);
                self.flush()
            }
        }
    }

    /// Sends a result.
    fn send(&mut self, seq: u64, payload: Payload, attached: &[SharedBytes]) -> Result<(), Lost> {
        match self.try_send(seq, payload, attached) {
            Ok(()) => self.flush(),
            Err(UnsentReply::Lost(lost)) => Err(lost),
            Err(UnsentReply::Refused(why)) => {
                let why = format!("{why}, in worker process {}", std::process::id());
                let text = Text { message: why, location: None };
                put_frame(&mut self.out, FrameKind::Unsent, seq, &[&text.to_bytes()]);
                self.flush()
            }
        }
    }

    /// Sends the descriptors of a result, and puts the frame into `out`.
    fn try_send(
        &mut self,
        seq: u64,
        payload: Payload,
        attached: &[SharedBytes],
    ) -> Result<(), UnsentReply> {
        let mut files: Vec<BorrowedFd<'_>> =
            attached.iter().filter_map(|shared| shared.file()).collect();
        let mut header = Header { len: 0, kind: FrameKind::Done, flags: 0, files: 0, seq };
        match self.near_or_far(payload)? {
            Payload::Inline(mut out) => {
                header.files = self.send_files(seq, &files)?;
                let len = u32::try_from(out.len() - HEADER).expect("at most REPLY_LIMIT");
                out[..HEADER].copy_from_slice(&Header { len, ..header }.to_bytes());
                Header::seal(&mut out);
                self.out = out;
            }
            Payload::OutOfLine(mut segment) => {
                header.flags = OUT_OF_LINE;
                let announces = !self.announced.has(&segment);
                if announces {
                    header.flags |= ANNOUNCED;
                    files.push(segment.file());
                }
                header.files = match self.send_files(seq, &files) {
                    Ok(count) => count,
                    Err(unsent) => {
                        self.arena.give_back(segment);
                        return Err(unsent);
                    }
                };
                let far = OutOfLine { segment: segment.id(), len: segment.len() as u64 }.to_bytes();
                let once = segment.is_used_once();
                if once {
                    header.flags |= ONCE;
                    self.announced.remove(segment.id());
                    self.arena.give_back(segment); // which is the end of it
                } else {
                    if announces {
                        self.announced.add(&segment);
                    }
                    segment.lend();
                    self.outstanding.insert(segment.id(), segment);
                }
                let mut out = std::mem::take(&mut self.out);
                out.clear();
                self.forget(&mut out);
                put_with_files(&mut out, header, &[&far]);
                self.out = out;
            }
        }
        Ok(())
    }

    /// A payload that is in the heap because there was no shared memory is tried once more.
    fn near_or_far(&self, payload: Payload) -> Result<Payload, UnsentReply> {
        let bytes = match &payload {
            Payload::Inline(out) if out.len() - HEADER > REPLY_LIMIT => &out[HEADER..],
            Payload::Inline(_) | Payload::OutOfLine(_) => return Ok(payload),
        };
        let taken = self.arena.take(bytes.len()).and_then(|mut segment| {
            segment.extend(bytes.len())?.copy_from_slice(bytes);
            Ok(segment)
        });
        let len = bytes.len();
        let none =
            |error| UnsentReply::Refused(format!("no shared memory for {len} bytes: {error}"));
        taken.map(Payload::OutOfLine).map_err(none)
    }

    /// Gives how many were sent.
    fn send_files(&self, seq: u64, files: &[BorrowedFd<'_>]) -> Result<u8, UnsentReply> {
        if files.is_empty() {
            return Ok(0);
        }
        match send_files(self.socket.as_fd(), seq, files, true) {
            Ok(()) => Ok(u8::try_from(files.len()).expect("at most FILES")),
            Err(error @ (Errno::PIPE | Errno::CONNRESET)) => Err(UnsentReply::Lost(error.into())),
            Err(error) => {
                Err(UnsentReply::Refused(format!("its descriptors could not be sent: {error}")))
            }
        }
    }

    fn reply(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), Lost> {
        put_frame(&mut self.out, kind, 0, &[body]);
        self.flush()
    }

    /// Writes the frame in `out`. The parent reads at any time, so this ends.
    fn flush(&self) -> Result<(), Lost> {
        Ok(self.page.answers().write(&self.out, || self.ring())?)
    }

    /// Wakes the parent. If the system has no memory for that for long, the parent looks by itself.
    fn ring(&self) -> rustix::io::Result<()> {
        for _ in 0..TRIES {
            match ring(&self.bell) {
                Err(Errno::NOMEM) => std::thread::park_timeout(REFUSED),
                rung => return rung,
            }
        }
        Ok(())
    }
}

fn put_frame(out: &mut Vec<u8>, kind: FrameKind, seq: u64, body: &[&[u8]]) {
    out.clear();
    put(out, kind, seq, body);
}
