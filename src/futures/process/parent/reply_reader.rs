//! [`ReplyReader`]: reads one worker's replies and finds the calls that they answer.
//!
//! The thread that holds its lock reads: the supervisor of the worker, or for a moment a thread that waits
//! for a call (`inline_receive.rs`). Neither runs user code under that lock. The waiting thread decodes its
//! own result afterwards, and leaves everything else to the supervisor.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::deferred::{Step, Steps};
use super::delivery::ProcessCallRef;
use super::reply::{Reply, ReplyBytes};
use super::worker_handle::WorkerRef;
use crate::error::Error;
use crate::futures::process::channel::fds::{receive_files, receive_with_files};
use crate::futures::process::channel::flow::Overrun;
use crate::futures::process::channel::frame::{HEADER, Header, REPLY_LIMIT, split_segment};
use crate::futures::process::channel::frame_reader::FrameReader;
use crate::futures::process::channel::sender::SegmentFate;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::{Hello, INITIALIZER, StartFailure};
use crate::futures::remote::foreign::ForeignSegments;
use crate::futures::remote::protocol::{FrameKind, Malformed, OutOfLine};
use crate::futures::remote::reply::failure;

/// The size of a small answer, rather too large: then no fewer answers come together than asked.
const SMALL_ANSWER: u32 = HEADER as u32 + 12;

/// How long the supervisor sleeps while the worker collects answers. They are only that late if a longer
/// call follows brief ones.
const COALESCE_DELAY: Duration = Duration::from_micros(100);

/// Reads the replies of one worker. Every method is called under the lock of its [`Incoming`](super::incoming::Incoming).
pub(crate) struct ReplyReader {
    worker: WorkerRef,
    /// The worker writes to it when it has an answer and the reader sleeps; it is closed when the worker
    /// ends.
    pub(crate) bell: OwnedFd,
    /// The bell was closed.
    ended: bool,
    /// The supervisor has gone on to the next worker.
    pub(super) closed: bool,
    pub(crate) page: Arc<SharedPage>,
    socket: Arc<OwnedFd>,
    frame_reader: FrameReader,
    frames: Vec<(Header, Range<usize>)>,
    tasks: Vec<Option<ProcessCallRef>>,
    /// The segments that the worker has announced.
    segments: ForeignSegments,
    /// Segments that it does not use any more.
    forgotten: Vec<u64>,
    expected: Hello,
    has_hello: bool,
    /// The initializer has not answered yet.
    initializing: bool,
    pub(crate) start_error: Option<Error>,
    /// How many answers the worker may collect before it rings, as of the last ones.
    coalesce_limit: u32,
    /// User code for the supervisor to run, some of it left by waiting threads.
    pub(crate) steps: Steps,
    /// The answer for the waiting thread.
    pub(crate) awaited: Option<(ProcessCallRef, Reply)>,
    fault: Option<Malformed>,
}

/// The result of one read.
pub(crate) enum Read {
    Some,
    Nothing,
    End,
}

/// Which thread handles replies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderRole {
    /// All replies, whose waiters are notified.
    Supervisor,
    /// One reply; the supervisor notifies other waiters later.
    Waiter,
}

impl ReplyReader {
    pub(crate) fn new(
        worker: WorkerRef,
        bell: OwnedFd,
        page: Arc<SharedPage>,
        socket: Arc<OwnedFd>,
        expected: Hello,
        initializing: bool,
    ) -> Self {
        Self {
            worker,
            bell,
            ended: false,
            closed: false,
            page,
            socket,
            frame_reader: FrameReader::new(REPLY_LIMIT),
            frames: Vec::new(),
            tasks: Vec::new(),
            segments: ForeignSegments::default(),
            forgotten: Vec::new(),
            expected,
            has_hello: false,
            initializing,
            start_error: None,
            coalesce_limit: 0,
            steps: Steps::new(),
            awaited: None,
            fault: None,
        }
    }

    /// Whether the worker has sent its hello.
    pub(crate) fn has_hello(&self) -> bool {
        self.has_hello
    }

    /// Why the worker ended before it was ready, if it said so.
    pub(super) fn start_failure(&self) -> Option<StartFailure> {
        if self.has_hello && !self.initializing {
            return None;
        }
        let mut text = [0; StartFailure::MOST];
        let received = receive_with_files(self.socket.as_fd(), &mut text, false).ok()?;
        StartFailure::from_bytes(&text[..received.len])
    }

