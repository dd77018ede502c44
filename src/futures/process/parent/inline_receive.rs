//! A thread that is about to block until a call is done may read the answer itself.
//!
//! Otherwise an answer wakes the supervisor, and that wakes the thread: for a call that takes microseconds
//! the second wake-up costs more than the call. So a thread that waits for the only call of a worker, which
//! is likely to be brief, takes the supervisor's place for a moment. It spins before it sleeps, because an
//! answer to a running thread needs no wake-up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::deferred::Step;
use super::delivery::ProcessDelivery;
use super::incoming::Incoming;
use super::manager::PoolManager;
use super::reply_reader::{Read, ReplyReader};
use super::supervisor::as_supervisor_of;
use crate::futures::remote::codec::depth::is_deep;
use crate::sync::MutexGuard;
use crate::sync::backoff::{SPIN, spin_until, spin_until_deadline};
use crate::user_code::contain;

/// How long a thread takes the place of the supervisor, which reacts to nothing meanwhile.
const TURN: Duration = Duration::from_micros(200);

/// Spends a moment to receive the answer to the call. The only user code that runs in this thread is the
/// decoding of that result.
pub(crate) fn assist(
    pool: &Arc<PoolManager>,
    call: &ProcessDelivery,
    done: &dyn Fn() -> bool,
    deadline: Option<Instant>,
) {
    let Some(incoming) = answers_only(pool, call) else { return };
    // The supervisor may hold it for this very answer, or be about to release it after another.
    let mut reader = None;
    spin_until(|| {
        reader = incoming.reader.try_lock();
        reader.is_some()
    });
    // Without a supervisor nobody would run what this thread leaves, and its place may have a new worker.
    let is_open = |reader: &MutexGuard<'_, ReplyReader>| !reader.closed && !done();
    let Some(mut reader) = reader.filter(is_open) else { return };
    let left = reader.await_answer(&incoming, deadline);
    let awaited = reader.awaited.take();
    incoming.pass_on(&reader);
    drop(reader);
    if let Some((task, reply)) = awaited {
        if !task.is(call) {
            return incoming.leave(Step::Finish(task, reply)); // that of another call came first
        }
        let mut to_notify = None;
        as_supervisor_of(pool, || {
            contain("ending a call", || to_notify = reply.finish(task));
        });
        if let Some(task) = to_notify {
            incoming.leave(Step::Notify(task, is_deep()));
        }
    }
    if left {
        // The supervisor is about to see the end of the worker, and to end the call.
        spin_until_deadline(soon(TURN, deadline), done);
    }
}

/// The replies of the worker of this call, if it has no other call and this one is likely to be brief.
fn answers_only(pool: &PoolManager, call: &ProcessDelivery) -> Option<Arc<Incoming>> {
    if pool.is_of_parent() {
        return None;
    }
    let state = pool.state.lock();
    let mut handles = state.handles.iter();
    let handle = handles.find(|handle| handle.worker.brief().is_some_and(|task| task.is(call)))?;
    handle.incoming.upgrade()
}

impl ReplyReader {
    /// Waits until the answer has come or the time has run out; returns whether the worker left its channel
    /// instead.
    fn await_answer(&mut self, incoming: &Incoming, deadline: Option<Instant>) -> bool {
        let end = soon(TURN, deadline);
        self.page.answers().reader_is_awake();
        let mut read = Read::Nothing;
        spin_until_deadline(soon(SPIN, deadline), || {
            read = self.read_one();
            !matches!(read, Read::Nothing)
        });
        if matches!(read, Read::Nothing) {
            incoming.set_supervisor_listens(self, false);
            read = self.sleep_over_answer(end);
            incoming.set_supervisor_listens(self, true);
        }
        matches!(read, Read::End)
    }

    fn sleep_over_answer(&mut self, end: Instant) -> Read {
        loop {
            if self.arm_bell() {
                let left = end.saturating_duration_since(Instant::now());
                let mut bell = [PollFd::new(&self.bell, PollFlags::IN)];
                let timeout = Timespec::try_from(left).ok();
                if left.is_zero() || poll(&mut bell, timeout.as_ref()) == Ok(0) {
                    return Read::Nothing;
                }
                if let Err(fault) = self.empty_bell() {
                    return self.leave(fault);
                }
            }
            let read = self.read_one();
            if !matches!(read, Read::Nothing) {
                return read;
            }
        }
    }
}

fn soon(after: Duration, deadline: Option<Instant>) -> Instant {
    let end = Instant::now() + after;
    deadline.map_or(end, |deadline| deadline.min(end))
}

#[cfg(test)]
mod tests;
