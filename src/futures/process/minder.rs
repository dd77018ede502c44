//! The thread that minds one worker: starts it, reads its answers, sees its end.
//!
//! It blocks in `poll` only, on the answers, the end of the process, and its wake descriptor. It
//! lives longer than the worker: the kernel ends a worker with the thread that started it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::crew::Shared;
use super::ends::Next;
use super::link::Link;
use super::look::{LOOK, look};
use super::receiver::{Incoming, Read, Receiver, Role};
use super::spawn::{Greeting, Hello, Launched, Process, clear_wake, launch, wake_descriptor};
use super::wire::Malformed;

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

/// Has this thread do a part of a minder's work: what it decodes must not wait for the minders.
pub(super) fn as_minder_of<R>(pool: &Arc<Shared>, work: impl FnOnce() -> R) -> R {
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
    let Launched { process, socket, requests, replies, page, greeting } = launched;
    let socket = Arc::new(socket);
    let initializes = pool.settings().initializer.is_some();
    let Greeting { nonce, fingerprint, .. } = greeting;
    let hello = Hello { nonce, fingerprint, pid: process.pid() };
    let receiver = Receiver::new(index, replies, Arc::clone(&socket), hello, initializes);
    let incoming = Incoming::new(receiver, wake_descriptor()?)?;
    let pidfd = process.pidfd().try_clone_to_owned()?;
    let (page, own) = (Arc::new(page), Arc::clone(&incoming));
    let mut link = Link::new(process.pid(), requests, socket, pidfd, own, page)?;
    pool.settings().initialize(&mut link, pool.arena())?;
    pool.connected(index, link);
    Ok(Minder { pool, index, process, incoming })
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
        let mut open = true;
        loop {
            let [ended, woken, readable] = self.poll(open, timer);
            if woken {
                clear_wake(self.incoming.wake());
            }
            if open && (ended || woken || readable) {
                open = self.receive(ended);
            }
            if ended {
                let start_error = self.incoming.receiver.lock().start_error.take();
                // Its descriptors are closed when its caller has been told.
                return self.pool.ended(self.index, self.process.wait(), start_error);
            }
            if woken || readable || timer.is_some_and(|timer| timer <= Instant::now()) {
                timer = self.pool.on_time(self.index);
            }
        }
    }

    /// Waits for the end of the process, a wake-up, replies or the time.
    fn poll(&self, open: bool, timer: Option<Instant>) -> [bool; 3] {
        let (wake, watch) = (self.incoming.wake(), self.incoming.watch());
        let mut descriptors = [self.process.pidfd(), wake, watch]
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        let watched = if open { &mut descriptors[..] } else { &mut descriptors[..2] };
        match poll(watched, timer.map(until).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => self.pool.unruly(self.index, "it could not be watched"),
        }
        descriptors.map(|descriptor| !descriptor.revents().is_empty())
    }

    /// Handles what there is, to the last if the worker has ended; false at the end of the channel.
    fn receive(&self, ended: bool) -> bool {
        let mut receiver = self.incoming.receiver.lock();
        let mut received = receiver.catch_up(self.pool).map(|()| Read::Some);
        while matches!(received, Ok(Read::Some)) {
            received = receiver.read(self.pool, Role::Minder);
            if !ended {
                break;
            }
        }
        drop(receiver);
        match received {
            Ok(Read::Some | Read::Nothing) => true,
            Ok(Read::End) => {
                self.left_channel();
                false
            }
            Err(Malformed(how)) => {
                if !ended {
                    self.pool.unruly(self.index, how);
                }
                let left = self.incoming.receiver.lock().left();
                left.run();
                false
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
            match poll(&mut pidfd, Some(&until(deadline))) {
                Ok(0) => break self.pool.unruly(self.index, "it closed its channel and lived on"),
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}

fn until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    // Rounded up, so that the time has come when poll says so.
    let left = left.saturating_add(Duration::from_nanos(1));
    let forever = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    Timespec::try_from(left).unwrap_or(forever)
}