    pub(super) fn has_left(&self) -> bool {
        self.fault.is_some() || !self.steps.is_empty() || !self.frame_reader.is_empty()
    }

    /// The number of bytes that were read, modulo 2^32, and whether they end in the middle of a frame.
    /// Publishes the position once more.
    pub(crate) fn standing(&self) -> (u32, bool) {
        self.page.answers().repeat();
        (self.page.answers().has_read(), !self.frame_reader.is_empty())
    }

    /// In the supervisor: handles what a waiting thread has left.
    pub(crate) fn catch_up(&mut self) -> Result<Read, Malformed> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if !self.frame_reader.is_empty() {
            self.handle_all(ReaderRole::Supervisor)?;
        }
        Ok(Read::Some)
    }

    /// Empties the bell, after the worker has rung or ended.
    pub(crate) fn empty_bell(&mut self) -> Result<(), Malformed> {
        match rustix::io::read(&self.bell, &mut [0; 64]) {
            Ok(count) => self.ended |= count == 0,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Err(Malformed("its bell could not be read")),
        }
        Ok(())
    }

    /// Arms the bell: the worker rings from now on. False if there is something to read already. Between
    /// two readers the bell is armed, or has rung, or the supervisor was woken.
    #[must_use]
    pub(crate) fn arm_bell(&self) -> bool {
        self.page.answers().arm_bell(1)
    }

    /// For the supervisor: the same, but if calls are brief the worker rings for several answers at once.
    /// Then also returns after which time the supervisor must look for them by itself.
    #[must_use]
    pub(crate) fn arm_bell_for_several(&mut self) -> (bool, Option<Duration>) {
        let answers = std::mem::take(&mut self.coalesce_limit);
        if answers <= 1 {
            return (self.arm_bell(), None);
        }
        (self.page.answers().arm_bell(answers * SMALL_ANSWER), Some(COALESCE_DELAY))
    }

    /// Reads and handles the available replies.
    pub(crate) fn read(&mut self, role: ReaderRole) -> Result<Read, Malformed> {
        let read = self.page.answers().read(self.frame_reader.room());
        match read.map_err(|Overrun| Malformed("more answers than there is room for"))? {
            0 if self.ended => Ok(Read::End),
            0 => Ok(Read::Nothing),
            count => {
                self.frame_reader.fill(count);
                self.handle_all(role).map(|()| Read::Some)
            }
        }
    }

    /// In a waiting thread: like [`read`](Self::read), with failures left to the supervisor.
    pub(crate) fn read_one(&mut self) -> Read {
        self.read(ReaderRole::Waiter).unwrap_or_else(|fault| self.leave(fault))
    }

    /// In a waiting thread: has the supervisor end the worker.
    pub(crate) fn leave(&mut self, fault: Malformed) -> Read {
        self.fault = Some(fault);
        Read::End
    }

    fn handle_all(&mut self, role: ReaderRole) -> Result<(), Malformed> {
        let mut frames = std::mem::take(&mut self.frames);
        let mut tasks = std::mem::take(&mut self.tasks);
        let handled = self.handle(role, &mut frames, &mut tasks);
        frames.clear();
        tasks.clear();
        self.frames = frames;
        self.tasks = tasks;
        handled
    }

    fn handle(
        &mut self,
        role: ReaderRole,
        frames: &mut Vec<(Header, Range<usize>)>,
        tasks: &mut Vec<Option<ProcessCallRef>>,
    ) -> Result<(), Malformed> {
        let mut bad = None;
        while role == ReaderRole::Supervisor || frames.is_empty() {
            match self.frame_reader.next() {
                Ok(Some((header, body))) if self.initializing || !self.has_hello => {
                    self.handle_first(header, body)?;
                }
                Ok(Some((header, _))) if header.kind == FrameKind::Forget => {
                    self.forgotten.push(header.seq);
                }
                Ok(Some((header, _))) if !header.kind.is_answer() => {
                    bad = Some(Malformed("it sent a message that only its parent may send"));
                    break;
                }
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(malformed) => {
                    bad = Some(malformed);
                    break;
                }
            }
        }
        if !frames.is_empty() {
            // The worker gets new work before the callers get their results.
            let (deferred, coalesce_limit, checked) = self.worker.answered(frames, tasks, role);
            self.coalesce_limit = coalesce_limit;
            self.steps.extend(deferred.into_steps());
            let mut fetched = Ok(());
            for ((header, body), task) in frames.iter().zip(tasks.drain(..)) {
                let reply = match fetched {
                    Ok(()) => self.fetch(*header, body.clone()),
                    Err(malformed) => Err(malformed),
                };
                match (reply, task) {
                    (Ok(Ok(reply)), Some(task)) if role == ReaderRole::Supervisor => {
                        self.steps.push_back(Step::Finish(task, reply));
                    }
                    (Ok(Ok(reply)), Some(task)) => self.awaited = Some((task, reply)),
                    (Ok(Err(error)), Some(task)) => self.steps.push_back(Step::Fail(task, error)),
                    (Err(Malformed(how)), task) => {
                        fetched = Err(Malformed(how));
                        // The call has run, and its result is lost.
                        let fail = |task| {
                            Step::Fail(task, Error::Decode(format!("the result: {how}").into()))
                        };
                        self.steps.extend(task.map(fail));
                    }
                    (Ok(_), None) => {}
                }
            }
            fetched?;
            checked?;
        }
        // Only now: the answers ahead may be in these segments.
        self.forgotten.drain(..).for_each(|segment| self.segments.forgotten(segment));
        bad.map_or(Ok(()), Err)
    }

    /// Handles the first answers: the hello, and that of the initializer.
    fn handle_first(&mut self, header: Header, body: Range<usize>) -> Result<(), Malformed> {
        if !self.has_hello {
            let hello = Hello::from_bytes(self.frame_reader.body(body));
            if header.kind != FrameKind::Ready || hello.ok() != Some(self.expected) {
                return Err(Malformed("it is another program: was the executable replaced?"));
            }
            self.has_hello = true;
            if self.initializing {
                self.worker.hello_came();
            }
        } else if header.kind == FrameKind::Done && header.seq == INITIALIZER {
            self.initializing = false;
        } else {
            self.start_error = Some(failure(header.kind, self.frame_reader.body(body)));
            return Err(Malformed("its initializer failed"));
        }
        if !self.initializing {
            self.steps.extend(self.worker.ready().into_steps());
        }
        Ok(())
    }

    /// Copies a reply to private memory; an error of the call if that fails.
    fn fetch(
        &mut self,
        header: Header,
        body: Range<usize>,
    ) -> Result<Result<Reply, Error>, Malformed> {
        let (socket, count) = (self.socket.as_fd(), header.files.into());
        let mut files = match count {
            0 => Ok(Vec::new()),
            _ => receive_files(socket, header.seq, count, false)?,
        };
        let mut body = self.frame_reader.body(body);
        let place = if header.is_out_of_line() { Some(OutOfLine::from_bytes(body)?) } else { None };
        if let (Some(place), Ok(received), true) = (place, &mut files, header.announces()) {
            if let Err(why) = self.segments.announced(place.segment, received.pop())? {
                files = Err(why);
            }
        }
        if header.kind == FrameKind::Undelivered {
            let segment;
            (segment, body) = split_segment(body)?;
            self.worker.not_received(segment);
        }
        let lost = |why: String| Error::Undelivered(format!("the result: {why}").into());
        let bytes = match (place, &files) {
            (Some(place), _) if place.len > self.worker.pool.settings().max_message_size => {
                return Err(Malformed("a result above the limit"));
            }
            (Some(place), Ok(_)) => ReplyBytes::fetch(&self.segments.window(place)?).map_err(lost),
            (None, Ok(_)) => ReplyBytes::copy(body).ok_or_else(|| lost("no memory".into())),
            (_, Err(_)) => ReplyBytes::copy(&[]).ok_or_else(|| lost(String::new())),
        };
        if let Some(place) = place {
            if header.is_used_once() {
                self.forgotten.push(place.segment);
            } else {
                let fate = if files.is_ok() || !header.announces() {
                    SegmentFate::Read
                } else {
                    SegmentFate::Lost
                };
                self.worker.release_segment(place.segment, fate);
            }
        }
        Ok(match (bytes, files) {
            (_, Err(why)) => Err(lost(why)),
            (Ok(bytes), Ok(files)) => Ok(Reply { kind: header.kind, bytes, files }),
            (Err(error), Ok(_)) => Err(error),
        })
    }
}
