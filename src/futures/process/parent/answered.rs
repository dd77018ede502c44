//! What an answer changes in the pool: the worker has room for more.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::Signal;

use super::crew::Shared;
use super::deferred::Deferred;
use super::receiver::Role;
use super::slot::{Phase, Reason};
use super::task::Task;
use crate::error::Error;
use crate::futures::process::channel::link::Owed;
use crate::futures::remote::wire::{Header, Kind, Malformed};

const SKIPPED: &str = "it skipped a call that was not taken back";

impl Shared {
    pub(crate) fn ready(self: &Arc<Self>, index: usize) -> Deferred {
        let mut state = self.state.lock();
        state.refusals = 0;
        state.seats[index].ready();
        self.balance(&mut state)
    }

    /// A segment of a worker has been read, or did not come.
    pub(crate) fn owe(&self, index: usize, segment: u64, how: Owed) {
        if let Some(link) = &mut self.state.lock().seats[index].link {
            link.owe(segment, how);
        }
    }

    /// A worker could not receive this segment.
    pub(crate) fn not_received(&self, index: usize, segment: u64) {
        if let Some(link) = &mut self.state.lock().seats[index].link {
            link.not_received(segment);
        }
    }

    /// Answers came: finds their calls, and gives the worker new ones. Tells besides how many of the
    /// next answers may come together.
    pub(crate) fn answered(
        self: &Arc<Self>,
        index: usize,
        frames: &[(Header, Range<usize>)],
        tasks: &mut Vec<Option<Task>>,
        role: Role,
    ) -> (Deferred, u32, Result<(), Malformed>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut checked = Ok(());
        let (mut skipped, mut failed) = (Vec::new(), Vec::new());
        let mut answered = 0;
        let seat = &mut state.seats[index];
        for (header, _) in frames {
            let Ok(task) = seat.slot.answer(header.seq) else {
                checked = Err(Malformed("it answered what it was not asked"));
                break;
            };
            if header.kind == Kind::Skipped {
                seat.slot.skipped();
                let task = task.filter(|task| !task.is_over());
                let revoked =
                    seat.link.as_ref().is_some_and(|link| link.page().is_revoked(header.seq));
                if task.is_some() && !revoked {
                    // Now, so that it does not get the same call again.
                    seat.kill(Reason::Unruly(SKIPPED), Signal::KILL);
                    checked = Err(Malformed(SKIPPED));
                }
                if seat.slot.phase() == Phase::Killing(Reason::Asked) {
                    // Somebody wants it to end; it must not run elsewhere.
                    let pid = seat.link.as_ref().map_or(0, |link| link.pid);
                    failed.extend(task.map(|task| (task, Error::Killed { pid })));
                } else {
                    skipped.extend(task);
                }
                tasks.push(None);
            } else {
                // One that was taken back is somebody else's to answer.
                if let Some(task) = &task {
                    task.answered();
                    answered += 1;
                }
                tasks.push(task);
            }
        }
        seat.slot.answered(tasks.len(), now);
        seat.slow = false;
        seat.since = now;
        if let Some(link) = &mut seat.link {
            link.armed = true; // the supervisor is about to look, or is told to
        }
        if seat.slot.is_worn_out() && seat.slot.in_flight() == 0 {
            seat.retire();
        }
        if checked.is_ok() {
            state.fruitless = 0;
        }
        state.counts.answered += answered;
        state.requeue(skipped);
        let mut deferred = self.balance(&mut state);
        deferred.failed.extend(failed);
        if role == Role::Waiter {
            let next = self.check_time(&mut state, index, &mut deferred);
            state.seats[index].look_again(next);
        }
        (deferred, state.seats[index].slot.patience(), checked)
    }
}
