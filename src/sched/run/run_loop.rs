//! The loop of a run: waits for events, and runs their actions.

use std::time::{Duration, Instant};

use super::action::ScheduledAction;
use super::on_error::Failure;
use super::wakeup::WaitStep;
use crate::error::{Error, Result};
use crate::sched::handle::OwnedScheduler;
use crate::sched::queue::time_order::earlier;
use crate::sched::shared::{LAG, PoppedAction, SchedulerState};
use crate::sched::time::clock::{Delay, DelayFunction, LOOK_AT_LEAST, TimePoint, call_delay};
use crate::sync::backoff::spin_until_time;
use crate::sync::{MutexGuard, wait_until};
use crate::user_code;

/// The most events that one `run_pending` runs of those that were entered after it began.
const LATECOMERS: usize = 1_000;

/// How long a run that spins reads the clock before it checks the queue again.
const SPIN_SLICE: Duration = Duration::from_micros(1);

/// When a run returns, unless it is stopped first.
#[derive(Clone, Copy)]
pub(crate) enum RunUntil<T> {
    /// Nothing is queued, and everything dispatched has ended.
    Empty,
    /// This time has come, and what was due up to it has run.
    Time(T),
    /// Only when it is stopped.
    Stopped,
    /// Nothing is due.
    Idle,
}

impl<T: TimePoint> RunUntil<T> {
    /// When a run that has nothing to do should check the queue again, if the first event is at
    /// `first`.
    fn target(self, first: Option<T>) -> Option<T> {
        match self {
            Self::Empty | Self::Stopped => first,
            Self::Time(end) => Some(first.filter(|time| earlier(time, &end)).unwrap_or(end)),
            Self::Idle => None,
        }
    }
}

/// One call of a run function.
struct RunProgress<T> {
    until: RunUntil<T>,
    /// `SchedulerState::stops` at its start.
    stops: u64,
    /// The sequence of the first event entered after its start.
    boundary: u64,
    /// How many of these it has run.
    latecomers: usize,
    /// The last reading of a clock of ours.
    seen: Option<T>,
}

/// The next step, decided under the lock and done without it.
enum RunStep<'a, T: TimePoint> {
    Execute(PoppedAction<T>),
    /// A dispatched action failed.
    Failed(Failure),
    /// Call the delay function for the time from the second point to the first.
    Delay(&'a DelayFunction<T>, T, T),
    Sleep(TimedSleep<T>),
    Spin(Instant),
    CheckAgain,
    /// Return, with the time of the next event and the time that the clock showed.
    Return(Option<(T, Option<T>)>),
}

/// A sleep in real time.
struct TimedSleep<T> {
    /// Makes an instant of the two times.
    deadline: fn(time: T, now: T) -> Option<Instant>,
    time: T,
    now: T,
    /// The sequence of the first event, when it was decided.
    first: Option<u64>,
}

impl<T: TimePoint> OwnedScheduler<T> {
    /// Runs events. Returns the delay until the next one, `None` if the queue is empty.
    pub(crate) fn run(&self, until: RunUntil<T>) -> Result<Option<T::Delay>> {
        let mut run = {
            let state = self.state.lock();
            let boundary = state.queue.next_sequence();
            RunProgress { until, stops: state.stops, boundary, latecomers: 0, seen: None }
        };
        loop {
            let is_old = run.seen.is_some();
            let now = self.time_for(&mut run)?;
            let mut next = self.step(&mut run, now, is_old);
            if let RunStep::Sleep(sleep) = next {
                next = self.sleep(&run, &sleep)?;
            }
            match next {
                RunStep::Execute(taken) => {
                    if let Err(failure) = self.execute(taken, run.stops) {
                        self.on_error.settle(failure)?;
                    }
                    self.clock.pause()?;
                }
                RunStep::Failed(failure) => self.on_error.settle(failure)?,
                RunStep::Delay(function, time, now) => {
                    call_delay::<T>(function, distance(time, now)?)?
                }
                RunStep::Spin(until) => spin_until_time(until),
                RunStep::Sleep(_) | RunStep::CheckAgain => {}
                RunStep::Return(None) => return Ok(None),
                RunStep::Return(Some((time, now))) => {
                    let later = now.filter(|now| earlier(now, &time));
                    return later.map_or(Ok(T::ZERO), |now| distance(time, now)).map(Some);
                }
            }
        }
    }

    /// The time, for the step that follows.
    ///
    /// PYTHON: read without the lock (in Python a clock that uses the scheduler deadlocks), but as
    /// often: a clock that is not this crate's is read once for each check of a queue that is not
    /// empty.
    fn time_for(&self, run: &mut RunProgress<T>) -> Result<Option<T>> {
        if run.seen.is_some() {
            return Ok(run.seen);
        }
        if matches!(self.clock.delay, Delay::Virtual(_)) {
            return Ok(None); // read in `step`, since it runs no user code
        }
        let needs_time = self.clock.steady || matches!(run.until, RunUntil::Time(_));
        if !needs_time && self.state.lock().queue.len() == 0 {
            return Ok(None);
        }
        let now = self.clock.read()?;
        if self.clock.steady {
            run.seen = Some(now);
        }
        Ok(Some(now))
    }

