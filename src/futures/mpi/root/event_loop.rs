//! The thread of a pool on root: turn by turn, until the pool has ended.
//!
//! User code runs between two turns. If it waits for a call, the turns go on meanwhile, below it on
//! the same stack: otherwise nobody could end that call. There callbacks of other calls come last,
//! since they may wait in turn, one below the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::coordinator::{Coordinator, Later};
use super::pool_state::{LoopEnd, PoolState};
use super::request::MpiCallRef;
use crate::futures::call::in_place::on_enough_stack;
use crate::futures::call::wait_assist::{self, WaitAssist};
use crate::futures::mpi::transport::{Fault, Transport};
use crate::sync::backoff::{Backoff, BackoffPolicy};

/// How often to look at a pool that has nothing to do, for the deaths of ranks.
const IDLE: Duration = Duration::from_millis(50);

struct EventLoop<T> {
    shared: Arc<PoolState>,
    coordinator: RefCell<Coordinator<T>>,
    /// The engine cannot go on: there are no more turns.
    fault: RefCell<Option<Fault>>,
}

/// Until the pool was shut down and all calls are done.
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
    /// Turns until the pool is over and all was told.
    fn drive(&self) -> Result<(), Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::BUSY_RANK);
        loop {
            let outcome = self.coordinator.borrow_mut().poll_once()?;
            let told = self.notify_all();
            if let Some(fault) = &*self.fault.borrow() {
                return Err(fault.clone()); // seen while a callback waited
            }
            if told || outcome.busy {
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

    /// Runs user code; whether there was any.
    fn notify_all(&self) -> bool {
        let mut told = false;
        loop {
            let ended = self.coordinator.borrow_mut().next_ended();
            if let Some(task) = ended {
                task.notify();
            } else {
                let later = self.coordinator.borrow_mut().next_later();
                let Some(later) = later else { return told };
                if let Some(task) = self.end(later) {
                    task.notify();
                }
            }
            told = true;
        }
    }

    /// Ends what was put off; gives the call back if somebody is to be told.
    fn end(&self, later: Later) -> Option<MpiCallRef> {
        match later {
            Later::Answered(task, kind, range, bytes) => {
                if let Some(payload) = task.delivery().take_payload() {
                    payload.give_back(&self.shared.buffers);
                }
                let ended = task.finish(kind, &bytes[range], Vec::new());
                if let Some(bytes) = Rc::into_inner(bytes) {
                    self.shared.buffers.give_back(bytes);
                }
                ended
            }
            Later::Failed(task, error) => task.fail(error),
            Later::Broken(cause) => {
                // All have ended before the first is told: a callback may wait for any of them.
                let ended = self.shared.break_off(cause);
                self.coordinator.borrow_mut().notify_later(ended);
                None
            }
        }
    }

    /// The engine cannot go on.
    fn break_off(&self, fault: Fault) {
        self.fault.borrow_mut().get_or_insert_with(|| fault.clone());
        let ended = self.shared.break_off(fault.into_error());
        self.coordinator.borrow_mut().notify_later(ended);
    }
}

impl<T: Transport> WaitAssist for EventLoop<T> {
    fn attend(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        if self.coordinator.try_borrow_mut().is_err() {
            return; // a logger that waits
        }
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut backoff = Backoff::new(BackoffPolicy::BUSY_RANK);
        while !done() && !late() {
            let later = self.coordinator.borrow_mut().next_later();
            if let Some(later) = later {
                match self.end(later) {
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
            // Nothing moves. Perhaps it takes one of these.
            let ended = self.coordinator.borrow_mut().next_ended();
            match (ended, pause) {
                (Some(task), _) => {
                    let mut to_notify = Some(task);
                    let mut notify = || {
                        if let Some(task) = to_notify.take() {
                            task.notify();
                        }
                    };
                    // Without further stack it must do with what there is.
                    on_enough_stack(&mut notify).unwrap_or_else(&mut notify);
                }
                (None, Some((pause, seen))) => self.shared.sleep(pause, seen),
                (None, None) => return, // it is not for this pool to bring it about
            }
        }
    }
}
