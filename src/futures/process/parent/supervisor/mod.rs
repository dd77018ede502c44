//! [`Supervisor`]: starts one worker, reads its replies, and handles its end.
//!
//! The supervising thread blocks in `poll` only: on the bell, the end of the process, and its wake
//! descriptor. Before it runs user code it puts the supervisor down (`threads.rs`), so that another thread
//! can go on if that takes long. The thread that started a worker outlives it: the kernel ends a worker
//! with that thread.

pub(crate) mod threads;
mod watchdog;

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::threads::SupervisorThreads;
use super::deferred::Steps;
use super::incoming::Incoming;
use super::manager::{DRAIN, PoolManager};
use super::reply_reader::{Read, ReaderRole, ReplyReader};
use super::spawn::{Launched, Process, launch};
use super::timers::earlier;
use super::worker_exit::{AfterExit, NOT_WOKEN, OUT_OF_STEP};
use super::worker_handle::WorkerRef;
use crate::futures::process::channel::inquiry::{Asker, Standing, Suspicion};
use crate::futures::process::channel::sender::Sender;
use crate::futures::process::channel::wake::clear_wake;
use crate::futures::process::handshake::{Hello, StartFailure, Welcome};
use crate::futures::remote::protocol::Malformed;
use crate::sync::backoff::{SPIN, spin_until_deadline};

/// How long a worker that has closed its channel may take to end.
const GRACE: Duration = Duration::from_millis(200);

/// How long to wait before the next attempt to start a process that the system has refused.
const RETRY: Duration = Duration::from_millis(5);

/// How long to wait if `poll` fails.
const UNWATCHED: Duration = Duration::from_millis(1);

/// How many reads in a row are made before the time is checked.
const READS: usize = 8;

/// The most reads after the end of a worker: more than its channel holds data for. A process that the
/// worker has forked might write for ever.
const LAST_READS: usize = 64;