    /// Decides what to do next. A wait that only a change can end happens in here, under the same
    /// lock as the decision, so that no change is missed.
    fn step<'a>(
        &'a self,
        run: &mut RunProgress<T>,
        mut now: Option<T>,
        is_old: bool,
    ) -> RunStep<'a, T> {
        let mut state = self.state.lock();
        let is_stopped = state.stops != run.stops;
        if is_stopped && !matches!(run.until, RunUntil::Idle) {
            // Waits for actions that were dispatched before the stop, not for those that other runs
            // go on to dispatch.
            while !state.dispatched.have_all_ended_until(run.stops) {
                wait_until(&self.changed, &mut state, None);
            }
        }
        if let Some(failure) = state.failures.pop_front() {
            return RunStep::Failed(failure);
        }
        let first = state.queue.first().copied();
        if is_stopped {
            return RunStep::Return(first.map(|key| (key.time, now)));
        }
        if let Delay::Virtual(clock) = &self.clock.delay {
            // Under the lock, so that the event that the clock is set to is the one that runs.
            // LOCK: the clock's, if it has one, is held for a copy only, and last.
            now = Some(match run.until.target(first.map(|key| key.time)) {
                Some(time) => clock.set_forward(time),
                None => clock.time(),
            });
        }
        if let Some(key) = first.filter(|key| run.allows(key.time, now)) {
            if matches!(run.until, RunUntil::Idle) && key.sequence >= run.boundary {
                if run.latecomers == LATECOMERS {
                    return RunStep::Return(Some((key.time, None)));
                }
                run.latecomers += 1;
            }
            let Some(taken) = state.queue.pop(ScheduledAction::recurs) else {
                return RunStep::CheckAgain;
            };
            if self.dispatch.is_some() {
                state.dispatched.begin(run.stops);
            }
            return RunStep::Execute(taken);
        }
        if is_old || (now.is_none() && first.is_some()) {
            run.seen = None;
            return RunStep::CheckAgain;
        }

        match (run.until, first) {
            (RunUntil::Idle, _) => return RunStep::Return(first.map(|key| (key.time, now))),
            (RunUntil::Time(end), _) if now.is_some_and(|now| !earlier(&now, &end)) => {
                return RunStep::Return(None);
            }
            (RunUntil::Empty, None) if state.dispatched.have_all_ended() => {
                return RunStep::Return(None);
            }
            (RunUntil::Empty | RunUntil::Stopped | RunUntil::Time(_), _) => {}
        }
        run.seen = None;
        match (&self.clock.delay, run.until.target(first.map(|key| key.time)).zip(now)) {
            (_, None) => wait_until(&self.changed, &mut state, None),
            (Delay::Interruptible(deadline), Some((time, now))) => {
                let first = first.map(|key| key.sequence);
                return RunStep::Sleep(TimedSleep { deadline: *deadline, time, now, first });
            }
            (Delay::Virtual(_), Some(_)) => {} // the clock has been set to it
            (Delay::User(function), Some((time, now))) => {
                return RunStep::Delay(function.as_ref(), time, now);
            }
        }
        RunStep::CheckAgain
    }

    /// Sleeps until something changes or it is time to read the clock.
    fn sleep<'a>(&self, run: &RunProgress<T>, sleep: &TimedSleep<T>) -> Result<RunStep<'a, T>> {
        // Without the lock, because the user may compute the distance.
        let deadline = user_code::catch(|| (sleep.deadline)(sleep.time, sleep.now));
        let deadline = deadline.map_err(Error::Panicked)?;
        let state = self.state.lock();
        let unchanged = state.stops == run.stops
            && state.failures.is_empty()
            && state.queue.first().map(|key| key.sequence) == sleep.first;
        Ok(if unchanged { self.sleep_until(state, deadline) } else { RunStep::CheckAgain })
    }

    fn sleep_until<'a>(
        &self,
        mut state: MutexGuard<'_, SchedulerState<T>>,
        deadline: Option<Instant>,
    ) -> RunStep<'a, T> {
        let now = Instant::now();
        let longest = if self.clock.steady { None } else { Some(LOOK_AT_LEAST) };
        let Some(deadline) = deadline else {
            wait_until(&self.changed, &mut state, longest.map(|length| now + length));
            return RunStep::CheckAgain;
        };
        match state.wakeup.wait(deadline.saturating_duration_since(now)) {
            WaitStep::Spin => return RunStep::Spin(deadline.min(now + SPIN_SLICE)),
            WaitStep::CoarseSleep(length) => {
                let length = longest.map_or(length, |longest| length.min(longest));
                wait_until(&self.changed, &mut state, Some(now + length)); // before the deadline
            }
            WaitStep::FineSleep(length) => {
                let wake = now + length;
                wait_until(&self.changed, &mut state, Some(wake));
                // A sleep that was cut short says nothing about how late sleeps end.
                if let Some(late) = Instant::now().checked_duration_since(wake) {
                    state.wakeup.slept(late);
                    LAG.set(state.wakeup.lag());
                }
            }
        }
        RunStep::CheckAgain
    }
}

impl<T: TimePoint> RunProgress<T> {
    /// Whether an event at `time` is due, and within the bounds of this run.
    fn allows(&self, time: T, now: Option<T>) -> bool {
        let in_bounds = match self.until {
            RunUntil::Time(end) => !earlier(&end, &time),
            RunUntil::Empty | RunUntil::Stopped | RunUntil::Idle => true,
        };
        in_bounds && now.is_some_and(|now| !earlier(&now, &time))
    }
}

/// The distance between two times, which the user's code may compute.
fn distance<T: TimePoint>(time: T, now: T) -> Result<T::Delay> {
    user_code::catch(|| time.since(now)).map_err(Error::Panicked)
}

#[cfg(test)]
mod tests;
