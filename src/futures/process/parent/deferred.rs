//! User code that the pool must run, in steps, with no lock held.

use std::collections::VecDeque;

use log::Level;

use super::delivery::ProcessCallRef;
use super::reply::Reply;
use crate::LOG_TARGET;
use crate::error::Error;
use crate::futures::remote::codec::depth::note_deep;
use crate::user_code::contain;

/// A piece of work that runs user code, so it may take any time, or wait for the pool itself.
pub(crate) enum Step {
    /// Decodes a reply, ends the call with it, and notifies those who wait for it.
    Finish(ProcessCallRef, Reply),
    /// Notifies those who wait for a call that has ended; whether its result may be deeply nested.
    Notify(ProcessCallRef, bool),
    Fail(ProcessCallRef, Error),
    /// Makes the message of a call ready to be sent, which may be slow, and sends it.
    MakeReady(ProcessCallRef),
    Cancel(ProcessCallRef),
    /// Loggers are user code as well.
    Log(Level, String),
}

pub(crate) type Steps = VecDeque<Step>;

impl Step {
    /// Runs it; true if it cancelled a call.
    pub(crate) fn run(self) -> bool {
        let mut cancelled = false;
        match self {
            Self::Finish(task, reply) => contain("ending a call", || {
                if let Some(task) = reply.finish(task) {
                    task.notify();
                }
            }),
            Self::Notify(task, deep) => contain("ending a call", || {
                note_deep(deep);
                task.notify();
            }),
            Self::Fail(task, error) => contain("ending a call", || {
                if let Some(task) = task.fail(error) {
                    task.notify();
                }
            }),
            Self::MakeReady(task) => task.make_ready(),
            Self::Cancel(task) => contain("cancelling a call", || {
                let ended = task.cancel();
                cancelled = ended.is_some();
                if let Some(task) = ended.flatten() {
                    task.notify();
                }
            }),
            Self::Log(level, text) => contain("logging the end of a worker", || {
                log::log!(target: LOG_TARGET, level, "{text}");
            }),
        }
        cancelled
    }
}

/// Work that is done after the lock of the pool was released.
#[derive(Default)]
#[must_use]
pub(crate) struct Deferred {
    /// Calls whose messages are not ready to be sent.
    pub(crate) unready: Vec<ProcessCallRef>,
    pub(crate) failed: Vec<(ProcessCallRef, Error)>,
    pub(crate) cancelled: Vec<ProcessCallRef>,
    logs: Vec<(Level, String)>,
}

impl Deferred {
    /// Does the work in the calling thread; returns the number of calls that it cancelled.
    pub(crate) fn run(self) -> usize {
        if self.is_empty() {
            return 0; // the usual case
        }
        self.into_steps().map(Step::run).filter(|cancelled| *cancelled).count()
    }

    fn is_empty(&self) -> bool {
        self.unready.is_empty()
            && self.failed.is_empty()
            && self.cancelled.is_empty()
            && self.logs.is_empty()
    }

    pub(crate) fn into_steps(self) -> impl Iterator<Item = Step> {
        let failed = self.failed.into_iter().map(|(task, error)| Step::Fail(task, error));
        let cancelled = self.cancelled.into_iter().map(Step::Cancel);
        let unready = self.unready.into_iter().map(Step::MakeReady);
        unready
            .chain(failed)
            .chain(cancelled)
            .chain(self.logs.into_iter().map(|(level, text)| Step::Log(level, text)))
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.unready.extend(other.unready);
        self.failed.extend(other.failed);
        self.cancelled.extend(other.cancelled);
        self.logs.extend(other.logs);
    }

    pub(crate) fn log(&mut self, level: Level, text: String) {
        self.logs.push((level, text));
    }
}
