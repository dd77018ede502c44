//! Handles answers under the pool's lock: the worker has room for more calls.

use std::ops::Range;
use std::time::Instant;

use rustix::process::Signal;

use super::deferred::Deferred;
use super::delivery::ProcessCallRef;
use super::reply_reader::ReaderRole;
use super::worker_handle::WorkerRef;
use super::worker_state::Reason;
use crate::error::Error;
use crate::futures::process::channel::frame::Header;
use crate::futures::process::channel::sender::SegmentFate;
use crate::futures::remote::protocol::{FrameKind, Malformed};

const SKIPPED: &str = "it skipped a call that was not taken back";

impl WorkerRef {
    /// A worker is ready for calls.
    pub(crate) fn ready(&self) -> Deferred {
        let mut state = self.pool.state.lock();
        state.refusals = 0;
        state.handles[self.index].ready();
        self.pool.balance(&mut state)
    }

    /// A segment of a worker was read, or did not arrive.
    pub(crate) fn release_segment(&self, segment: u64, fate: SegmentFate) {
        if let Some(sender) = &mut self.pool.state.lock().handles[self.index].sender {
            sender.release_segment(segment, fate);
        }
    }

    /// A worker could not receive this segment.
    pub(crate) fn not_received(&self, segment: u64) {
        if let Some(sender) = &mut self.pool.state.lock().handles[self.index].sender {
            sender.not_received(segment);
        }
    }

    /// Finds the calls of answers that came, and gives the worker new ones. Also returns how many of the next
    /// answers the worker may collect before it wakes the reader.
    pub(crate) fn answered(
        &self,
        frames: &[(Header, Range<usize>)],
        tasks: &mut Vec<Option<ProcessCallRef>>,
        role: ReaderRole,
    ) -> (Deferred, u32, Result<(), Malformed>) {
        let now = Instant::now();
        let mut state = self.pool.state.lock();
        let mut checked = Ok(());
        let (mut skipped, mut failed) = (Vec::new(), Vec::new());
        let mut answered = 0;
        let handle = &mut state.handles[self.index];
        for (header, _) in frames {
            let Ok(task) = handle.worker.answer(header.seq) else {
                checked = Err(Malformed("it answered a call that it was not sent"));
                break;
            };
            if header.kind == FrameKind::Skipped {
                handle.worker.skipped();
                let task = task.filter(|task| !task.is_done());
                let revoked = handle
                    .sender
                    .as_ref()
                    .is_some_and(|sender| sender.page().is_revoked(header.seq));
                if task.is_some() && !revoked {
                    // At once, so that the worker does not get the same call again.
                    handle.kill(Reason::ProtocolViolation(SKIPPED), Signal::KILL);
                    checked = Err(Malformed(SKIPPED));
                }
                match handle.killed_on_request() {
                    // It was killed by its caller, and must not run elsewhere.
                    Some(killed) => failed.extend(task.map(|task| (task, killed))),
                    None => skipped.extend(task),
                }
                tasks.push(None);
                continue;
            }
            // The last call that was not taken back is the one that was killed: its caller was told that it
            // ends in this way.
            let is_last = |_: &Error| handle.worker.calls().next().is_none();
            if let Some(killed) = handle.killed_on_request().filter(is_last) {
                failed.extend(task.map(|task| (task, killed)));
                tasks.push(None);
            } else {
                // Another worker answers a call that was taken back.
                if let Some(task) = &task {
                    task.answered();
                    answered += 1;
                }
                tasks.push(task);
            }
        }
        handle.worker.answered(tasks.len(), now);
        handle.slow = false;
        handle.since = now;
        if let Some(sender) = &mut handle.sender {
            sender.armed = true; // the supervisor is about to check the time, or is woken to do so
        }
        if handle.worker.is_worn_out() && handle.worker.in_flight() == 0 {
            handle.retire();
        }
        if checked.is_ok() {
            state.deaths_without_progress = 0;
        }
        state.counts.answered += answered;
        state.requeue(skipped);
        let mut deferred = self.pool.balance(&mut state);
        deferred.failed.extend(failed);
        if role == ReaderRole::Waiter {
            let next = self.check_time(&mut state, &mut deferred);
            state.handles[self.index].wake_before(next);
        }
        (deferred, state.handles[self.index].worker.coalesce_limit(), checked)
    }
}
