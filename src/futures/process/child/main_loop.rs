//! [`MainLoop`]: runs the calls of the channel until it is closed.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::reply_sender::ReplySender;
use crate::futures::process::channel::fds::receive_files;
use crate::futures::process::channel::flow::Overrun;
use crate::futures::process::channel::frame::{Header, REPLY_LIMIT, REQUEST_LIMIT};
use crate::futures::process::channel::frame_reader::FrameReader;
use crate::futures::process::channel::inquiry::RunningId;
use crate::futures::process::channel::ring::OVERWRITTEN;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::{Hello, INITIALIZER, Welcome};
use crate::futures::remote::attachments::{Files, take_refused};
use crate::futures::remote::codec::{OutOfLinePayload, Sink, Source};
use crate::futures::remote::foreign::ForeignSegments;
use crate::futures::remote::function_id::{CallOutcome, fingerprint};
use crate::futures::remote::invoke::run as run_call;
use crate::futures::remote::protocol::{FrameKind, FunctionToken, Malformed, OutOfLine};
use crate::futures::sys::fork::generation;
use crate::sync::backoff::{SHORT_SPIN, SPIN, spin_until_deadline};

/// Why the worker ends early: its channel does not work. The parent learns it from the exit code.
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

impl From<Malformed> for Lost {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.0)
    }
}

