//! The state of a program, and an executor whose calls run when the program says so.
//!
//! Everything that a program does is done by one thread, and the world is that thread's, so that
//! functions without captures find it. No borrow of it lasts while a call or a callback runs.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use concurrent::futures::{
    AsCompleted, Executor, Future, Map, Portable, Promise, ShutdownOptions, ShutdownReport,
};
use concurrent::{Error, Result};

use super::Step;
use crate::python::PATIENCE;

pub(super) type Label = u32;
/// The argument of a call: its label, which is also its result, and its body.
pub(super) type Argument = (Label, Vec<Step>);

/// A future and what it is called in the trace.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) future: Arc<Future<Label>>,
    pub(super) label: Label,
}

impl Borrow<Future<Label>> for Handle {
    fn borrow(&self) -> &Future<Label> {
        &self.future
    }
}

/// A thread that waits, and what it waits for.
pub(super) struct Watcher {
    returns: Receiver<String>,
    holds: Box<dyn Fn() -> bool>,
}

pub(super) struct Iteration {
    pub(super) iterator: AsCompleted<Label, Handle>,
    pub(super) over: BTreeMap<Label, Handle>,
    pub(super) taken: usize,
}

pub(super) struct Mapping {
    pub(super) results: Map<'static, Label>,
    /// The labels of the calls whose results have not come yet.
    pub(super) left: VecDeque<Label>,
    pub(super) late: bool,
    pub(super) serial: u64,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) trace: Vec<String>,
    pub(super) next_label: Label,
    pub(super) next_serial: u64,
    pub(super) queue: VecDeque<(Label, Box<dyn FnOnce()>)>,
    pub(super) closed: bool,
    /// The calls of the executor that ran to their end.
    pub(super) ended: BTreeSet<Label>,
    /// The calls of the executor that are no map's.
    pub(super) shared: BTreeMap<Label, Handle>,
    pub(super) futures: HashMap<u32, Handle>,
    pub(super) promises: HashMap<u32, Label>,
    pub(super) made: BTreeMap<Label, Arc<Promise<Label>>>,
    pub(super) watchers: Vec<Watcher>,
    pub(super) iterators: HashMap<u32, Iteration>,
    pub(super) maps: HashMap<u32, Mapping>,
}

impl World {
    pub(super) fn label(&mut self) -> Label {
        self.next_label += 1;
        self.next_label
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Touches the world; nothing of a program may run in `access`.
pub(super) fn world<R>(access: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(access)
}

pub(super) fn note(entry: impl Into<String>) {
    world(|w| w.trace.push(entry.into()));
}

pub(super) fn python(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}

#[derive(Debug, thiserror::Error)]
#[error("failure {0}")]
pub(super) struct Failure(pub(super) u32);

/// How a statement ends: `Fail` ends the call, the callback or the statement that it is part of.
pub(super) type Done = std::result::Result<(), Failure>;

thread_local! {
    /// The call that has just returned failed.
    pub(super) static FAILED: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

pub(super) struct Stepped;

impl Executor for Stepped {
    fn submit<A: Portable, R: Portable>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<Future<R>> {
        if world(|w| w.closed) {
            return Err(Error::Shutdown);
        }
        // The label is the first of what the argument is written as.
        let label = serde_json::to_value(&argument).expect("it is an `Argument`")[0].as_u64();
        let label = label.and_then(|label| Label::try_from(label).ok()).expect("it has a label");
        let (promise, future) = Promise::pair();
        let job = move || {
            if !promise.set_running_or_notify_cancel().expect("it is run once") {
                return note(format!("skip{label}"));
            }
            note(format!("run{label}"));
            let result = function(argument);
            let completed = match FAILED.take() {
                Some(failure) => promise.set_exception(Error::raised(failure)),
                None => promise.set_result(result),
            };
            completed.expect("only the executor completes it");
            world(|w| w.ended.insert(label));
            settle();
        };
        world(|w| w.queue.push_back((label, Box::new(job))));
        Ok(future)
    }

    fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
        world(|w| w.closed = true);
        if options.cancel_futures {
            let queued: Vec<_> = world(|w| {
                w.queue.iter().filter_map(|(label, _)| w.shared.get(label)).cloned().collect()
            });
            for handle in queued {
                note(format!("x{}", python(handle.future.cancel())));
                settle();
            }
        }
        ShutdownReport::default()
    }
}

/// Runs the next call; false if there is none.
pub(super) fn step() -> bool {
    let Some((_, job)) = world(|w| w.queue.pop_front()) else { return false };
    job();
    true
}

/// Takes leave of the threads that have what they wait for, before anything else is done.
pub(super) fn settle() {
    loop {
        let Some(watcher) = world(|w| {
            let index = w.watchers.iter().position(|watcher| (watcher.holds)())?;
            Some(w.watchers.remove(index))
        }) else {
            return;
        };
        let entry = watcher.returns.recv_timeout(PATIENCE);
        note(entry.unwrap_or_else(|_| "hangs".into()));
    }
}

pub(super) fn watch(
    ask: impl FnOnce() -> String + Send + 'static,
    holds: impl Fn() -> bool + 'static,
) {
    let (sender, returns) = channel();
    std::thread::spawn(move || sender.send(ask()));
    world(|w| w.watchers.push(Watcher { returns, holds: Box::new(holds) }));
}
