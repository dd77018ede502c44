//! The run functions: when each returns. What they do until then is in `run_loop.rs`.

pub(crate) mod action;
pub(crate) mod dispatch;
pub(crate) mod dispatched_actions;
pub(crate) mod on_error;
mod run_loop;
pub(crate) mod wakeup;

use self::run_loop::RunUntil;
use super::scheduler::Scheduler;
use super::time::clock::TimePoint;
use crate::error::Result;
use crate::user_code;

impl<T: TimePoint> Scheduler<T> {
    /// Runs events until the queue is empty, waiting for each to become due.
    ///
    /// Returns at once if it is empty. Events entered meanwhile take part; an action that keeps
    /// entering itself keeps it going. May be called from actions, from the delay function, and
    /// from several threads: each event runs once.
    ///
    /// # Blocking
    ///
    /// Until the queue is empty, or [`stop`](Self::stop) is called; and until what was dispatched has
    /// ended.
    ///
    /// # Errors
    ///
    /// The first failure ends the run, unless [`on_error`](super::SchedulerBuilder::on_error) says
    /// otherwise. The queue is intact, and `run` may be called again.
    ///
    /// - [`Raised`](crate::Error::Raised): the action or the delay function returned an `Err` (an
    ///   [`Error`](crate::Error) stays what it is).
    /// - [`Panicked`](crate::Error::Panicked): the action, the time or the delay function panicked, or
    ///   the arithmetic of a time type of yours.
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
        self.0.run(RunUntil::Empty).map(drop)
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
    /// Only as long as the actions take that it runs itself. The delay function is called with zero
    /// after each.
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
        self.0.run(RunUntil::Idle)
    }

    /// Runs the events that are due up to and including `time`, and waits until then.
    ///
    /// Later events stay queued, even if they are due by now because the clock is past `time`.
    ///
    /// # Blocking
    ///
    /// Until `time`, also with an empty queue, or until [`stop`](Self::stop) is called. It does not
    /// wait for dispatched actions at `time`.
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
        self.0.run(RunUntil::Time(time)).map(drop)
    }

    /// Runs events until [`stop`](Self::stop) is called, waiting for new ones when the queue is
    /// empty: for a background thread.
    ///
    /// # Blocking
    ///
    /// Until it is stopped, and what it dispatched has ended.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run): the first action that fails ends it, unless
    /// [`on_error`](super::SchedulerBuilder::on_error) says otherwise. The error is logged as well, for
    /// often nobody joins the thread.
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
        let ended = self.0.run(RunUntil::Stopped).map(drop);
        if let Err(error) = &ended {
            let queued = self.len();
            user_code::contain("logging an error", || {
                let target = crate::LOG_TARGET;
                log::error!(target: target, "run_forever ends with {queued} events queued: {error}");
            });
        }
        ended
    }

    /// Ends every run in progress, in this thread or others, after the action that it is running.
    ///
    /// A run that sleeps wakes up, unless it is inside a delay function of yours; then it ends when
    /// that returns. The events stay queued. Runs that begin later are not affected: to stop one
    /// that may not have begun, enter an event that calls this, as [`run_forever`] shows.
    ///
    /// This does not wait, so actions may call it. The runs do: if actions are
    /// [dispatched](super::SchedulerBuilder::dispatch), a run that was stopped hands out no more, and
    /// returns when those that were handed out before the stop have ended. Only
    /// [`run_pending`](Self::run_pending) never waits for them, nor does a run inside of one.
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
