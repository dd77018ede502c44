//! The queue and the workers, and every decision about them, under one lock.
//!
//! Under the lock there are only short things: bookkeeping, writes that cannot block, signals.
//! Calls are ended after it was released, because that runs user code: what is to be ended is
//! collected in [`Deferred`]. Whether a worker is needed is read from the slots each time, never
//! from a counter kept beside them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::clock::STALLED;
use super::deferred::Deferred;
use super::desk::Desk;
use super::seat::Seat;
use super::slot::{Phase, Reason};
use super::supervisor::Supervisor;
use super::task::{Task, undelivered};
use crate::error::{Cause, Error, Result};
use crate::futures::process::builder::Settings;
use crate::futures::process::channel::link::{BUDGET, Link, Unsent};
use crate::futures::process::channel::ring::OVERWRITTEN;
use crate::futures::process::handshake::Greeting;
use crate::futures::process::shm::segments::Arena;
use crate::futures::process::sys::fork::generation;
use crate::sync::{Condvar, Mutex, MutexGuard, wait_until};

/// A call that runs this long is no longer cheap: what is queued behind it in the same worker goes
/// back to where any worker can take it.
pub(crate) const SLOW: Duration = Duration::from_millis(2);

/// How long a worker that was told to end may take.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

const FORKED: &str = "this process is a fork of the one that made the pool: workers are that one's";

/// What submitters and supervisors share.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// A worker has ended.
    gone: Condvar,
    settings: Settings,
    arena: Arena,
    greeting: Greeting,
    /// Of the process that made the pool; that of a fork is another.
    generation: u64,
}

pub(crate) struct State {
    pub(crate) queue: VecDeque<Task>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) closing: bool,
    /// Its workers were told to end at once: what comes back is not run again.
    pub(crate) terminated: bool,
    /// Why the pool is broken.
    pub(crate) broken: Option<Cause<Error>>,
    /// Ends in a row without an answer to any call.
    pub(crate) fruitless: u32,
    pub(crate) counts: Counts,
    /// Frames that are about to be written.
    batch: Vec<u8>,
    /// Until when no worker is started beside those there are: the system has just refused one.
    pub(crate) refused_until: Option<Instant>,
    /// Starts in a row that the system refused.
    pub(crate) refusals: u32,
    /// Desks whose seat others have, with threads to be joined.
    finished: Vec<Arc<Desk>>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) answered: u64,
    pub(crate) started: u64,
    pub(crate) died: u64,
    pub(crate) killed: u64,
}

