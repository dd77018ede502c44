//! Who supervises a worker while user code runs.
//!
//! A supervising thread holds the [`Supervisor`]. When there is user code to run (callbacks, decoding,
//! drops, a logger) it lays the supervisor down on the desk, and takes it up again afterwards. As long
//! as user code returns soon that is all. If it does not, because it waits for a call of this very
//! pool, say, [`watch`](super::watch) has a substitute take the supervisor up, and do what is left of
//! the user code first. Whoever comes back and finds the desk empty stands by as the next substitute.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;

use super::deferred::{Step, Steps};
use super::supervisor::{Supervisor, supervise};
use super::watch;
use crate::sync::{Condvar, JoinHandle, Mutex, MutexGuard, current_thread, spawn, wait_until};

/// Where the supervisor of a worker lies while nobody holds it.
pub(crate) struct Desk {
    name: String,
    /// LOCK: taken under that of the pool or of `watch`; no other is taken under it.
    state: Mutex<DeskState>,
    /// A substitute is to take over, or there is nothing left to supervise.
    called: Condvar,
    /// A thread has ended.
    gone: Condvar,
}

#[derive(Default)]
struct DeskState {
    /// `None` while a thread holds it, and at the end.
    supervisor: Option<Box<Supervisor>>,
    /// User code that was not begun.
    steps: Steps,
    /// Changes whenever something happens here.
    turn: u64,
    /// The turn that `watch` has seen last.
    seen: u64,
    /// Threads that stand by.
    idle: usize,
    /// One of them is to take over.
    calls: bool,
    over: bool,
    /// The thread that started the worker; the kernel ends the worker with it.
    starter: Option<ThreadId>,
    /// Threads that have not ended, and the handles of all.
    living: usize,
    threads: Vec<JoinHandle<()>>,
}

/// What `watch` finds.
pub(crate) enum Found {
    /// Nobody is in user code, or was since the last time.
    Quiet,
    Busy,
    Over,
}

impl Desk {
    /// A desk with a thread that holds the supervisor.
    pub(crate) fn open(name: String, supervisor: Supervisor) -> std::io::Result<Arc<Self>> {
        let state = Mutex::new(DeskState::default());
        let desk = Arc::new(Self { name, state, called: Condvar::new(), gone: Condvar::new() });
        let mut state = desk.state.lock();
        desk.add_thread(&mut state, Some(Box::new(supervisor)))?;
        drop(state);
        Ok(desk)
    }

    fn add_thread(
        self: &Arc<Self>,
        state: &mut DeskState,
        supervisor: Option<Box<Supervisor>>,
    ) -> std::io::Result<()> {
        let own = Arc::clone(self);
        let thread = spawn(self.name.clone(), None, move || supervise(&own, supervisor))?;
        state.threads.push(thread);
        state.living += 1;
        Ok(())
    }

    /// Lays the supervisor down, does `steps`, and takes it up again; `None` if a substitute has it.
    pub(crate) fn run(
        self: &Arc<Self>,
        supervisor: Box<Supervisor>,
        steps: &mut Steps,
    ) -> Option<Box<Supervisor>> {
        let mut state = self.state.lock();
        if state.steps.is_empty() {
            std::mem::swap(&mut state.steps, steps);
        } else {
            state.steps.append(steps);
        }
        state.supervisor = Some(supervisor);
        self.work_off(state)
    }

    /// Does what is left to do, then takes the supervisor up if it is there.
    fn work_off<'a>(&'a self, mut state: MutexGuard<'a, DeskState>) -> Option<Box<Supervisor>> {
        loop {
            state.turn = state.turn.wrapping_add(1);
            let Some(step) = state.steps.pop_front() else {
                return state.supervisor.take();
            };
            drop(state);
            watch::rouse();
            let _ = Step::run(step);
            state = self.state.lock();
        }
    }

    /// Waits until this thread is to take over; `None` if it is to end.
    pub(crate) fn stand_by(&self) -> Option<Box<Supervisor>> {
        let mut state = self.state.lock();
        loop {
            let needed = state.idle == 0 || state.starter == Some(current_thread());
            if state.over || !needed {
                return None;
            }
            state.idle += 1;
            while !(state.over || state.calls) {
                self.called.wait(&mut state);
            }
            state.idle -= 1;
            if state.over {
                return None;
            }
            state.calls = false;
            if state.supervisor.is_some() {
                let taken = self.work_off(state);
                if taken.is_some() {
                    return taken;
                }
                state = self.state.lock();
            }
        }
    }

    /// This thread starts a worker: it has to live as long as that.
    pub(crate) fn note_starter(&self) {
        self.state.lock().starter = Some(current_thread());
    }

    /// There is nothing left to supervise.
    pub(crate) fn close(&self) {
        self.state.lock().over = true;
        self.called.notify_all();
    }

    /// This thread ends.
    pub(crate) fn leave(&self) {
        self.state.lock().living -= 1;
        self.gone.notify_all();
    }

    /// Has a substitute take over if user code has not returned since the last time.
    pub(crate) fn look_after(self: &Arc<Self>) -> Found {
        let mut state = self.state.lock();
        if state.over {
            return Found::Over;
        }
        let turn = state.turn;
        let stands_still = std::mem::replace(&mut state.seen, turn) == turn;
        if state.supervisor.is_none() {
            return if stands_still { Found::Quiet } else { Found::Busy };
        }
        if stands_still && !state.calls {
            if state.idle > 0 {
                state.calls = true;
                self.called.notify_one();
            } else {
                // If the system refuses the thread, that is tried again.
                state.calls = self.add_thread(&mut state, None).is_ok();
            }
        }
        Found::Busy
    }

    /// Waits for the end of all threads; false if time ran out before.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while state.living > 0 {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            wait_until(&self.gone, &mut state, deadline);
        }
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            let _ = thread.join(); // it catches what panics in user code
        }
        true
    }

    /// Whether all threads have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.lock().living == 0
    }
}
