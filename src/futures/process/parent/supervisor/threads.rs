//! [`SupervisorThreads`]: supervision of a worker goes on while user code runs.
//!
//! The thread that supervises a worker holds the [`Supervisor`]. Before it runs user code (callbacks,
//! decoding, drops, a logger) it puts the supervisor down here, and takes it back afterwards. As long as
//! user code returns soon that is all. If it does not, for example because it waits for a call of the
//! same pool, the [watchdog] has a substitute thread take the supervisor and run the
//! rest of the user code. A thread that comes back and finds no supervisor stands by as the next
//! substitute.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;

use super::watchdog;
use super::{Supervisor, supervise};
use crate::futures::process::parent::deferred::{Step, Steps};
use crate::sync::{Condvar, JoinHandle, Mutex, MutexGuard, current_thread, spawn, wait_until};

/// The threads that supervise one worker in turn, and its supervisor while no thread holds it.
pub(crate) struct SupervisorThreads {
    name: String,
    /// LOCK: taken under that of the pool or of the watchdog; no other is taken under it.
    state: Mutex<ThreadsState>,
    /// A substitute is to take over, or supervision is over.
    called: Condvar,
    /// A thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct ThreadsState {
    /// `None` while a thread holds it, and at the end.
    supervisor: Option<Box<Supervisor>>,
    /// User code that has not begun.
    steps: Steps,
    /// Changes before and after each step.
    progress: u64,
    /// The progress that the watchdog has seen last.
    seen_progress: u64,
    /// Number of threads that stand by.
    standing_by: usize,
    /// One of them is to take over.
    is_called: bool,
    /// Supervision is over.
    is_over: bool,
    /// The thread that started the worker; the kernel ends the worker with it.
    starter: Option<ThreadId>,
    /// Number of threads that have not ended.
    alive: usize,
    /// The handles of all.
    handles: Vec<JoinHandle<()>>,
}

/// The result of the watchdog's check.
pub(super) enum Activity {
    /// No user code runs, or has run since the last check.
    Quiet,
    UserCode,
    /// Supervision is over.
    Over,
}

impl SupervisorThreads {
    /// Starts the first thread, which holds the supervisor.
    pub(crate) fn start(name: String, supervisor: Supervisor) -> std::io::Result<Arc<Self>> {
        let state = Mutex::new(ThreadsState::default());
        let own = Arc::new(Self { name, state, called: Condvar::new(), ended: Condvar::new() });
        let mut state = own.state.lock();
        own.add_thread(&mut state, Some(Box::new(supervisor)))?;
        drop(state);
        Ok(own)
    }

    fn add_thread(
        self: &Arc<Self>,
        state: &mut ThreadsState,
        supervisor: Option<Box<Supervisor>>,
    ) -> std::io::Result<()> {
        let own = Arc::clone(self);
        let handle = spawn(self.name.clone(), None, move || supervise(&own, supervisor))?;
        state.handles.push(handle);
        state.alive += 1;
        Ok(())
    }

    /// Puts the supervisor down, runs `steps`, and takes it back; `None` if a substitute has it.
    pub(super) fn run(
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
        self.run_all(state)
    }

    /// Runs all steps, then takes the supervisor if it is there.
    fn run_all<'a>(&'a self, mut state: MutexGuard<'a, ThreadsState>) -> Option<Box<Supervisor>> {
        loop {
            state.progress = state.progress.wrapping_add(1);
            let Some(step) = state.steps.pop_front() else {
                return state.supervisor.take();
            };
            drop(state);
            watchdog::user_code_begins();
            let _ = Step::run(step);
            state = self.state.lock();
        }
    }

    /// Waits until this thread is to take over; `None` if it is to end.
    pub(super) fn stand_by(&self) -> Option<Box<Supervisor>> {
        let mut state = self.state.lock();
        loop {
            let needed = state.standing_by == 0 || state.starter == Some(current_thread());
            if state.is_over || !needed {
                return None;
            }
            state.standing_by += 1;
            while !(state.is_over || state.is_called) {
                self.called.wait(&mut state);
            }
            state.standing_by -= 1;
            if state.is_over {
                return None;
            }
            state.is_called = false;
            if let Some(supervisor) = &state.supervisor {
                supervisor.marks_thread();
                let taken = self.run_all(state);
                if taken.is_some() {
                    return taken;
                }
                state = self.state.lock();
            }
        }
    }

    /// This thread starts a worker, and must outlive it.
    pub(super) fn note_starter(&self) {
        self.state.lock().starter = Some(current_thread());
    }

    /// Supervision is over.
    pub(super) fn close(&self) {
        self.state.lock().is_over = true;
        self.called.notify_all();
    }

    /// This thread ends.
    pub(super) fn thread_ends(&self) {
        self.state.lock().alive -= 1;
        self.ended.notify_all();
    }

    /// Has a substitute take over if user code has not returned since the last check.
    pub(super) fn check(self: &Arc<Self>) -> Activity {
        let mut state = self.state.lock();
        if state.is_over {
            return Activity::Over;
        }
        let progress = state.progress;
        let is_stuck = std::mem::replace(&mut state.seen_progress, progress) == progress;
        if state.supervisor.is_none() {
            return if is_stuck { Activity::Quiet } else { Activity::UserCode };
        }
        if is_stuck && !state.is_called {
            if state.standing_by > 0 {
                state.is_called = true;
                self.called.notify_one();
            } else {
                // If the system refuses the thread, the next check tries again.
                state.is_called = self.add_thread(&mut state, None).is_ok();
            }
        }
        Activity::UserCode
    }

    /// Waits for the end of all threads; false if the time ran out before.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while state.alive > 0 {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            wait_until(&self.ended, &mut state, deadline);
        }
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        for handle in handles {
            let _ = handle.join(); // the thread catches the panics of user code
        }
        true
    }

    /// Whether all threads have ended.
    pub(crate) fn have_ended(&self) -> bool {
        self.state.lock().alive == 0
    }
}
