//! The thread that minds one worker: starts it, reads its answers, sees its end.
//!
//! It blocks in `poll` only, on the answers, the end of the process, and its wake descriptor. It
//! lives longer than the worker: the kernel ends a worker with the thread that started it.

use std::cell::Cell;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::crew::{After, Shared};
use super::ends::Next;
use super::inbox::Inbox;
use super::link::Link;
use super::segments::{Foreign, Recent};
use super::spawn::{Hello, Launched, clear_wake, launch, receive_with_files, wake_descriptor};
use super::task::{Reply, Task, failure};
use super::wire::{Far, Header, Kind, Malformed, REPLY_LIMIT};
use crate::error::Error;
use crate::guard::contain;

/// How long a worker that has closed its channel may take to end.
const GRACE: Duration = Duration::from_millis(200);

/// How long to wait before the system is asked again for a process that it has just refused.
const RETRY: Duration = Duration::from_millis(5);

thread_local! {
    /// The pool that this thread minds a worker of, by address; 0 for other threads.
    static POOL: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is a minder of `pool`, so that it cannot wait for the minders to end.
pub(crate) fn is_minder_of(pool: &Arc<Shared>) -> bool {
    POOL.try_with(|own| own.get() == Arc::as_ptr(pool).addr()).unwrap_or(true)
}

/// Minds the worker in seat `index`, and those that replace it.
pub(crate) fn mind(pool: &Arc<Shared>, index: usize) {
    POOL.with(|own| own.set(Arc::as_ptr(pool).addr()));
    loop {
        let next = match start(pool, index) {
            Ok(minder) => minder.serve(),
            Err(error) => pool.start_failed(index, error),
        };
        match next {
            Next::Start => {}
            Next::StartLater => std::thread::park_timeout(RETRY),
            Next::Stop => return,
        }
    }
}

fn start(pool: &Arc<Shared>, index: usize) -> std::io::Result<Minder<'_>> {
    let launched = launch(pool.settings(), pool.greeting())?;
    let Launched { process, socket, requests, replies, page, greeting } = launched;
    let socket = Arc::new(socket);
    let wake = Arc::new(wake_descriptor()?);
    let pidfd = process.pidfd().try_clone_to_owned()?;
    let page = Arc::new(page);
    let (own_socket, own_wake) = (Arc::clone(&socket), Arc::clone(&wake));
    let mut link = Link::new(process.pid(), requests, socket, pidfd, wake, page)?;
    let initializing = pool.settings().initialize(&mut link, pool.arena())?;
    let expected =
        Hello { nonce: greeting.nonce, fingerprint: greeting.fingerprint, pid: process.pid() };
    pool.connected(index, link);
    Ok(Minder {
        pool,
        index,
        process: Some(process),
        replies,
        socket: own_socket,
        wake: own_wake,
        inbox: Inbox::new(REPLY_LIMIT),
        frames: Vec::new(),
        tasks: Vec::new(),
        segments: Recent::new(),
        expected,
        greeted: false,
        initializing,
        start_error: None,
    })
}

struct Minder<'a> {
    pool: &'a Arc<Shared>,
    index: usize,
    process: Option<super::spawn::Process>,
    replies: OwnedFd,
    socket: Arc<OwnedFd>,
    wake: Arc<OwnedFd>,
    inbox: Inbox,
    frames: Vec<(Header, Range<usize>)>,
    tasks: Vec<Option<Task>>,
    /// The segments of the worker that are mapped here.
    segments: Recent<Foreign>,
    expected: Hello,
    greeted: bool,
    /// The initializer has not answered yet.
    initializing: bool,
    start_error: Option<Error>,
}

/// What one read brought.
enum Read {
    Some,
    Nothing,
    End,
}

