//! What the parent reads of one worker, and what that means for its calls.
//!
//! Whoever holds the lock of the [`ReplyReader`] reads: the supervisor of the worker, or for a moment a
//! thread that waits for a call (`inline_receive.rs`). Neither runs user code under that lock. The thread
//! that waits decodes its own result afterwards; everything else is left to the supervisor.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::deferred::{Step, Steps};
use super::delivery::ProcessCallRef;
use super::manager::PoolManager;
use super::reply::{Reply, ReplyBytes};
use crate::error::Error;
use crate::futures::process::channel::fds::{receive_files, receive_with_files};
use crate::futures::process::channel::flow::Overrun;
use crate::futures::process::channel::frame::{Header, REPLY_LIMIT, split_segment};
use crate::futures::process::channel::frame_reader::FrameReader;
use crate::futures::process::channel::sender::SegmentFate;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::handshake::{Excuse, Hello};
use crate::futures::remote::foreign::ForeignSegments;
use crate::futures::remote::protocol::{FrameKind, Malformed, OutOfLine};
use crate::futures::remote::reply::failure;

/// Bytes of a small answer, more or less.
const SMALL_ANSWER: u32 = 24;

/// How long the supervisor sleeps over answers that were to come together. They are not that late unless
/// a brief call is followed by one that is not.
const COALESCE_DELAY: Duration = Duration::from_micros(100);

/// Reads the replies of one worker. Every method is called under the lock of its [`Incoming`].
pub(crate) struct ReplyReader {
    pub(crate) index: usize,
    /// The worker writes to it when it has an answer and the reader sleeps, and it ends when the
    /// worker ends.
    pub(crate) bell: OwnedFd,
    /// The bell has ended.
    ended: bool,
    /// The supervisor does not look here any more.
    pub(super) closed: bool,
    pub(crate) page: Arc<SharedPage>,
    socket: Arc<OwnedFd>,
    frame_reader: FrameReader,
    frames: Vec<(Header, Range<usize>)>,
    tasks: Vec<Option<ProcessCallRef>>,
    /// The segments of the worker that it has announced.
    segments: ForeignSegments,
    /// Those that it uses no more.
    forgotten: Vec<u64>,
    expected: Hello,
    greeted: bool,
    /// The initializer has not answered yet.
    initializing: bool,
    pub(crate) start_error: Option<Error>,
    /// How many answers to let come together, by what is known since the last ones.
    coalesce_limit: u32,
    /// What the supervisor is to run, some of it left by a thread that waited.
    pub(crate) steps: Steps,
    /// The answer that a thread waited for.
    pub(crate) awaited: Option<(ProcessCallRef, Reply)>,
    fault: Option<Malformed>,
}

/// What one read brought.
pub(crate) enum Read {
    Some,
    Nothing,
    End,
}

/// On whose behalf replies are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderRole {
    /// All that there are, and everybody is told.
    Supervisor,
    /// One reply; others are told later.
    Waiter,
}

impl ReplyReader {
    pub(crate) fn new(
        index: usize,
        bell: OwnedFd,
        page: Arc<SharedPage>,
        socket: Arc<OwnedFd>,
        expected: Hello,
        initializing: bool,
    ) -> Self {
        Self {
            index,
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
            greeted: false,
            initializing,
            start_error: None,
            coalesce_limit: 0,
            steps: Steps::new(),
            awaited: None,
            fault: None,
        }
    }

    /// Whether the worker has said that it is there.
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Why the worker has ended before it was there, if it has said so.
    pub(super) fn excuse(&self) -> Option<Excuse> {
        if self.greeted {
            return None;
        }
        let mut text = [0; Excuse::MOST];
        let received = receive_with_files(self.socket.as_fd(), &mut text, false).ok()?;
        Excuse::from_bytes(&text[..received.len])
    }

    pub(super) fn has_left(&self) -> bool {
        self.fault.is_some() || !self.steps.is_empty() || !self.frame_reader.is_empty()
    }

    /// How many bytes were read, modulo 2^32, and whether they end in the middle of a frame. The worker is
    /// told again.
    pub(crate) fn standing(&self) -> (u32, bool) {
        self.page.answers().repeat();
        (self.page.answers().has_read(), !self.frame_reader.is_empty())
    }

