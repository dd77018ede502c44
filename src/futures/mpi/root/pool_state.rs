//! [`PoolState`]: the part of a pool that submitters and the pool's thread on root share.
//!
//! Under the lock there is only bookkeeping. Calls are ended after it was released, because that runs user
//! code.

use std::cell::Cell;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Engine;
use super::adaptive_credit::Credit;
use super::delivery::{MpiCallRef, MpiDelivery, RequestPayload};
use super::dispatcher::Dispatcher;
use crate::error::{Cause, Error, Result};
use crate::futures::Future;
use crate::futures::mpi::protocol::{begin_call, end_call};
use crate::futures::mpi::stats::MpiPoolStats;
use crate::futures::mpi::transport::Fault;
use crate::futures::mpi::transport::buffer_pool::BufferPool;
use crate::futures::remote::codec::{EncodeError, HeapOnly, Sink};
use crate::futures::remote::protocol::FunctionToken;
use crate::futures::remote::reply::ReplyHandler;
use crate::futures::remote::request::RemoteRequest;
use crate::futures::remote::submit::RemotePool;
use crate::sync::{Condvar, Mutex, MutexGuard, wait_until};

/// How the pool's thread ended.
#[derive(Clone, Debug)]
pub(crate) enum LoopEnd {
    /// All workers were told to stop.
    Stopped,
    /// The transport has failed, so that workers could not be told.
    Faulty(Fault),
}

pub(crate) struct PoolState {
    pub(super) state: Mutex<PoolQueue>,
    /// Notified when there is something to do for the pool's thread.
    bell: Condvar,
    /// Notified when the pool's thread has ended.
    ended: Condvar,
    pub(crate) buffers: Arc<BufferPool>,
    /// The most bytes of a payload.
    pub(super) limit: u64,
    next_id: AtomicU64,
    /// `None` before it was started, and when it has ended. The lock is held while it ends.
    pub(super) engine: Mutex<Option<Engine>>,
}

pub(super) struct PoolQueue {
    pub(super) dispatcher: Dispatcher<MpiCallRef>,
    pub(super) closing: bool,
    /// The program ends, and waits only for a moment.
    pub(super) hurry: bool,
    pub(super) broken: Option<Cause<Error>>,
    pub(super) end: Option<LoopEnd>,
    /// Counts changes that the pool's thread must see.
    pub(super) version: u64,
    /// The pool's thread sleeps, and must be woken.
    sleeping: bool,
    pub(super) submitted: u64,
    pub(super) answered: u64,
}

thread_local! {
    /// The pool that this thread works for, by address; 0 for other threads.
    static POOL: Cell<usize> = const { Cell::new(0) };
}

impl PoolState {
    pub(crate) fn new(ranks: usize, credit: Credit, retries: u32, limit: u64) -> Arc<Self> {
        let state = PoolQueue {
            dispatcher: Dispatcher::new(ranks, credit, retries),
            closing: false,
            hurry: false,
            broken: None,
            end: None,
            version: 0,
            sleeping: false,
            submitted: 0,
            answered: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            bell: Condvar::new(),
            ended: Condvar::new(),
            buffers: Arc::default(),
            limit,
            next_id: AtomicU64::new(1),
            engine: Mutex::new(None),
        })
    }

    /// Makes this thread the pool's own.
    pub(super) fn adopt_thread(self: &Arc<Self>) {
        POOL.set(Arc::as_ptr(self).addr());
    }

    fn submit(&self, task: MpiCallRef) -> Result<()> {
        let mut state = self.state.lock();
        state.admits()?;
        state.submitted += 1;
        state.dispatcher.push(task);
        self.wake_thread(state);
        Ok(())
    }

    /// Has the pool's thread check everything.
    fn wake_thread(&self, mut state: MutexGuard<'_, PoolQueue>) {
        state.version += 1;
        let wake = std::mem::take(&mut state.sleeping);
        drop(state);
        if wake {
            self.bell.notify_one();
        }
    }

    /// In the pool's thread: sleeps until the state is not as `seen`, at most for `longest`.
    pub(super) fn sleep(&self, longest: Duration, seen: u64) {
        let mut state = self.state.lock();
        if state.version == seen {
            state.sleeping = true;
            wait_until(&self.bell, &mut state, Instant::now().checked_add(longest));
            state.sleeping = false;
        }
    }

    /// The program ends: closes the pool, and has it wait only for a moment.
    pub(crate) fn hurry(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            state.closing = true;
            state.hurry = true;
            self.wake_thread(state);
        }
        self.cancel_pending();
    }

    /// Waits until the pool's thread has ended; `None` if the time ran out before.
    pub(crate) fn wait_for_end(&self, deadline: Option<Instant>) -> Option<LoopEnd> {
        let mut state = self.state.lock();
        while state.end.is_none() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            wait_until(&self.ended, &mut state, deadline);
        }
        state.end.clone()
    }

    /// In the pool's thread: notes its end.
    pub(crate) fn has_ended(&self, end: LoopEnd) {
        self.state.lock().end = Some(end);
        self.ended.notify_all();
    }

    pub(crate) fn stats(&self) -> MpiPoolStats {
        let state = self.state.lock();
        let (pending, running) = state.unfinished();
        MpiPoolStats {
            workers: state.dispatcher.alive(),
            lost: state.dispatcher.dead(),
            pending,
            running,
            submitted: state.submitted,
            answered: state.answered,
        }
    }

    /// Breaks the pool: takes no more calls, and sends none. [`break_off`](Self::break_off) fails them later.
    pub(super) fn stop_sending(&self, cause: &Error) {
        let mut state = self.state.lock();
        state.broken.get_or_insert_with(|| Cause::new(cause.clone()));
        state.dispatcher.stop();
    }

    /// Fails all calls, and takes no more; returns those that have waiters to notify.
    pub(super) fn break_off(&self, cause: Error) -> Vec<MpiCallRef> {
        let (tasks, cause) = {
            let mut state = self.state.lock();
            let cause = state.broken.get_or_insert_with(|| Cause::new(cause)).clone();
            let mut tasks = state.dispatcher.take_sent();
            tasks.extend(state.dispatcher.take_queue());
            (tasks, cause)
        };
        let error = || Error::BrokenMpiPool { accepted: true, cause: Cause::clone(&cause) };
        tasks.into_iter().filter_map(|task| task.fail(error())).collect()
    }
}

