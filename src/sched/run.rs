//! Running: the run functions, and what a thread inside of one does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::Job;
use super::alarm::Wait;
use super::clock::{Delay, DelayFunction, TimePoint, call_delay};
use super::scheduler::Scheduler;
use super::shared::{LAG, Shared, State, Taken};
use crate::error::Result;
use crate::sync::{MutexGuard, current_thread, wait_until};

/// How many events that were entered after it began one `run_pending` runs.
const LATECOMERS: usize = 1_000;

/// For how long a run that looks at the clock does so without a look at the queue.
const GLANCE: Duration = Duration::from_micros(1);

/// When a run returns, unless it is stopped first.
#[derive(Clone, Copy)]
enum Until<T> {
    /// Nothing is queued, and everything dispatched has ended.
    Empty,
    /// This time has come, and what was due up to it has run.
    Time(T),
    /// Only when it is stopped.
    Stopped,
    /// Nothing is due.
    Idle,
}

impl<T: TimePoint> Until<T> {
    /// When a run that has nothing to do now should look again, if the first event is at `first`.
    fn target(self, first: Option<T>) -> Option<T> {
        match self {
            Self::Empty | Self::Stopped => first,
            Self::Time(end) => Some(first.map_or(end, |time| time.min(end))),
            Self::Idle => None,
        }
    }
}

/// One call of a run function.
struct Run<T> {
    until: Until<T>,
    /// `State::stops` at its start.
    stops: u64,
    /// The sequence of the first event entered after its start.
    boundary: u64,
    /// How many of those it ran.
    latecomers: usize,
    /// The last reading of a clock of ours.
    seen: Option<T>,
}

/// What to do next, decided under the lock and done without it.
enum Step<'a, T: TimePoint> {
    Execute(Taken<T>),
    Delay(&'a DelayFunction<T>, T::Delay),
    Spin(Instant),
    LookAgain,
    Return(Option<T::Delay>),
}

impl<T: TimePoint> Scheduler<T> {
    /// Runs events until the queue is empty, waiting for each to become due.
    ///
    /// Returns at once if it is empty. Events entered meanwhile take part; an action that keeps
    /// entering itself keeps it going. May be called from actions, from the delay function, and
    /// from several threads: each event runs once.
    ///
    /// # Blocking
    ///
    /// Until the queue is empty, or [`stop`](Self::stop) is called.
    ///
    /// # Errors
    ///
    /// The first failure ends the run. The queue is intact, and `run` may be called again.
    ///
    /// - [`Raised`](crate::Error::Raised): the action or the delay function returned an `Err` (an
    ///   [`Error`](crate::Error) stays what it is).
    /// - [`Panicked`](crate::Error::Panicked): the action, the time or the delay function panicked.
    ///
    /// The event of an action that failed is gone. The event that was waited for when a clock
    /// function failed is still queued.
    ///
    /// # Python
    ///
    /// `run()`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::new();
    /// s.enter(Duration::ZERO, 1, || "four".parse::<u8>().map(drop));
    /// s.enter(Duration::ZERO, 2, || println!("still there"));
    /// assert!(s.run().is_err());
    /// assert_eq!(s.len(), 1);
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn run(&self) -> Result<()> {
        self.0.run(Until::Empty).map(drop)
    }

