//! The end of a queue: it refuses calls, and gives up those that wait.

use super::bounded::BlockedSubmitter;
use super::state::{Left, QueueState, WorkerCounts};
use super::task_ref::TaskRef;
use super::{Queue, TaskList};
use crate::error::Error;
use crate::futures::call::state::Phase;
use crate::futures::deadlock::{Recheck, recheck_blocked};

/// Calls that were taken out of the queue.
#[derive(Default)]
pub(crate) struct GivenUp {
    /// They were pending, and are counted as the queue's owner ends them.
    pub(crate) pending: Vec<TaskRef>,
    /// They were cancelled before. Only to be dropped.
    pub(crate) cancelled: Vec<TaskRef>,
    /// They run in place, or have done so. They are not counted here, and only to be dropped.
    pub(crate) in_place: Vec<TaskRef>,
}

impl Queue {
    /// Refuses calls from now on and wakes everybody who sleeps; false if it was closed before.
    pub(crate) fn close(&self) -> bool {
        let mut control = self.control.lock();
        let was_open = !std::mem::replace(&mut control.closed, true);
        control.publish_capacity();
        control.notified = control.sleeping;
        control.blocked.iter().for_each(BlockedSubmitter::wake);
        drop(control);
        self.wake.notify_all();
        recheck_blocked(Recheck::All); // a pool that was shut down starts no more workers
        was_open
    }

    /// Refuses calls from now on because of `error`, and gives up those that wait, to be failed.
    pub(crate) fn break_off(&self, error: Error) -> GivenUp {
        let mut outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        if control.broken.is_none() {
            control.broken = Some(error);
        }
        control.publish_capacity();
        control.notified = control.sleeping;
        control.blocked.iter().for_each(BlockedSubmitter::wake);
        let given_up = take_all(&mut outgoing, &mut control);
        control.counts.failed += given_up.pending.len();
        drop((control, outgoing));
        self.wake.notify_all();
        given_up
    }

    /// Gives up the calls that wait, to be cancelled. What ran in place stays for a worker to drop.
    pub(crate) fn drain(&self) -> GivenUp {
        let mut outgoing = self.outgoing.lock();
        let mut control = self.control.lock();
        let mut given_up = take_all(&mut outgoing, &mut control);
        control.counts.cancelled += given_up.pending.len();
        for job in given_up.in_place.drain(..) {
            control.incoming.push(job, 0);
        }
        given_up
    }

    /// Of the calls that a queue gave up as pending, and counted in advance, one was found to be
    /// `found` instead.
    pub(crate) fn was_not_pending(
        &self,
        found: Phase,
        counted: fn(&mut WorkerCounts) -> &mut usize,
    ) {
        let mut control = self.control.lock();
        *counted(&mut control.counts) -= 1;
        control.counts.cancelled += usize::from(found == Phase::Cancelled);
    }

    pub(crate) fn left(&self) -> Left {
        let outgoing = self.outgoing.lock();
        let control = self.control.lock();
        let mut waiting = 0;
        // A cancelled call stays in the queue until a worker gets to it.
        let mut count = |job: &TaskRef| waiting += usize::from(job.is_pending());
        outgoing.0.iter().for_each(&mut count);
        control.incoming.for_each(&mut count);
        let running = control.workers.iter().filter(|worker| worker.flag.is_raised()).count();
        Left { waiting, running, blocked: control.blocked.len() }
    }
}

/// Takes everything out, and counts what was cancelled.
fn take_all(outgoing: &mut TaskList, control: &mut QueueState) -> GivenUp {
    let mut given_up = GivenUp::default();
    let older = std::mem::take(&mut outgoing.0);
    for job in older.into_iter().chain(control.incoming.take_all()) {
        match job.phase() {
            Phase::Pending => given_up.pending.push(job),
            Phase::Cancelled => given_up.cancelled.push(job),
            Phase::Running | Phase::Finished => given_up.in_place.push(job),
        }
    }
    control.counts.cancelled += given_up.cancelled.len();
    given_up
}
