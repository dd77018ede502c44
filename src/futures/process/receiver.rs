//! What the parent reads of one worker, and what that means for its calls.
//!
//! Whoever holds the lock of the [`Receiver`] reads: the minder of the worker, or for a moment a
//! thread that waits for a call (`attend.rs`). That one runs no code of others: what is to be told
//! to them it leaves to the minder.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::epoll;
use rustix::io::Errno;

use super::crew::{After, Shared};
use super::inbox::Inbox;
use super::landing::failure;
use super::segments::{Foreign, Recent};
use super::slot::{Phase, Reason};
use super::spawn::{Hello, receive_with_files, wake};
use super::task::{Reply, Task};
use super::wire::{Far, Header, Kind, Malformed, REPLY_LIMIT};
use crate::error::Error;
use crate::guard::contain;
use crate::sync::Mutex;

/// The replies of one worker, and who is told of them.
pub(crate) struct Incoming {
    pub(super) receiver: Mutex<Receiver>,
    /// Readable when there are replies that the minder is to read.
    watch: OwnedFd,
    /// Makes the minder look at everything again.
    wake: OwnedFd,
}

impl Incoming {
    pub(super) fn new(receiver: Receiver, wake: OwnedFd) -> rustix::io::Result<Arc<Self>> {
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&watch, &receiver.replies, data, epoll::EventFlags::IN)?;
        Ok(Arc::new(Self { receiver: Mutex::new(receiver), watch, wake }))
    }

    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Whether the minder hears of replies. Of the end of the channel it always does.
    pub(super) fn tell_minder(&self, receiver: &Receiver, tells: bool) {
        let events = if tells { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(0);
        let _ = epoll::modify(&self.watch, &receiver.replies, data, events); // it was added
    }

    /// Has the minder do what a thread that waited left to it.
    pub(super) fn pass_on(&self, receiver: &Receiver) {
        if receiver.has_left() {
            wake(self.wake.as_fd());
        }
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// Reads the replies of one worker. Every method is called under the lock of its [`Incoming`].
pub(crate) struct Receiver {
    pub(super) index: usize,
    pub(super) replies: OwnedFd,
    socket: Arc<OwnedFd>,
    inbox: Inbox,
    frames: Vec<(Header, Range<usize>)>,
    tasks: Vec<Option<Task>>,
    /// The segments of the worker that are mapped here.
    segments: Recent<Foreign>,
    expected: Hello,
    greeted: bool,
    /// The initializer has not answered yet.
    initializing: bool,
    pub(super) start_error: Option<Error>,
    /// What a thread that waited has left to the minder.
    left: After,
    fault: Option<Malformed>,
}

/// What one read brought.
pub(super) enum Read {
    Some,
    Nothing,
    End,
}

/// On whose behalf replies are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// All that there are, and everybody is told.
    Minder,
    /// One reply; others are told later.
    Waiter,
}

impl Receiver {
    pub(super) fn new(
        index: usize,
        replies: OwnedFd,
        socket: Arc<OwnedFd>,
        expected: Hello,
        initializing: bool,
    ) -> Self {
        Self {
            index,
            replies,
            socket,
            inbox: Inbox::new(REPLY_LIMIT),
            frames: Vec::new(),
            tasks: Vec::new(),
            segments: Recent::new(),
            expected,
            greeted: false,
            initializing,
            start_error: None,
            left: After::default(),
            fault: None,
        }
    }

    fn has_left(&self) -> bool {
        self.fault.is_some() || !self.left.is_empty() || !self.inbox.is_empty()
    }

    /// In the minder: does what a thread that waited has left.
    pub(super) fn catch_up(&mut self, pool: &Arc<Shared>) -> Result<(), Malformed> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        self.left().run();
        if self.inbox.is_empty() {
            return Ok(());
        }
        self.handle_all(pool, Role::Minder)
    }

    /// What is still to be told. After a failure that is done when the worker gets no more calls:
    /// whoever hears of it may submit the next one.
    pub(super) fn left(&mut self) -> After {
        std::mem::take(&mut self.left)
    }

    /// Reads what is there and handles it.
    pub(super) fn read(&mut self, pool: &Arc<Shared>, role: Role) -> Result<Read, Malformed> {
        let count = match rustix::io::read(&self.replies, self.inbox.room()) {
            Ok(0) => return Ok(Read::End),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Read::Nothing),
            Err(_) => return Err(Malformed("its answers could not be read")),
        };
        self.inbox.fill(count);
        self.handle_all(pool, role).map(|()| Read::Some)
    }

    /// In a thread that waits: like [`read`](Self::read), with failures left to the minder.
    pub(super) fn read_one(&mut self, pool: &Arc<Shared>) -> Read {
        self.read(pool, Role::Waiter).unwrap_or_else(|fault| {
            self.fault = Some(fault);
            Read::End
        })
    }

    fn handle_all(&mut self, pool: &Arc<Shared>, role: Role) -> Result<(), Malformed> {
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
        pool: &Arc<Shared>,
        role: Role,
        frames: &mut Vec<(Header, Range<usize>)>,
        tasks: &mut Vec<Option<Task>>,
    ) -> Result<(), Malformed> {
        let mut bad = None;
        while role == Role::Minder || frames.is_empty() {
            match self.inbox.next() {
                Ok(Some((header, body))) if self.initializing || !self.greeted => {
                    self.greet(pool, header, body)?;
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
            let (after, checked) = pool.answered(self.index, frames, tasks, role);
            match role {
                Role::Minder => {
                    after.run();
                }
                Role::Waiter => self.left.add(after),
            }
            let mut finished = Ok(());
            for ((header, body), mut task) in frames.iter().zip(tasks.drain(..)) {
                if finished.is_ok() {
                    finished = self.finish(pool, role, *header, body.clone(), &mut task);
                }
                if let (Err(Malformed(how)), Some(task)) = (&finished, task) {
                    // It has run, and its result is lost.
                    let error = Error::Decode(format!("the result: {how}").into());
                    self.left.failed.push((task, error));
                }
            }
            finished?;
            checked?;
            if role == Role::Minder {
                self.left().run();
            }
        }
        bad.map_or(Ok(()), Err)
    }

    /// The first answers: to the greeting, and of the initializer.
    fn greet(
        &mut self,
        pool: &Arc<Shared>,
        header: Header,
        body: Range<usize>,
    ) -> Result<(), Malformed> {
        if !self.greeted {
            let hello = Hello::from_bytes(self.inbox.body(body));
            if header.kind != Kind::Ready || hello.ok() != Some(self.expected) {
                return Err(Malformed("it is another program: was the executable replaced?"));
            }
            self.greeted = true;
        } else if header.kind == Kind::Done && header.seq == 0 {
            self.initializing = false;
        } else {
            self.start_error = Some(failure(header.kind, self.inbox.body(body)));
            return Err(Malformed("its initializer failed"));
        }
        if !self.initializing {
            pool.ready(self.index);
        }
        Ok(())
    }

    /// Ends one call, and takes it, unless the answer is malformed.
    fn finish(
        &mut self,
        pool: &Arc<Shared>,
        role: Role,
        header: Header,
        body: Range<usize>,
        task: &mut Option<Task>,
    ) -> Result<(), Malformed> {
        let mut files = Vec::new();
        if header.has_descriptors() {
            let mut seq = [0; 8];
            let received = receive_with_files(self.socket.as_fd(), &mut seq, false);
            files = match received {
                Ok((8, files)) if u64::from_ne_bytes(seq) == header.seq => files,
                _ => return Err(Malformed("descriptors did not come")),
            };
        }
        let body = self.inbox.body(body);
        let (bytes, far) = if header.is_far() {
            let far = Far::from_bytes(body)?;
            if far.len > pool.settings().max_message_size {
                return Err(Malformed("a result above the limit"));
            }
            if !self.segments.touch(far.segment) {
                let file = files.pop().ok_or(Malformed("shared memory did not come"))?;
                self.segments.insert(far.segment, Foreign::new(file));
            }
            let segment = self.segments.first().ok_or(Malformed("no shared memory"))?;
            let bytes = segment.bytes(far.len);
            (bytes.map_err(|_| Malformed("not so much shared memory"))?, Some(far.segment))
        } else {
            (body, None)
        };
        let index = self.index;
        let mut decoded = || {
            if let Some(segment) = far {
                pool.owe(index, segment);
            }
        };
        let Some(task) = task.take() else {
            decoded();
            return Ok(());
        };
        let reply = Reply { kind: header.kind, bytes, files };
        match role {
            Role::Minder => contain("ending a call", || {
                if let Some(task) = task.finish(reply, &mut decoded) {
                    task.tell();
                }
            }),
            Role::Waiter => contain("ending a call", || {
                self.left.untold.extend(task.finish(reply, &mut decoded));
            }),
        }
        Ok(())
    }
}

impl Shared {
    fn ready(self: &Arc<Self>, index: usize) {
        let after = {
            let mut state = self.state.lock();
            state.seats[index].ready();
            self.balance(&mut state)
        };
        after.run();
    }

    /// A segment of a worker has been read.
    fn owe(&self, index: usize, segment: u64) {
        if let Some(link) = &mut self.state.lock().seats[index].link {
            link.owe(segment);
        }
    }

    /// Answers came: finds their calls, and gives the worker new ones.
    fn answered(
        self: &Arc<Self>,
        index: usize,
        frames: &[(Header, Range<usize>)],
        tasks: &mut Vec<Option<Task>>,
        role: Role,
    ) -> (After, Result<(), Malformed>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut checked = Ok(());
        let (mut skipped, mut failed) = (Vec::new(), Vec::new());
        let seat = &mut state.seats[index];
        for (header, _) in frames {
            let Ok(task) = seat.slot.answer(header.seq) else {
                checked = Err(Malformed("it answered what it was not asked"));
                break;
            };
            if header.kind == Kind::Skipped {
                let task = task.filter(|task| !task.is_over());
                if seat.slot.phase() == Phase::Killing(Reason::Asked) {
                    // Somebody wants it to end; it must not run elsewhere.
                    let pid = seat.link.as_ref().map_or(0, |link| link.pid);
                    failed.extend(task.map(|task| (task, Error::Killed { pid })));
                } else {
                    skipped.extend(task);
                }
                tasks.push(None);
            } else {
                tasks.push(task);
            }
        }
        seat.slot.answered(tasks.len(), now);
        seat.slow = false;
        seat.since = now;
        if let Some((task, _)) = seat.slot.head() {
            task.begin();
        }
        if let Some(link) = &mut seat.link {
            link.armed = true; // the minder is about to look, or is told to
        }
        if seat.slot.is_worn_out() {
            seat.retire();
        }
        state.fruitless = 0;
        state.counts.answered += tasks.len() as u64;
        state.requeue(skipped);
        let mut after = self.balance(&mut state);
        after.failed.extend(failed);
        if role == Role::Waiter {
            let next = self.check_time(&mut state, index, &mut after);
            state.seats[index].look_again(next);
        }
        (after, checked)
    }
}