    /// Runs the events that are due, and returns the delay until the next: zero if it is due
    /// already, `None` if the queue is empty.
    ///
    /// Events that are entered or become due meanwhile take part, but at most a thousand that were
    /// entered after the call began: an action that keeps entering itself with no delay cannot keep
    /// this function from returning. If more are due then, it returns `Some` of zero.
    ///
    /// # Blocking
    ///
    /// Only as long as the actions take. The delay function is called with zero after each.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Python
    ///
    /// `run(blocking=False)`, which never returns if an action keeps entering itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    ///
    /// let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(0_u64));
    /// s.enter(0, 1, || println!("now"));
    /// s.enter(7, 1, || println!("later"));
    /// assert_eq!(s.run_pending()?, Some(7));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn run_pending(&self) -> Result<Option<T::Delay>> {
        self.0.run(Until::Idle)
    }

    /// Runs the events that are due up to and including `time`, and waits until then.
    ///
    /// Later events stay queued, even if they are due by now because the clock is past `time`.
    ///
    /// # Blocking
    ///
    /// Until `time`, also with an empty queue, or until [`stop`](Self::stop) is called.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    ///
    /// let clock = VirtualClock::starting_at(0_u64);
    /// let s = Scheduler::with_virtual_clock(&clock);
    /// s.enterabs(10, 1, || println!("ten"));
    /// s.enterabs(20, 1, || println!("twenty"));
    /// s.run_until(15)?;
    /// assert_eq!((clock.time(), s.next_time()), (15, Some(20)));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn run_until(&self, time: T) -> Result<()> {
        self.0.run(Until::Time(time)).map(drop)
    }

    /// Runs events until [`stop`](Self::stop) is called, waiting for new ones when the queue is
    /// empty: for a background thread.
    ///
    /// # Blocking
    ///
    /// Until it is stopped.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Python
    ///
    /// Named after `asyncio`'s; `sched` has nothing like it.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::{thread, time::Duration};
    ///
    /// let s = Scheduler::new();
    /// let runner = thread::spawn({
    ///     let s = s.clone();
    ///     move || s.run_forever()
    /// });
    /// s.enter(Duration::ZERO, 1, || println!("in the background"));
    /// s.enter(Duration::ZERO, 2, {
    ///     let s = s.clone();
    ///     move || s.stop()
    /// });
    /// runner.join().expect("it does not panic")?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn run_forever(&self) -> Result<()> {
        self.0.run(Until::Stopped).map(drop)
    }

    /// Ends every run in progress, in this thread or others, after the action that it is running.
    ///
    /// A run that sleeps wakes up, unless it is inside a delay function of yours; then it ends when
    /// that returns. The events stay queued. Runs that begin later are not affected: to stop one
    /// that may not have begun, enter an event that calls this, as [`run_forever`] shows.
    ///
    /// [`run_forever`]: Self::run_forever
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    ///
    /// let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(0_u64));
    /// s.enter(1, 1, {
    ///     let s = s.clone();
    ///     move || s.stop()
    /// });
    /// s.enter(2, 1, || println!("after the break"));
    /// s.run()?;
    /// assert_eq!(s.len(), 1);
    /// s.run()?;
    /// assert!(s.is_empty());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn stop(&self) {
        self.0.state.lock().stops += 1;
        self.0.changed.notify_all();
    }
}

impl<T: TimePoint> Shared<T> {
    /// Runs events. Returns the delay until the next one, `None` if the queue is empty.
    fn run(self: &Arc<Self>, until: Until<T>) -> Result<Option<T::Delay>> {
        let mut run = {
            let state = self.state.lock();
            let boundary = state.queue.next_sequence();
            Run { until, stops: state.stops, boundary, latecomers: 0, seen: None }
        };
        loop {
            let is_old = run.seen.is_some();
            let now = self.time_for(&mut run)?;
            match self.step(&mut run, now, is_old)? {
                Step::Execute(taken) => {
                    self.execute(taken)?;
                    self.clock.pause()?;
                }
                Step::Delay(function, delay) => call_delay::<T>(function, delay)?,
                Step::Spin(until) => {
                    while Instant::now() < until {
                        std::hint::spin_loop();
                    }
                }
                Step::LookAgain => {}
                Step::Return(remaining) => return Ok(remaining),
            }
        }
    }

    /// The time, for the step that follows.
    ///
    /// PYTHON: read without the lock (there a clock that needs the scheduler deadlocks), but as
    /// often: a clock that is not ours is read once per look at a queue with something in it.
    fn time_for(&self, run: &mut Run<T>) -> Result<Option<T>> {
        if run.seen.is_some() {
            return Ok(run.seen);
        }
        if matches!(self.clock.delay, Delay::Virtual(_)) {
            return Ok(None); // read in `step`: nobody's code runs in that
        }
        let needs_time = self.clock.steady || matches!(run.until, Until::Time(_));
        if !needs_time && self.state.lock().queue.len() == 0 {
            return Ok(None);
        }
        let now = self.clock.read()?;
        if self.clock.steady {
            run.seen = Some(now);
        }
        Ok(Some(now))
    }