pub(crate) struct MainLoop {
    /// Readable when the parent rings; closed when the worker must end.
    own_bell: OwnedFd,
    pub(super) replies: ReplySender,
    limit: u64,
    /// The segments that the parent has announced.
    segments: ForeignSegments,
    /// The last time that the worker had nothing to do, the next call came soon.
    spin_pays: bool,
    pub(super) running: Arc<RunningId>,
    /// Of this process; a fork has another one.
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
            own_bell,
            replies: ReplySender::new(socket, bell, page),
            limit,
            segments: ForeignSegments::default(),
            spin_pays: false,
            running: Arc::default(),
            generation: generation(),
        }
    }

    pub(super) fn serve(&mut self, welcome: Welcome) -> Result<(), Lost> {
        let fingerprint = fingerprint().unwrap_or(0);
        let hello = Hello { nonce: welcome.nonce, fingerprint };
        let hello = hello.to_bytes().map_err(|_| Lost("its hello could not be encoded"))?;
        self.replies.send_frame(FrameKind::Ready, 0, &[&hello])?;
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

    /// Handles the requests that have come; false if the worker must end.
    pub(crate) fn handle(&mut self, frame_reader: &mut FrameReader) -> Result<bool, Lost> {
        while let Some((header, body)) = frame_reader.next()? {
            match header.kind {
                FrameKind::Call => {
                    let done = self.call(header, frame_reader, body);
                    self.running.set(0);
                    done?;
                }
                FrameKind::Stop => return Ok(false),
                FrameKind::Free => self.replies.reclaim(header.seq),
                FrameKind::Lost => {
                    self.replies.not_received(header.seq);
                    self.replies.reclaim(header.seq);
                }
                FrameKind::Forget => self.segments.forgotten(header.seq),
                _ => return Err(Lost("the parent sent a message that is no request")),
            }
        }
        Ok(true)
    }

    /// Blocks until there are requests; returns the number of bytes. Spins first, if that paid off the last
    /// time, and wakes the parent for answers that were collected.
    fn receive(&mut self, frame_reader: &mut FrameReader) -> Result<usize, Lost> {
        let page = Arc::clone(&self.replies.page);
        let requests = page.requests();
        let mut came = Ok(0);
        let mut read = || {
            came = requests.read(frame_reader.room());
            came != Ok(0)
        };
        let now = Instant::now();
        let mut done = self.spin_pays && spin_until_deadline(now + SHORT_SPIN, &mut read);
        if !done {
            self.replies.ring_for_anything()?;
            done = self.spin_pays && spin_until_deadline(now + SPIN, &mut read);
        }
        let mut ended = false;
        let mut kept = if done { None } else { self.replies.trim()? };
        while !done {
            done = read() || ended;
            if !done && requests.arm_bell(1) {
                ended = !self.wait_for_bell(kept)?; // then it reads once more
                if kept.take().is_some() {
                    kept = self.replies.trim()?;
                }
            }
        }
        requests.reader_is_awake();
        self.spin_pays = Instant::now() < now + SPIN;
        came.map_err(|Overrun| OVERWRITTEN.into())
    }

    /// Blocks until the parent rings, or until this time; false if the worker must end.
    fn wait_for_bell(&self, until: Option<Instant>) -> Result<bool, Lost> {
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or_default();
            let mut bell = [PollFd::new(&self.own_bell, PollFlags::IN)];
            if matches!(poll(&mut bell, Some(&timeout)), Ok(0) | Err(Errno::INTR)) {
                return Ok(true); // it did not ring, but a check costs nothing
            }
        }
        let rung = rustix::io::retry_on_intr(|| rustix::io::read(&self.own_bell, &mut [0; 64]))?;
        Ok(rung > 0)
    }

    /// Runs one call and sends its reply.
    fn call(
        &mut self,
        header: Header,
        frame_reader: &FrameReader,
        body: Range<usize>,
    ) -> Result<(), Lost> {
        let (seq, count) = (header.seq, header.files.into());
        let mut files = match count {
            0 => Ok(Vec::new()),
            _ => receive_files(self.replies.socket.as_fd(), seq, count, true)?,
        };
        let (token, rest) = FunctionToken::split(frame_reader.body(body))?;
        let place = if header.is_out_of_line() { Some(OutOfLine::from_bytes(rest)?) } else { None };
        let announced = place.filter(|_| header.announces());
        if let (Some(place), Ok(received)) = (announced, &mut files) {
            if let Err(why) = self.segments.announced(place.segment, received.pop())? {
                files = Err(why);
            }
        }
        // An earlier call announced it, but its descriptors did not arrive; the parent does not know yet.
        let unknown = place.filter(|place| !self.segments.has(place.segment));
        if let (Some(_), None, Ok(_)) = (unknown, announced, &files) {
            files = Err("too many open files: its shared memory was not received".into());
        }
        let files = match files {
            Ok(files) => Files::new(files.into_iter().map(Some).collect()),
            Err(why) if seq == INITIALIZER => return Err(self.replies.refuse_to_start(why)),
            Err(why) => {
                let segment = unknown.map_or(0, |place| place.segment).to_ne_bytes();
                return self.replies.send_refusal(FrameKind::Undelivered, seq, &segment, &why);
            }
        };
        let used_once = place.filter(|_| header.is_used_once());
        if !self.replies.page.begin(seq) {
            if let Some(place) = used_once {
                self.segments.forgotten(place.segment);
            }
            return self.replies.send_frame(FrameKind::Skipped, seq, &[]);
        }
        self.running.set(seq);
        self.replies.page.say("");
        let out = self.replies.take_buffer();
        let mut sink = Sink::new(out, REPLY_LIMIT, self.limit, &self.replies.arena);
        let outcome = match place {
            Some(place) => {
                let window = self.segments.window(place)?;
                let payload = OutOfLinePayload::new(&window);
                let mut source = Source::out_of_line(&payload, &files);
                if seq == INITIALIZER {
                    source.load().map_err(|why| self.replies.refuse_to_start(why))?;
                }
                run_call(token, &mut source, &mut sink)
            }
            None => run_call(token, &mut Source::new(rest, &files), &mut sink),
        };
        if seq == INITIALIZER && matches!(outcome, CallOutcome::BadArgument(_)) {
            if let Some(why) = take_refused() {
                return Err(self.replies.refuse_to_start(why));
            }
        }
        if let Some(place) = used_once {
            self.segments.forgotten(place.segment);
        }
        let (payload, attachments) = sink.into_parts();
        if generation() != self.generation {
            // The call has forked, and this is the fork. The other process gives the answer.
            // SAFETY: it ends this process, and runs nothing that belongs to the other one.
            unsafe { libc::_exit(0) };
        }
        match outcome.failure() {
            None => self.replies.send_result(seq, payload, &attachments),
            Some((kind, text)) => {
                payload.give_back(&self.replies.arena);
                self.replies.send_frame(kind, seq, &[&text.to_bytes()])
            }
        }
    }
}
