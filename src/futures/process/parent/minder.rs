//! The thread that minds one worker: starts it, reads its answers, sees its end.
//!
//! It blocks in `poll` only, on the bell, the end of the process, and its wake descriptor. It
//! lives longer than the worker: the kernel ends a worker with the thread that started it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::crew::Shared;
use super::ends::Next;
use super::receiver::{Incoming, Read, Receiver, Role};
use super::spawn::{Launched, Process, clear_wake, launch, wake_descriptor};
use crate::futures::process::channel::link::Link;
use crate::futures::process::handshake::{Greeting, Hello};
use crate::futures::process::look::{LOOK, look};
use crate::futures::remote::wire::Malformed;

/// How long a worker that has closed its channel may take to end.
const GRACE: Duration = Duration::from_millis(200);

/// How long to wait before the system is asked again for a process that it has just refused.
const RETRY: Duration = Duration::from_millis(5);

/// How often in a row to read before the clock is looked at.
const READS: usize = 8;

thread_local! {
    /// The pool that this thread minds a worker of, by address; 0 for other threads.
    static POOL: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is a minder of `pool`, so that it cannot wait for the minders to end.
pub(crate) fn is_minder_of(pool: &Arc<Shared>) -> bool {
    POOL.try_with(|own| own.get() == Arc::as_ptr(pool).addr()).unwrap_or(true)
}

/// Has this thread do a part of a minder's work: what it decodes must not wait for the minders.
pub(crate) fn as_minder_of<R>(pool: &Arc<Shared>, work: impl FnOnce() -> R) -> R {
    let before = POOL.replace(Arc::as_ptr(pool).addr());
    let result = work();
    POOL.set(before);
    result
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
    let Launched { process, socket, bell, own_bell, page, greeting } = launched;
    let (socket, page) = (Arc::new(socket), Arc::new(page));
    let initializes = pool.settings().initializer.is_some();
    let Greeting { nonce, fingerprint, .. } = greeting;
    let hello = Hello { nonce, fingerprint };
    let (own_page, own_socket) = (Arc::clone(&page), Arc::clone(&socket));
    let receiver = Receiver::new(index, own_bell, own_page, own_socket, hello, initializes);
    let incoming = Incoming::new(receiver, wake_descriptor()?)?;
    let pidfd = process.pidfd().try_clone_to_owned()?;
    let own = Arc::clone(&incoming);
    let mut link = Link::new(process.pid(), bell, socket, pidfd, own, page);
    pool.settings().initialize(&mut link, pool.arena())?;
    pool.connected(index, link);
    Ok(Minder { pool, index, process, incoming })
}

/// What is known of the answers of a worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// There may be some, and the worker does not ring for them.
    HasMore,
    /// There are none; it rings.
    Empty,
    /// There are none; it rings when several have come. At this time they are to be looked for.
    Patient(Instant),
    /// The worker has left it; what it says nevertheless is read when it has ended.
    Left,
    /// It broke the rules, and nobody listens any more.
    Closed,
}

struct Minder<'a> {
    pool: &'a Arc<Shared>,
    index: usize,
    process: Process,
    incoming: Arc<Incoming>,
}

impl Minder<'_> {
    /// Until the worker has ended.
    fn serve(mut self) -> Next {
        let mut timer = self.pool.on_time(self.index);
        let mut channel = Channel::HasMore; // or may have: it has never been read
        loop {
            let [ended, woken, rung] = self.poll(channel, timer);
            let looks = match channel {
                Channel::HasMore => true,
                Channel::Patient(until) => !rung && until <= Instant::now(),
                Channel::Empty | Channel::Left | Channel::Closed => false,
            };
            if woken {
                clear_wake(self.incoming.wake());
            }
            let listens = !matches!(channel, Channel::Left | Channel::Closed);
            if listens && (woken || rung || looks) || ended && channel != Channel::Closed {
                channel = self.receive(ended, rung);
            }
            if ended {
                let start_error = self.incoming.receiver.lock().start_error.take();
                // Its descriptors are closed when its caller has been told.
                return self.pool.ended(self.index, self.process.wait(), start_error);
            }
            if woken || rung || looks || timer.is_some_and(|timer| timer <= Instant::now()) {
                timer = self.pool.on_time(self.index);
            }
        }
    }

    /// Waits for the end of the process, a wake-up, the bell or the time; not at all if there is
    /// more to read.
    fn poll(&self, channel: Channel, timer: Option<Instant>) -> [bool; 3] {
        let (wake, watch) = (self.incoming.wake(), self.incoming.watch());
        let mut descriptors = [self.process.pidfd(), wake, watch]
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        let watched = if matches!(channel, Channel::Left | Channel::Closed) { 2 } else { 3 };
        let timeout = match channel {
            Channel::HasMore => Some(Timespec::default()),
            Channel::Patient(until) => {
                Some(timespec(timer.map_or(until, |timer| timer.min(until))))
            }
            Channel::Empty | Channel::Left | Channel::Closed => timer.map(timespec),
        };
        match poll(&mut descriptors[..watched], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => self.pool.unruly(self.index, "it could not be watched"),
        }
        descriptors.map(|descriptor| !descriptor.revents().is_empty())
    }

    /// Handles what there is, to the last if the worker has ended.
    fn receive(&self, ended: bool, rung: bool) -> Channel {
        let mut receiver = self.incoming.receiver.lock();
        let heard = if rung { receiver.hear() } else { Ok(()) };
        let mut received = heard.and_then(|()| receiver.catch_up(self.pool)).map(|()| Read::Some);
        let mut reads = 0;
        while matches!(received, Ok(Read::Some)) && (ended || reads < READS) {
            received = receiver.read(self.pool, Role::Minder);
            reads += 1;
        }
        let sleeps = match received {
            Ok(Read::Nothing) => receiver.sleeps_patiently(),
            _ => (false, None),
        };
        drop(receiver);
        match received {
            Ok(Read::Some | Read::Nothing) => match sleeps {
                (false, _) => Channel::HasMore,
                (true, None) => Channel::Empty,
                (true, Some(patience)) => Channel::Patient(Instant::now() + patience),
            },
            Ok(Read::End) => {
                self.left_channel();
                Channel::Left
            }
            Err(Malformed(how)) => {
                if !ended {
                    self.pool.unruly(self.index, how);
                }
                let left = self.incoming.receiver.lock().left();
                left.run();
                Channel::Closed
            }
        }
    }

    /// The worker has closed its end: normally because it ends.
    fn left_channel(&self) {
        let mut pidfd = [PollFd::from_borrowed_fd(self.process.pidfd(), PollFlags::IN)];
        let now = Instant::now();
        if look(now + LOOK, || matches!(poll(&mut pidfd, Some(&Timespec::default())), Ok(1..))) {
            return;
        }
        let deadline = now + GRACE;
        loop {
            match poll(&mut pidfd, Some(&timespec(deadline))) {
                Ok(0) => break self.pool.unruly(self.index, "it closed its channel and lived on"),
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}

fn timespec(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    // Rounded up, so that the time has come when poll says so.
    let left = left.saturating_add(Duration::from_nanos(1));
    let forever = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    Timespec::try_from(left).unwrap_or(forever)
}