    /// Decides what to do next. Sleeps here if the delay is interruptible, since the decision and
    /// the beginning of the sleep must be one: a change in between would wake nobody.
    fn step<'a>(
        &'a self,
        run: &mut Run<T>,
        mut now: Option<T>,
        is_old: bool,
    ) -> Result<Step<'a, T>> {
        let mut state = self.state.lock();
        let first = state.queue.first().copied();
        if state.stops != run.stops {
            return Ok(Step::Return(first.map(|key| delay_until(key.time, now))));
        }
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        if let Delay::Virtual(clock) = &self.clock.delay {
            // Under the lock, so that the event that the clock is set to is the one that runs.
            now = Some(match run.until.target(first.map(|key| key.time)) {
                Some(time) => clock.set_forward(time),
                None => clock.time(),
            });
        }
        if let Some(key) = first.filter(|key| run.allows(key.time, now)) {
            if matches!(run.until, Until::Idle) && key.sequence >= run.boundary {
                if run.latecomers == LATECOMERS {
                    return Ok(Step::Return(Some(T::ZERO)));
                }
                run.latecomers += 1;
            }
            state.in_flight += usize::from(self.dispatch.is_some());
            let taken = state.queue.pop(Job::recurs);
            let taken = taken.expect("the queue has a first event, looked at above");
            return Ok(Step::Execute(taken));
        }
        if is_old || (now.is_none() && first.is_some()) {
            run.seen = None;
            return Ok(Step::LookAgain);
        }

        let first = first.map(|key| key.time);
        match (run.until, first) {
            (Until::Idle, _) => return Ok(Step::Return(first.map(|time| delay_until(time, now)))),
            (Until::Time(end), _) if now.is_some_and(|now| now >= end) => {
                return Ok(Step::Return(None));
            }
            (Until::Empty, None)
                if state.in_flight == 0 || state.inside.contains(&current_thread()) =>
            {
                return Ok(Step::Return(None));
            }
            (Until::Empty | Until::Stopped | Until::Time(_), _) => {}
        }
        run.seen = None;
        match (&self.clock.delay, run.until.target(first).zip(now)) {
            (_, None) => wait_until(&self.changed, &mut state, None),
            (Delay::Interruptible(deadline), Some((time, now))) => match deadline(time, now) {
                Some(deadline) => return Ok(self.sleep(state, deadline)),
                None => wait_until(&self.changed, &mut state, None),
            },
            (Delay::Virtual(_), Some(_)) => {} // it is there already
            (Delay::User(function), Some((time, now))) => {
                return Ok(Step::Delay(function.as_ref(), time.since(now)));
            }
        }
        Ok(Step::LookAgain)
    }
}

impl<T: TimePoint> Shared<T> {
    /// Sleeps towards `deadline`, until something changes or it is time to look at the clock.
    fn sleep<'a>(&self, mut state: MutexGuard<'_, State<T>>, deadline: Instant) -> Step<'a, T> {
        let now = Instant::now();
        match state.alarm.wait(deadline.saturating_duration_since(now)) {
            Wait::Spin => Step::Spin(deadline.min(now + GLANCE)),
            Wait::Doze(length) => {
                wait_until(&self.changed, &mut state, Some(now + length)); // before the deadline
                Step::LookAgain
            }
            Wait::Sleep(length) => {
                let wake = now + length;
                wait_until(&self.changed, &mut state, Some(wake));
                // If it was woken before, that says nothing about the alarm.
                if let Some(late) = Instant::now().checked_duration_since(wake) {
                    state.alarm.slept(late);
                    LAG.set(state.alarm.lag());
                }
                Step::LookAgain
            }
        }
    }
}

impl<T: TimePoint> Run<T> {
    /// Whether an event at `time` is due, and this run's to execute.
    fn allows(&self, time: T, now: Option<T>) -> bool {
        let in_bounds = match self.until {
            Until::Time(end) => time <= end,
            Until::Empty | Until::Stopped | Until::Idle => true,
        };
        in_bounds && now.is_some_and(|now| time <= now)
    }
}

/// The delay that `run_pending` reports.
fn delay_until<T: TimePoint>(time: T, now: Option<T>) -> T::Delay {
    now.filter(|now| time > *now).map_or(T::ZERO, |now| time.since(now))
}