thread_local! {
    /// The pool whose user code this thread runs, by address; 0 for other threads.
    static POOL: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread runs user code for `pool`, so that it cannot wait for the pool's end.
pub(crate) fn is_supervisor_of(pool: &Arc<PoolManager>) -> bool {
    POOL.try_with(|own| own.get() == Arc::as_ptr(pool).addr()).unwrap_or(true)
}

/// Runs `work`, a part of a supervisor's work, as its thread: a result that is decoded in it must not wait
/// for the pool's end.
pub(crate) fn as_supervisor_of<R>(pool: &Arc<PoolManager>, work: impl FnOnce() -> R) -> R {
    let before = POOL.replace(Arc::as_ptr(pool).addr());
    let result = work();
    POOL.set(before);
    result
}

/// The supervision of the workers in one place, one after the other.
pub(crate) struct Supervisor {
    worker: WorkerRef,
    stage: SupervisorStage,
    /// The watchdog knows of its threads.
    watched: bool,
}

enum SupervisorStage {
    Start,
    Serve(Box<Service>),
    /// The worker has ended, or could not be started. Its descriptors are closed after its callers were
    /// notified.
    Ended(AfterExit, #[expect(dead_code, reason = "for its drop")] Option<Sender>),
}

/// The body of a supervising thread: begins with `supervisor`, or stands by as a substitute.
fn supervise(threads: &Arc<SupervisorThreads>, supervisor: Option<Box<Supervisor>>) {
    let mut steps = Steps::new();
    let mut held = supervisor.or_else(|| threads.stand_by());
    while let Some(mut supervisor) = held {
        supervisor.marks_thread();
        if !supervisor.turn(threads, &mut steps) {
            threads.close();
            watchdog::supervision_ends();
            break;
        }
        held = if steps.is_empty() {
            Some(supervisor)
        } else {
            supervisor.watched = supervisor.watched || watchdog::watch(threads);
            threads.run(supervisor, &mut steps).or_else(|| threads.stand_by())
        };
    }
    threads.thread_ends();
}

impl Supervisor {
    /// For this worker, and those that follow in its place.
    pub(crate) fn new(worker: WorkerRef) -> Self {
        Self { worker, stage: SupervisorStage::Start, watched: false }
    }

    /// From now on this thread runs user code for the pool.
    fn marks_thread(&self) {
        POOL.set(Arc::as_ptr(&self.worker.pool).addr());
    }

    /// Goes on until there is user code to run, or something has happened; false at the end.
    fn turn(&mut self, threads: &SupervisorThreads, steps: &mut Steps) -> bool {
        let worker = &self.worker;
        match &mut self.stage {
            SupervisorStage::Start => {
                threads.note_starter();
                self.stage = match start(worker) {
                    Ok(service) => SupervisorStage::Serve(Box::new(service)),
                    Err(error) => {
                        let (deferred, next, sender) = worker.start_failed(error);
                        steps.extend(deferred.into_steps());
                        SupervisorStage::Ended(next, sender)
                    }
                };
            }
            SupervisorStage::Serve(service) => {
                if let Some((next, sender)) = service.turn(worker, steps) {
                    self.stage = SupervisorStage::Ended(next, sender);
                }
            }
            SupervisorStage::Ended(AfterExit::Stop, _) => return false,
            SupervisorStage::Ended(AfterExit::Start, _) => self.stage = SupervisorStage::Start,
            SupervisorStage::Ended(AfterExit::StartLater, _) => {
                std::thread::park_timeout(RETRY);
                self.stage = SupervisorStage::Start;
            }
        }
        true
    }
}

fn start(worker: &WorkerRef) -> std::io::Result<Service> {
    let pool = &worker.pool;
    let launched = launch(pool.settings(), pool.welcome())?;
    let Launched { process, socket, questions, bell, own_bell, page, welcome } = launched;
    let (socket, page) = (Arc::new(socket), Arc::new(page));
    let initializes = pool.settings().initializer.is_some();
    let Welcome { nonce, fingerprint, .. } = welcome;
    let hello = Hello { nonce, fingerprint };
    let (own_page, own_socket) = (Arc::clone(&page), Arc::clone(&socket));
    let own = WorkerRef::clone(worker);
    let reader = ReplyReader::new(own, own_bell, own_page, own_socket, hello, initializes);
    let incoming = Incoming::new(reader)?;
    let pidfd = process.pidfd().try_clone_to_owned()?;
    let wake = Arc::clone(incoming.wake());
    let mut sender = Sender::new(process.pid(), bell, socket, pidfd, wake, page);
    pool.settings().initialize(&mut sender, pool.arena())?;
    worker.connected(sender, &incoming);
    let (channel, reads, timer) = (ReadMode::HasMore, 0, Some(Instant::now()));
    let asker = Asker::new(questions);
    Ok(Service { process, incoming, channel, reads, timer, asker, rings: true })
}

/// Whether a worker may have written replies, and whether it rings for them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadMode {
    /// There may be some, and the bell is not armed.
    HasMore,
    /// There are none, and the bell is armed.
    Empty,
    /// There are none, and the worker rings when there are several. At this time the supervisor looks for them.
    Coalescing(Instant),
    /// The worker has closed its bell; what it writes nevertheless is read when it has ended.
    Left,
    /// The worker broke the protocol; nothing is read any more.
    Closed,
}

/// The supervision of one process.
struct Service {
    process: Process,
    incoming: Arc<Incoming>,
    channel: ReadMode,
    /// Number of reads in a row.
    reads: usize,
    /// When to check the time.
    timer: Option<Instant>,
    asker: Asker,
    /// The last attempt to wake a worker that may have missed a wake-up succeeded.
    rings: bool,
}

impl Service {
    /// Checks everything once, waiting until there is something to do. At the end of the worker, returns what
    /// follows.
    fn turn(
        &mut self,
        worker: &WorkerRef,
        steps: &mut Steps,
    ) -> Option<(AfterExit, Option<Sender>)> {
        if self.channel == ReadMode::HasMore && self.reads % READS != 0 {
            self.receive(worker, false, false, steps);
            return None;
        }
        let [ended, woken, rung] = self.poll();
        let due = self.timer.is_some_and(|timer| timer <= Instant::now());
        let looks = match self.channel {
            ReadMode::HasMore => true,
            ReadMode::Coalescing(until) => !rung && until <= Instant::now(),
            ReadMode::Empty => due, // in case a wake-up was lost
            ReadMode::Left | ReadMode::Closed => false,
        };
        if woken {
            clear_wake(self.incoming.wake().as_fd());
        }
        let listens = !matches!(self.channel, ReadMode::Left | ReadMode::Closed);
        if listens && (woken || rung || looks) || ended && self.channel != ReadMode::Closed {
            self.receive(worker, ended, rung, steps);
        }
        if ended {
            let (start_error, start_failure) = self.incoming.close(steps);
            let ended = self.process.wait();
            let (deferred, next, sender) = match start_failure {
                Some(StartFailure { refused: true, why }) => {
                    let why = format!("{why}, in worker process {}", self.process.pid());
                    worker.start_failed(std::io::Error::other(why))
                }
                start_failure => worker.ended(
                    ended,
                    start_error,
                    start_failure.map(|start_failure| start_failure.why),
                ),
            };
            steps.extend(deferred.into_steps());
            return Some((next, sender));
        }
        if woken || rung || looks || due {
            let (deferred, next, owes_since) = worker.on_time();
            steps.extend(deferred.into_steps());
            let mut asks = self.asker.due(owes_since.filter(|_| listens));
            if asks.is_some_and(|due| due <= Instant::now()) {
                asks = self.ask(worker, steps);
            }
            self.timer = earlier(next, asks);
        }
        None
    }

    /// Asks a worker that has owed an answer for long whether it still works on it; returns when to do that
    /// next.
    fn ask(&mut self, worker: &WorkerRef, steps: &mut Steps) -> Option<Instant> {
        self.receive(worker, false, false, steps);
        let owed = worker.owed()?;
        let (read, cut) = self.incoming.reader.lock().standing();
        let now = Instant::now();
        match self.asker.assess(Standing { owed, read, cut }, now) {
            Suspicion::Wait => {}
            Suspicion::Ring => self.rings = worker.ring(),
            Suspicion::End if self.rings => worker.violated_protocol(OUT_OF_STEP),
            Suspicion::End => worker.violated_protocol(NOT_WOKEN),
        }
        self.asker.next()
    }

    /// Waits for the end of the process, a wake-up, the bell or the timer; does not wait if there is more to
    /// read.
    fn poll(&self) -> [bool; 3] {
        let (channel, timer) = (self.channel, self.timer);
        let (wake, watch) = (self.incoming.wake().as_fd(), self.incoming.watch());
        let mut descriptors = [self.process.pidfd(), wake, watch]
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        let watched = if matches!(channel, ReadMode::Left | ReadMode::Closed) { 2 } else { 3 };
        let timeout = match channel {
            ReadMode::HasMore => Some(Timespec::default()),
            ReadMode::Coalescing(until) => {
                Some(timespec(timer.map_or(until, |timer| timer.min(until))))
            }
            ReadMode::Empty | ReadMode::Left | ReadMode::Closed => timer.map(timespec),
        };
        match poll(&mut descriptors[..watched], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {
                descriptors.map(|descriptor| !descriptor.revents().is_empty())
            }
            Err(_) => {
                // For example, the system has no memory for it. Everything is checked then.
                std::thread::park_timeout(UNWATCHED);
                [self.process.has_ended(), true, watched == 3]
            }
        }
    }

    /// Handles replies: of one read, or all if the worker has ended.
    fn receive(&mut self, worker: &WorkerRef, ended: bool, rung: bool, steps: &mut Steps) {
        let mut reader = self.incoming.reader.lock();
        let heard = if rung { reader.empty_bell() } else { Ok(()) };
        let mut received = heard.and_then(|()| reader.catch_up());
        let mut reads_left = if ended { LAST_READS } else { 1 };
        while reads_left > 0 && matches!(received, Ok(Read::Some)) {
            received = reader.read(ReaderRole::Supervisor);
            reads_left -= 1;
        }
        self.reads += 1;
        let sleeps = match received {
            Ok(Read::Nothing) => reader.arm_bell_for_several(),
            _ => (false, None),
        };
        steps.append(&mut reader.steps);
        drop(reader);
        self.channel = match received {
            Ok(Read::Some | Read::Nothing) => {
                let channel = match sleeps {
                    (false, _) => return self.channel = ReadMode::HasMore,
                    (true, None) => ReadMode::Empty,
                    (true, Some(coalesce_limit)) => {
                        ReadMode::Coalescing(Instant::now() + coalesce_limit)
                    }
                };
                self.reads = 0;
                channel
            }
            Ok(Read::End) => {
                self.await_end(worker);
                ReadMode::Left
            }
            Err(Malformed(how)) => {
                // Before a caller is notified, which may submit the next call.
                if !ended {
                    worker.violated_protocol(how);
                }
                ReadMode::Closed
            }
        };
    }

    /// The worker has closed its end, usually because it ends.
    fn await_end(&self, worker: &WorkerRef) {
        let mut pidfd = [PollFd::from_borrowed_fd(self.process.pidfd(), PollFlags::IN)];
        let now = Instant::now();
        if spin_until_deadline(now + SPIN, || {
            matches!(poll(&mut pidfd, Some(&Timespec::default())), Ok(1..))
        }) {
            return;
        }
        // A worker that could not get ready ends, and may take longer.
        let has_hello = self.incoming.reader.lock().has_hello();
        let deadline = now + if has_hello { GRACE } else { DRAIN };
        loop {
            match poll(&mut pidfd, Some(&timespec(deadline))) {
                Ok(1..) => return,
                Err(_) if self.process.has_ended() => return,
                Err(_) if Instant::now() < deadline => std::thread::park_timeout(UNWATCHED),
                Ok(0) | Err(_) => break,
            }
        }
        let how = "it closed its channel and lived on: was its program replaced by `exec`?";
        worker.violated_protocol(how);
    }
}

fn timespec(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    // Rounded up, so that the deadline has passed when `poll` returns.
    let left = left.saturating_add(Duration::from_nanos(1));
    let forever = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    Timespec::try_from(left).unwrap_or(forever)
}