impl Shared {
    pub(crate) fn new(settings: Settings, arena: Arena, greeting: Greeting) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            seats: Vec::new(),
            closing: false,
            terminated: false,
            broken: None,
            fruitless: 0,
            counts: Counts::default(),
            batch: Vec::new(),
            refused_until: None,
            refusals: 0,
            finished: Vec::new(),
        };
        let state = Mutex::new(state);
        let (gone, generation) = (Condvar::new(), generation());
        Arc::new(Self { state, gone, settings, arena, greeting, generation })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    pub(crate) fn greeting(&self) -> Greeting {
        self.greeting
    }

    /// Whether this process is a fork of the one that made the pool. Workers, threads and channels are
    /// that one's, and whoever held a lock here may be none of ours.
    pub(crate) fn is_of_parent(&self) -> bool {
        generation() != self.generation
    }

    /// An error if the pool takes no calls.
    pub(crate) fn admits(&self) -> Result<()> {
        if self.is_of_parent() {
            let cause = Cause::new(Error::InvalidArgument(FORKED.into()));
            return Err(Error::BrokenProcessPool { accepted: false, cause });
        }
        self.state.lock().admits()
    }

    /// Queues a call, and sends it at once if there is a worker for it.
    pub(crate) fn submit(self: &Arc<Self>, task: Task) -> Result<()> {
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

    /// For a call that can be sent now.
    pub(crate) fn look_for_worker(self: &Arc<Self>) -> Deferred {
        self.balance(&mut self.state.lock())
    }

    /// Gives calls to workers that have room, starts workers for the others, and lets workers end
    /// that are not needed any more.
    pub(crate) fn balance(self: &Arc<Self>, state: &mut State) -> Deferred {
        let mut after = Deferred::default();
        if state.terminated {
            after.cancelled.extend(state.queue.drain(..));
        }
        if state.broken.is_none() {
            self.hand_out(state, &mut after);
            self.start_workers(state, &mut after);
        }
        if state.closing && state.queue.is_empty() {
            state.seats.iter_mut().for_each(Seat::retire);
        }
        after
    }

    fn hand_out(&self, state: &mut State, after: &mut Deferred) {
        let depth = self.settings.prefetch;
        while !state.queue.is_empty() {
            let backlog = state.queue.len();
            let alive = state.seats.iter().filter(|seat| seat.slot.is_alive()).count().max(1);
            let candidates = state.seats.iter().enumerate().filter_map(|(index, seat)| {
                let (room, busy) = (seat.room(depth), seat.slot.in_flight());
                // With a backlog, fewer and larger writes: not before half of it is done.
                let worth = room > 0 && (backlog == 1 || room >= busy);
                worth.then_some((busy, index, room))
            });
            let Some((_, index, room)) = candidates.min() else { return };
            let share = room.min(backlog.div_ceil(alive));
            if !self.give(state, index, share, after) {
                return;
            }
        }
    }

    /// Sends up to `count` calls to a worker; false if it could be given none.
    fn give(&self, state: &mut State, index: usize, count: usize, after: &mut Deferred) -> bool {
        let now = Instant::now();
        let State { queue, seats, batch, .. } = state;
        let Seat { slot, link: Some(link), alarm, .. } = &mut seats[index] else { return false };
        batch.clear();
        let mut given = 0;
        while given < count {
            let Some(task) = queue.pop_front() else { break };
            if task.is_over() {
                given += 1; // cancelled; that it is gone is progress, too
                continue;
            }
            // ORDERING: Relaxed; it is set under this lock, and unset before it is taken.
            if task.preparing().load(Ordering::Relaxed) {
                queue.push_front(task);
                break; // a thread is at it, and comes back
            }
            let message = task.message().lock();
            let Some(content) = message.as_ref() else {
                drop(message);
                continue; // cancelled just now
            };
            if !content.is_ready() {
                drop(message);
                // ORDERING: Relaxed; as above.
                task.preparing().store(true, Ordering::Relaxed);
                after.unready.push(Task::clone(&task));
                queue.push_front(task);
                break;
            }
            let weight = Link::weight(content);
            if slot.in_flight() > 0 && slot.bytes() + weight > BUDGET {
                drop(message);
                queue.push_front(task);
                break;
            }
            let seq = slot.next_seq();
            if !task.offer(link.page(), seq) {
                continue;
            }
            let framed = link.frame(batch, seq, content);
            drop(message);
            if let Err(unsent) = framed {
                task.returned();
                if slot.in_flight() > 0 {
                    queue.push_front(task); // when an answer has come it can be sent, perhaps
                    break;
                }
                match unsent {
                    Unsent::Refused(error) => {
                        let why = format!("its descriptors could not be sent: {error}");
                        after.failed.push((task, undelivered(&why)));
                        given += 1;
                        continue;
                    }
                    Unsent::NoRoom => {
                        queue.push_front(task);
                        if slot.kill(Reason::Unruly("it does not receive its descriptors")) {
                            link.signal(Signal::KILL);
                        }
                        break;
                    }
                }
            }
            slot.dispatch(task, weight, now);
            given += 1;
        }
        if let Err(error) = link.write(batch) {
            let how = match error {
                OVERWRITTEN => "it claims to have read what was not written",
                _ => "there was no room for its calls",
            };
            if slot.kill(Reason::Unruly(how)) {
                link.signal(Signal::KILL);
            }
        }
        let watched = slot.in_flight() > 1 || self.settings.deadline.is_some();
        let soon = now + STALLED;
        if watched && !link.armed || alarm.is_none_or(|alarm| alarm > soon) {
            link.armed |= watched;
            *alarm = Some(soon); // or before: it looks as soon as it is awake
            link.wake();
        }
        given > 0
    }

    fn start_workers(self: &Arc<Self>, state: &mut State, after: &mut Deferred) {
        loop {
            let phases = state.seats.iter().map(|seat| seat.slot.phase());
            let starting = phases.clone().filter(|phase| *phase == Phase::Starting).count();
            let alive = state.seats.iter().filter(|seat| seat.slot.is_alive()).count();
            if state.queue.len() <= starting || alive >= self.settings.max_workers {
                return;
            }
            let refused = state.refused_until.is_some_and(|until| Instant::now() < until);
            if refused && alive > 0 {
                return;
            }
            let empty = phases.clone().position(|phase| phase == Phase::Empty);
            let index = empty.unwrap_or(state.seats.len());
            if index == state.seats.len() {
                if index >= self.settings.max_workers {
                    return; // a seat whose worker has just ended: its supervisor decides
                }
                state.seats.push(Seat::new());
            }
            let supervisor = Supervisor::new(self, index);
            match Desk::open(format!("ProcessPool-{index}"), supervisor) {
                Ok(desk) => {
                    state.counts.started += 1;
                    let seat = &mut state.seats[index];
                    seat.start(self.settings.max_tasks_per_child);
                    state.finished.extend(seat.desk.replace(desk));
                    state.finished.retain(|desk| !desk.has_ended());
                }
                Err(error) if alive == 0 => {
                    // Nobody is there who could run what is queued. The next call finds out anew.
                    state.fail_queued(&Error::ThreadStart(Cause::new(error)), after);
                    return;
                }
                Err(_) => return, // with those there are
            }
        }
    }

    /// Takes no more calls; false if that was so already.
    pub(crate) fn close(self: &Arc<Self>) -> bool {
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

    /// Cancels what has not started; gives how many calls that were.
    pub(crate) fn cancel_pending(self: &Arc<Self>) -> usize {
        if self.is_of_parent() {
            return 0;
        }
        let after = {
            let mut state = self.state.lock();
            let mut after = Deferred::default();
            for seat in &mut state.seats {
                after.cancelled.extend(seat.take_back(0).0);
            }
            after.cancelled.extend(state.queue.drain(..));
            after.add(self.balance(&mut state));
            after
        };
        after.run()
    }

    /// Signals all workers; with that the pool is at its end.
    pub(crate) fn signal_workers(self: &Arc<Self>, signal: Signal) {
        if self.is_of_parent() {
            return;
        }
        {
            let mut state = self.state.lock();
            state.closing = true;
            state.terminated = true;
            let mut killed = 0;
            for seat in &mut state.seats {
                killed += u64::from(seat.kill(Reason::Stop, signal));
                // One that does not heed the signal ends after its call.
                seat.link.iter_mut().for_each(Link::close);
            }
            state.counts.killed += killed;
        }
        self.cancel_pending();
    }

    /// Waits until there is no worker, and no supervisor; false if time ran out before.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        if self.is_of_parent() {
            return true;
        }
        let mut state = self.state.lock();
        while state.seats.iter().any(|seat| seat.slot.phase() != Phase::Empty) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            wait_until(&self.gone, &mut state, deadline);
        }
        let mut desks = state.finished.clone();
        desks.extend(state.seats.iter().filter_map(|seat| seat.desk.clone()));
        drop(state);
        desks.iter().all(|desk| desk.join(deadline))
    }

    /// Calls that wait and calls that run.
    pub(crate) fn left(&self) -> (usize, usize) {
        let state = self.state.lock();
        let (waiting, running) = state.left();
        (waiting, running)
    }

    /// Kills the worker that runs the call at this address; false if none does.
    pub(crate) fn kill_call(self: &Arc<Self>, address: *const ()) -> bool {
        if self.is_of_parent() {
            return false;
        }
        let (after, killed) = {
            let mut state = self.state.lock();
            let is_it = |task: &Task| std::ptr::eq(task.address(), address);
            let found = state.seats.iter().enumerate().find_map(|(index, seat)| {
                seat.slot.position(is_it).map(|position| (index, position))
            });
            let Some((index, position)) = found else { return false };
            // What is behind it must not start, or the kill might hit the next call instead.
            let (returned, still_runs) = state.seats[index].take_back(position + 1);
            state.requeue(returned);
            let killed = still_runs && state.seats[index].kill(Reason::Asked, Signal::KILL);
            state.counts.killed += u64::from(killed);
            (self.balance(&mut state), killed)
        };
        after.run();
        killed
    }

    pub(crate) fn notify_gone(&self, _state: &MutexGuard<'_, State>) {
        self.gone.notify_all();
    }
}

impl State {
    fn admits(&self) -> Result<()> {
        if let Some(cause) = &self.broken {
            return Err(Error::BrokenProcessPool { accepted: false, cause: Cause::clone(cause) });
        }
        if self.closing { Err(Error::Shutdown) } else { Ok(()) }
    }

    pub(crate) fn left(&self) -> (usize, usize) {
        let queued = self.queue.iter().filter(|task| !task.is_over()).count();
        let sent = self.seats.iter().flat_map(Seat::calls).filter(|(task, _)| !task.is_over());
        sent.fold(
            (queued, 0),
            |(waiting, running), (_, begun)| {
                if begun { (waiting, running + 1) } else { (waiting + 1, running) }
            },
        )
    }

    /// Puts calls back where they came from: in front, in order.
    pub(crate) fn requeue(&mut self, tasks: Vec<Task>) {
        for task in tasks.into_iter().rev() {
            task.returned();
            self.queue.push_front(task);
        }
    }
}