    /// In the supervisor: handles what a thread that waited has left.
    pub(crate) fn catch_up(&mut self, pool: &Arc<PoolManager>) -> Result<Read, Malformed> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if !self.frame_reader.is_empty() {
            self.handle_all(pool, ReaderRole::Supervisor)?;
        }
        Ok(Read::Some)
    }

    /// After the worker has rung, or ended.
    pub(crate) fn hear(&mut self) -> Result<(), Malformed> {
        match rustix::io::read(&self.bell, &mut [0; 64]) {
            Ok(count) => self.ended |= count == 0,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Err(Malformed("it could not be heard")),
        }
        Ok(())
    }

    /// From now on the worker rings, unless there is something to read. Between any two turns of
    /// readers it does, or has rung, or the supervisor has been woken.
    #[must_use]
    pub(crate) fn sleeps(&self) -> bool {
        self.page.answers().reader_sleeps(1)
    }

    /// For the supervisor: the same, but if calls are brief the worker rings for several at once. Then
    /// the supervisor is to look by itself after so long.
    #[must_use]
    pub(crate) fn sleeps_patiently(&mut self) -> (bool, Option<Duration>) {
        let answers = std::mem::take(&mut self.coalesce_limit);
        if answers <= 1 {
            return (self.sleeps(), None);
        }
        (self.page.answers().reader_sleeps(answers * SMALL_ANSWER), Some(COALESCE_DELAY))
    }

    /// Reads what is there and handles it.
    pub(crate) fn read(
        &mut self,
        pool: &Arc<PoolManager>,
        role: ReaderRole,
    ) -> Result<Read, Malformed> {
        let read = self.page.answers().read(self.frame_reader.room());
        match read.map_err(|Overrun| Malformed("more answers than there is room for"))? {
            0 if self.ended => Ok(Read::End),
            0 => Ok(Read::Nothing),
            count => {
                self.frame_reader.fill(count);
                self.handle_all(pool, role).map(|()| Read::Some)
            }
        }
    }

    /// In a thread that waits: like [`read`](Self::read), with failures left to the supervisor.
    pub(crate) fn read_one(&mut self, pool: &Arc<PoolManager>) -> Read {
        self.read(pool, ReaderRole::Waiter).unwrap_or_else(|fault| self.leave(fault))
    }

    /// In a thread that waits: the supervisor is to end the worker.
    pub(crate) fn leave(&mut self, fault: Malformed) -> Read {
        self.fault = Some(fault);
        Read::End
    }

    fn handle_all(&mut self, pool: &Arc<PoolManager>, role: ReaderRole) -> Result<(), Malformed> {
        let mut frames = std::mem::take(&mut self.frames);
        let mut tasks = std::mem::take(&mut self.tasks);
        let handled = self.handle(pool, role, &mut frames, &mut tasks);
        frames.clear();
        tasks.clear();
        self.frames = frames;
        self.tasks = tasks;
        handled
    }

    fn handle(
        &mut self,
        pool: &Arc<PoolManager>,
        role: ReaderRole,
        frames: &mut Vec<(Header, Range<usize>)>,
        tasks: &mut Vec<Option<ProcessCallRef>>,
    ) -> Result<(), Malformed> {
        let mut bad = None;
        while role == ReaderRole::Supervisor || frames.is_empty() {
            match self.frame_reader.next() {
                Ok(Some((header, body))) if self.initializing || !self.greeted => {
                    self.greet(pool, header, body)?;
                }
                Ok(Some((header, _))) if header.kind == FrameKind::Forget => {
                    self.forgotten.push(header.seq);
                }
                Ok(Some((header, _))) if !header.kind.is_answer() => {
                    bad = Some(Malformed("it said what only its parent may say"));
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
            // First the worker gets new work, then the callers their results.
            let (deferred, coalesce_limit, checked) =
                pool.answered(self.index, frames, tasks, role);
            self.coalesce_limit = coalesce_limit;
            self.steps.extend(deferred.into_steps());
            let mut fetched = Ok(());
            for ((header, body), task) in frames.iter().zip(tasks.drain(..)) {
                let reply = match fetched {
                    Ok(()) => self.fetch(pool, *header, body.clone()),
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
                        // It has run, and its result is lost.
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
        // Not before the answers ahead of that were read.
        self.forgotten.drain(..).for_each(|segment| self.segments.forgotten(segment));
        bad.map_or(Ok(()), Err)
    }

    /// The first answers: to the welcome, and of the initializer.
    fn greet(
        &mut self,
        pool: &Arc<PoolManager>,
        header: Header,
        body: Range<usize>,
    ) -> Result<(), Malformed> {
        if !self.greeted {
            let hello = Hello::from_bytes(self.frame_reader.body(body));
            if header.kind != FrameKind::Ready || hello.ok() != Some(self.expected) {
                return Err(Malformed("it is another program: was the executable replaced?"));
            }
            self.greeted = true;
            if self.initializing {
                pool.greeted(self.index);
            }
        } else if header.kind == FrameKind::Done && header.seq == 0 {
            self.initializing = false;
        } else {
            self.start_error = Some(failure(header.kind, self.frame_reader.body(body)));
            return Err(Malformed("its initializer failed"));
        }
        if !self.initializing {
            self.steps.extend(pool.ready(self.index).into_steps());
        }
        Ok(())
    }

    /// What a worker has answered, in memory of our own; or why that cannot be had.
    fn fetch(
        &mut self,
        pool: &Arc<PoolManager>,
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
        if let (Some(place), Ok(files), true) = (place, &mut files, header.announces()) {
            self.segments.announced(place.segment, files.pop())?;
        }
        if header.kind == FrameKind::Undelivered {
            let segment;
            (segment, body) = split_segment(body)?;
            pool.not_received(self.index, segment);
        }
        let lost = |why: String| Error::Undelivered(format!("the result: {why}").into());
        let bytes = match (place, &files) {
            (Some(place), _) if place.len > pool.settings().max_message_size => {
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
                pool.release_segment(self.index, place.segment, fate);
            }
        }
        Ok(match (bytes, files) {
            (_, Err(why)) => Err(lost(why)),
            (Ok(bytes), Ok(files)) => Ok(Reply { kind: header.kind, bytes, files }),
            (Err(error), Ok(_)) => Err(error),
        })
    }
}
