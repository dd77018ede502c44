//! [`EventLoop`]: the thread of a pool on root, which polls until the pool has ended.
//!
//! User code runs between two polls. If it waits for a call, polling goes on meanwhile, nested on the same
//! stack: otherwise no thread could end that call. There, callbacks of other calls come last, since they may
//! wait as well, nested one in the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::coordinator::{Coordinator, DeferredEnd};
use super::delivery::MpiCallRef;
use super::pool_state::{LoopEnd, PoolState};
use crate::futures::call::stack::on_enough_stack;
use crate::futures::call::wait_assist::{self, WaitAssist};
use crate::futures::mpi::transport::{Fault, Transport};
use crate::sync::backoff::{Backoff, BackoffPolicy};

/// How often an idle pool checks for deaths of ranks.
const IDLE: Duration = Duration::from_millis(50);

struct EventLoop<T> {
    shared: Arc<PoolState>,
    coordinator: RefCell<Coordinator<T>>,
    /// The transport has failed: there is no more polling.
    fault: RefCell<Option<Fault>>,
}

/// Runs until the pool was shut down and all calls are done.
pub(crate) fn run<T: Transport + 'static>(coordinator: Coordinator<T>) -> LoopEnd {
    let shared = Arc::clone(coordinator.shared());
    shared.adopt_thread();
    let own =
        EventLoop { shared, coordinator: RefCell::new(coordinator), fault: RefCell::new(None) };
    let own = Rc::new(own);
    wait_assist::install(Rc::clone(&own) as Rc<dyn WaitAssist>);
    if let Err(fault) = own.drive().and_then(|()| own.coordinator.borrow_mut().stop()) {
        own.break_off(fault);
        own.notify_all();
    }
    wait_assist::remove();
    own.fault.take().map_or(LoopEnd::Stopped, LoopEnd::Faulty)
}

impl<T: Transport> EventLoop<T> {
    /// Polls until the pool is over and all waiters are notified.
    fn drive(&self) -> Result<(), Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::BUSY_RANK);
        loop {
            let outcome = self.coordinator.borrow_mut().poll_once()?;
            let notified = self.notify_all();
            if let Some(fault) = &*self.fault.borrow() {
                return Err(fault.clone()); // it occurred while a callback waited
            }
            if notified || outcome.busy {
                backoff.reset();
                continue;
            }
            if outcome.over {
                return Ok(());
            }
            if let Some(pause) = backoff.next_pause() {
                self.shared.sleep(if outcome.idle { IDLE } else { pause }, outcome.seen);
            }
        }
    }

    /// Ends calls and notifies their waiters; returns whether there were any.
    fn notify_all(&self) -> bool {
        let mut notified = false;
        loop {
            let ended = self.coordinator.borrow_mut().next_ended();
            if let Some(task) = ended {
                task.notify();
            } else {
                let deferred = self.coordinator.borrow_mut().next_deferred();
                let Some(deferred) = deferred else { return notified };
                if let Some(task) = self.end(deferred) {
                    task.notify();
                }
            }
            notified = true;
        }
    }

    /// Ends a call; gives it back if it has waiters to notify.
    fn end(&self, deferred: DeferredEnd) -> Option<MpiCallRef> {
        match deferred {
            DeferredEnd::Answered(task, kind, range, bytes) => {
                if let Some(payload) = task.delivery().take_payload() {
                    payload.give_back(&self.shared.buffers);
                }
                let ended = task.finish(kind, &bytes[range], Vec::new());
                if let Some(bytes) = Rc::into_inner(bytes) {
                    self.shared.buffers.give_back(bytes);
                }
                ended
            }
            DeferredEnd::Failed(task, error) => task.fail(error),
            DeferredEnd::Broken(cause) => {
                // All calls end before the first callback, which may wait for any of them.
                let ended = self.shared.break_off(cause);
                self.coordinator.borrow_mut().notify_later(ended);
                None
            }
        }
    }

    /// Ends all calls after a failure of the transport.
    fn break_off(&self, fault: Fault) {
        self.fault.borrow_mut().get_or_insert_with(|| fault.clone());
        let ended = self.shared.break_off(fault.into_error());
        self.coordinator.borrow_mut().notify_later(ended);
    }
}

impl<T: Transport> WaitAssist for EventLoop<T> {
    fn assist(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        if self.coordinator.try_borrow_mut().is_err() {
            return; // a logger waits for a call
        }
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut backoff = Backoff::new(BackoffPolicy::BUSY_RANK);
        while !done() && !late() {
            let deferred = self.coordinator.borrow_mut().next_deferred();
            if let Some(deferred) = deferred {
                match self.end(deferred) {
                    Some(task) if task.wakes_threads_only() => task.notify(),
                    Some(task) => self.coordinator.borrow_mut().notify_later([task]),
                    None => {}
                }
                continue;
            }
            let faulty = self.fault.borrow().is_some();
            let mut pause = None;
            if !faulty {
                let turned = self.coordinator.borrow_mut().poll_once();
                match turned {
                    Ok(outcome) if outcome.busy => {
                        backoff.reset();
                        continue;
                    }
                    Ok(outcome) => match backoff.next_pause() {
                        Some(next) => pause = Some((next, outcome.seen)),
                        None => continue,
                    },
                    Err(fault) => {
                        self.break_off(fault);
                        continue;
                    }
                }
            }
            // There is no progress. A callback may be what is missing.
            let ended = self.coordinator.borrow_mut().next_ended();
            match (ended, pause) {
                (Some(task), _) => {
                    let mut to_notify = Some(task);
                    let mut notify = || {
                        if let Some(task) = to_notify.take() {
                            task.notify();
                        }
                    };
                    // If there is no further stack, the current one must do.
                    on_enough_stack(&mut notify).unwrap_or_else(&mut notify);
                }
                (None, Some((pause, seen))) => self.shared.sleep(pause, seen),
                (None, None) => return, // this pool cannot end the call
            }
        }
    }
}