impl PoolQueue {
    fn admits(&self) -> Result<()> {
        if let Some(cause) = &self.broken {
            return Err(Error::BrokenMpiPool { accepted: false, cause: Cause::clone(cause) });
        }
        if self.closing { Err(Error::Shutdown) } else { Ok(()) }
    }

    fn unfinished(&self) -> (usize, usize) {
        let waiting = self.dispatcher.queued().filter(|task| task.is_pending()).count();
        (waiting, self.dispatcher.sent())
    }
}

impl RemotePool for PoolState {
    type Message = MpiDelivery;
    type Storage = HeapOnly;

    fn admits(&self) -> Result<()> {
        self.state.lock().admits()
    }

    fn encode(
        &self,
        token: FunctionToken,
        encode: impl FnOnce(&mut Sink<'_, HeapOnly>) -> Result<(), EncodeError>,
    ) -> Result<MpiDelivery> {
        // ORDERING: Relaxed; only the number itself matters.
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut out = self.buffers.take_largest();
        begin_call(&mut out, id, token);
        let mut sink = Sink::in_heap(out, self.limit);
        let encoded = encode(&mut sink);
        let mut out = sink.into_bytes();
        if let Err(error) = encoded {
            self.buffers.give_back(out);
            return Err(error.of_argument());
        }
        end_call(&mut out, 0);
        Ok(MpiDelivery::new(id, RequestPayload::new(out, &self.buffers)))
    }

    fn enqueue<A, I, R: Send + 'static>(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        delivery: MpiDelivery,
        reply_handler: ReplyHandler<R>,
    ) -> Result<Future<R>> {
        let (task, future) = RemoteRequest::make::<A, I>(site, delivery, reply_handler);
        self.submit(task)?;
        Ok(future)
    }

    fn close(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        let first = !std::mem::replace(&mut state.closing, true);
        self.wake_thread(state);
        first
    }

    fn cancel_pending(self: &Arc<Self>) -> usize {
        // Calls that came back from a rank that died have begun, and are not pending.
        let pending = self.state.lock().dispatcher.take_pending(|task| task.is_pending());
        // All calls end before the first callback, which may wait for any of them.
        let cancelled: Vec<_> = pending.into_iter().filter_map(|task| task.cancel()).collect();
        let count = cancelled.len();
        cancelled.into_iter().flatten().for_each(MpiCallRef::notify);
        count
    }

    fn unfinished(&self) -> (usize, usize) {
        self.state.lock().unfinished()
    }

    fn is_own_thread(self: &Arc<Self>) -> bool {
        POOL.try_with(|own| own.get() == Arc::as_ptr(self).addr()).unwrap_or(true)
    }

    fn join(self: &Arc<Self>, deadline: Option<Instant>) -> bool {
        self.end_engine(deadline)
    }
}