impl Minder<'_> {
    /// Until the worker has ended.
    fn serve(mut self) -> Next {
        let mut process = self.process.take().expect("set when the minder was made");
        let mut timer = self.pool.on_time(self.index);
        let mut open = true;
        loop {
            let events = {
                let replies = PollFd::new(&self.replies, PollFlags::IN);
                let pidfd = PollFd::from_borrowed_fd(process.pidfd(), PollFlags::IN);
                let wake = PollFd::new(&self.wake, PollFlags::IN);
                let mut descriptors = [pidfd, wake, replies];
                let watched = if open { &mut descriptors[..] } else { &mut descriptors[..2] };
                let timeout = timer.map(until);
                match poll(watched, timeout.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => self.pool.unruly(self.index, "it could not be watched"),
                }
                descriptors.map(|descriptor| !descriptor.revents().is_empty())
            };
            let [ended, woken, readable] = events;
            if woken {
                clear_wake(self.wake.as_fd());
            }
            if ended {
                while open && matches!(self.read(&mut timer), Ok(Read::Some)) {}
                // Its descriptors are closed when its caller has been told.
                return self.pool.ended(self.index, process.wait(), self.start_error);
            }
            let due = timer.is_some_and(|timer| timer <= Instant::now());
            if open && readable {
                match self.read(&mut timer) {
                    Ok(Read::Some | Read::Nothing) => {}
                    Ok(Read::End) => {
                        open = false;
                        self.left_channel(&process);
                    }
                    Err(Malformed(how)) => {
                        open = false;
                        self.pool.unruly(self.index, how);
                    }
                }
            }
            if woken || due {
                timer = self.pool.on_time(self.index);
            }
        }
    }

    /// The worker has closed its end: normally because it ends.
    fn left_channel(&self, process: &super::spawn::Process) {
        let mut pidfd = [PollFd::from_borrowed_fd(process.pidfd(), PollFlags::IN)];
        let deadline = Instant::now() + GRACE;
        loop {
            match poll(&mut pidfd, Some(&until(deadline))) {
                Ok(0) => break self.pool.unruly(self.index, "it closed its channel and lived on"),
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }

    /// Reads what is there and handles it.
    fn read(&mut self, timer: &mut Option<Instant>) -> Result<Read, Malformed> {
        let room = self.inbox.room();
        let count = match rustix::io::read(&self.replies, room) {
            Ok(0) => return Ok(Read::End),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Read::Nothing),
            Err(_) => return Err(Malformed("its answers could not be read")),
        };
        self.inbox.fill(count);
        let mut frames = std::mem::take(&mut self.frames);
        let mut tasks = std::mem::take(&mut self.tasks);
        let handled = self.handle(&mut frames, &mut tasks, timer);
        frames.clear();
        tasks.clear();
        self.frames = frames;
        self.tasks = tasks;
        handled.map(|()| Read::Some)
    }

    fn handle(
        &mut self,
        frames: &mut Vec<(Header, Range<usize>)>,
        tasks: &mut Vec<Option<Task>>,
        timer: &mut Option<Instant>,
    ) -> Result<(), Malformed> {
        let mut bad = None;
        loop {
            match self.inbox.next() {
                Ok(Some((header, body))) if self.initializing || !self.greeted => {
                    self.greet(header, body)?;
                }
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(malformed) => break bad = Some(malformed),
            }
        }
        if !frames.is_empty() {
            // First the worker gets new work, then the callers their results.
            let (after, checked) = self.pool.answered(self.index, frames, tasks, timer);
            after.run();
            let mut finished = Ok(());
            for ((header, body), mut task) in frames.iter().zip(tasks.drain(..)) {
                if finished.is_ok() {
                    finished = self.finish(*header, body.clone(), &mut task);
                }
                if let (Err(Malformed(how)), Some(task)) = (&finished, task) {
                    // It has run, and its result is lost.
                    let error = Error::Decode(format!("the result: {how}").into());
                    contain("ending a call", || task.fail(error));
                }
            }
            finished?;
            checked?;
        }
        bad.map_or(Ok(()), Err)
    }

    /// The first answers: to the greeting, and of the initializer.
    fn greet(&mut self, header: Header, body: Range<usize>) -> Result<(), Malformed> {
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
            self.pool.ready(self.index);
        }
        Ok(())
    }

    /// Ends one call, and takes it, unless the answer is malformed.
    fn finish(
        &mut self,
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
        if !header.is_far() {
            if let Some(task) = task.take() {
                let reply = Reply { kind: header.kind, bytes: body, files };
                contain("ending a call", || task.finish(reply, &mut || ()));
            }
            return Ok(());
        }
        let far = Far::from_bytes(body)?;
        if far.len > self.pool.settings().max_message_size {
            return Err(Malformed("a result above the limit"));
        }
        if !self.segments.touch(far.segment) {
            let file = files.pop().ok_or(Malformed("shared memory did not come"))?;
            self.segments.insert(far.segment, Foreign::new(file));
        }
        let segment = self.segments.first().ok_or(Malformed("no shared memory"))?;
        let bytes = segment.bytes(far.len).map_err(|_| Malformed("not so much shared memory"))?;
        let (pool, index) = (self.pool, self.index);
        let mut decoded = || pool.owe(index, far.segment);
        match task.take() {
            Some(task) => {
                let reply = Reply { kind: header.kind, bytes, files };
                contain("ending a call", || task.finish(reply, &mut decoded));
            }
            None => decoded(),
        }
        Ok(())
    }
}

fn until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    // Rounded up, so that the time has come when poll says so.
    let left = left.saturating_add(Duration::from_nanos(1));
    let forever = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    Timespec::try_from(left).unwrap_or(forever)
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
        timer: &mut Option<Instant>,
    ) -> (After, Result<(), Malformed>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut checked = Ok(());
        let mut skipped = Vec::new();
        let seat = &mut state.seats[index];
        for (header, _) in frames {
            let Ok(task) = seat.slot.answer(header.seq) else {
                checked = Err(Malformed("it answered what it was not asked"));
                break;
            };
            if header.kind == Kind::Skipped {
                skipped.extend(task.filter(|task| !task.is_over()));
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
            link.armed = true; // looked at below
        }
        if seat.slot.is_worn_out() {
            seat.retire();
        }
        state.fruitless = 0;
        state.counts.answered += tasks.len() as u64;
        state.requeue(skipped);
        let mut after = self.balance(&mut state);
        *timer = self.check_time(&mut state, index, &mut after);
        (after, checked)
    }
}
