//! The pool's interface to its executor and to its calls: submit, cancel, kill, shut down.

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use rustix::process::Signal;

use super::deferred::Deferred;
use super::delivery::{DeliveryOwner, ProcessCallRef, ProcessDelivery};
use super::inline_receive::assist;
use super::manager::PoolManager;
use super::supervisor::is_supervisor_of;
use super::worker_state::{Reason, WorkerPhase};
use crate::error::{Cause, Error, Result};
use crate::futures::Future;
use crate::futures::process::channel::message::Message;
use crate::futures::remote::codec::{EncodeError, Sink};
use crate::futures::remote::protocol::FunctionToken;
use crate::futures::remote::reply::ReplyHandler;
use crate::futures::remote::request::RemoteRequest;
use crate::futures::remote::segments::Arena;
use crate::futures::remote::submit::RemotePool;
use crate::sync::wait_until;

const FORKED: &str =
    "this process is a fork of the one that made the pool, and the workers belong to that one";

impl RemotePool for PoolManager {
    type Message = Message;
    type Storage = Arena;

    fn admits(&self) -> Result<()> {
        if self.is_of_parent() {
            let cause = Cause::new(Error::InvalidArgument(FORKED.into()));
            return Err(Error::BrokenProcessPool { accepted: false, cause });
        }
        self.state.lock().admits()
    }

    fn encode(
        &self,
        token: FunctionToken,
        encode: impl FnOnce(&mut Sink<'_>) -> Result<(), EncodeError>,
    ) -> Result<Message> {
        Message::new(token, self.arena(), self.settings().max_message_size, encode)
    }

    fn enqueue<A, I, R: Send + 'static>(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        message: Message,
        reply_handler: ReplyHandler<R>,
    ) -> Result<Future<R>> {
        let owner: Weak<Self> = Arc::downgrade(self);
        let delivery = ProcessDelivery::new(message, owner);
        let (task, future) = RemoteRequest::make::<A, I>(site, delivery, reply_handler);
        self.submit(task)?;
        Ok(future)
    }

    fn close(self: &Arc<Self>) -> bool {
        if self.is_of_parent() {
            return false;
        }
        let (after, first) = {
            let mut state = self.state.lock();
            let first = !std::mem::replace(&mut state.closing, true);
            (self.balance(&mut state), first)
        };
        after.run();
        first
    }

    fn cancel_pending(self: &Arc<Self>) -> usize {
        if self.is_of_parent() {
            return 0;
        }
        let after = {
            let mut state = self.state.lock();
            let mut after = Deferred::default();
            for handle in &mut state.handles {
                after.cancelled.extend(handle.take_back(0).0);
            }
            after.cancelled.extend(state.queue.drain(..));
            after.add(self.balance(&mut state));
            after
        };
        after.run()
    }

    fn unfinished(&self) -> (usize, usize) {
        if self.is_of_parent() { (0, 0) } else { self.state.lock().unfinished() }
    }

    fn is_own_thread(self: &Arc<Self>) -> bool {
        is_supervisor_of(self)
    }

    /// Also waits for the threads of all supervisors.
    fn join(self: &Arc<Self>, deadline: Option<Instant>) -> bool {
        if self.is_of_parent() {
            return true;
        }
        let mut state = self.state.lock();
        while state.handles.iter().any(|handle| handle.worker.phase() != WorkerPhase::Empty) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            wait_until(&self.gone, &mut state, deadline);
        }
        let mut supervisors = state.finished.clone();
        supervisors.extend(state.handles.iter().filter_map(|handle| handle.supervisor.clone()));
        drop(state);
        supervisors.iter().all(|threads| threads.join(deadline))
    }
}

impl DeliveryOwner for PoolManager {
    fn release(&self, message: Message) {
        message.payload.give_back(self.arena());
    }

    fn make_ready(self: Arc<Self>, call: ProcessCallRef) {
        // A loop instead of recursion, since each call may find that the next is not ready.
        let mut rest = Deferred::default();
        rest.unready.push(call);
        while let Some(call) = rest.unready.pop() {
            rest.add(self.make_one_ready(call));
        }
        rest.run();
    }

    fn kill(self: Arc<Self>, call: &ProcessDelivery) -> bool {
        if self.is_of_parent() {
            return false;
        }
        let (after, killed) = {
            let mut state = self.state.lock();
            let is_it = |task: &ProcessCallRef| task.is(call);
            let found = state.handles.iter().enumerate().find_map(|(index, handle)| {
                handle.worker.position(is_it).map(|position| (index, position))
            });
            let Some((index, position)) = found else { return false };
            // The calls behind it must not start, or the kill might hit the next one instead.
            let (returned, still_runs) = state.handles[index].take_back(position + 1);
            state.requeue(returned);
            let killed = still_runs && state.handles[index].kill(Reason::Asked, Signal::KILL);
            state.counts.killed += u64::from(killed);
            (self.balance(&mut state), killed)
        };
        after.run();
        killed
    }

    fn assist(
        self: Arc<Self>,
        call: &ProcessDelivery,
        done: &dyn Fn() -> bool,
        deadline: Option<Instant>,
    ) {
        assist(&self, call, done, deadline);
    }
}

impl PoolManager {
    /// Queues a call, and sends it at once if there is a worker for it.
    fn submit(self: &Arc<Self>, task: ProcessCallRef) -> Result<()> {
        let after = {
            let mut state = self.state.lock();
            state.admits()?;
            state.counts.submitted += 1;
            state.queue.push_back(task);
            self.balance(&mut state)
        };
        after.run();
        Ok(())
    }

    /// Makes the message of a call ready, unless it was cancelled, and looks for a worker: for this call,
    /// or, if that fails, for those that wait behind it.
    fn make_one_ready(self: &Arc<Self>, call: ProcessCallRef) -> Deferred {
        let ready = match &mut *call.delivery().message.lock() {
            Some(message) => message.make_ready(self.arena()),
            None => Ok(()), // cancelled
        };
        if let Err(error) = ready {
            let mut deferred = self.withdraw(&call);
            deferred.failed.push((call, error));
            return deferred;
        }
        // ORDERING: Relaxed; the pool's lock, taken next, orders it for other threads.
        call.delivery().preparing.store(false, Ordering::Relaxed);
        self.look_for_worker()
    }
}
