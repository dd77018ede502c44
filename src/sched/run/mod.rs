//! The run functions, and when each returns; their loop is in `run_loop.rs`.

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
    /// It returns at once if the queue is empty. Events entered meanwhile take part; an action that
    /// keeps entering itself keeps the run going. It may be called from actions, from the delay
    /// function, and from several threads: each event runs once.
    ///
    /// # Blocking
    ///
    /// Until the queue is empty, or [`stop`](Self::stop) is called; and until dispatched actions
    /// have ended.
    ///
    /// # Errors
    ///
    /// The first failure ends the run, unless [`on_error`](super::SchedulerBuilder::on_error) says
    /// otherwise. The queue is intact, and `run` may be called again.
    ///
    /// - [`Raised`](crate::Error::Raised): the action or the delay function returned an `Err` (an
    ///   [`Error`](crate::Error) stays as it is).
    /// - [`Panicked`](crate::Error::Panicked): the action, the time or the delay function panicked,
    ///   or the arithmetic of a time type of yours.
    ///
    /// The event of a failed action is gone. If a function of the clock failed, the event that the
    /// run waited for is still queued.
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

    /// Runs the events that are due, and returns the delay until the next one: zero if that is due
    /// already, `None` if the queue is empty.
    ///
    /// Events that are entered or become due meanwhile take part, but at most a thousand that were
    /// entered after the call began: so an action that keeps entering itself with no delay cannot
    /// keep this function from returning. If more are due then, it returns `Some` of zero.
    ///
    /// # Blocking
    ///
    /// Only while the actions run. The delay function is called with zero after each.
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
    #[doc(alias = "blocking")]
    pub fn run_pending(&self) -> Result<Option<T::Delay>> {
        self.0.run(RunUntil::Idle)
    }

    /// Runs the events that are due up to and including `time`, and waits until then.
    ///
    /// Later events stay queued, even if they are due by now because the clock is past `time`.
    ///
    /// # Blocking
    ///
    /// Until `time`, even with an empty queue, or until [`stop`](Self::stop) is called. At `time`
    /// it does not wait for dispatched actions.
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
    /// Until it is stopped, and its dispatched actions have ended.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run): the first failed action ends it, unless
    /// [`on_error`](super::SchedulerBuilder::on_error) says otherwise. The error is logged as well,
    /// because often nobody joins the thread.
    ///
    /// # Python
    ///
    /// None in `sched`; it is named after `asyncio`'s.
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
    /// A sleeping run wakes up, unless it is inside a delay function of yours; then it ends when
    /// that returns. The events stay queued. Runs that begin later are not affected: to stop a run
    /// that may not have begun, enter an event that calls this, as [`run_forever`] shows. A run that
    /// is stopped while its last action fails returns that error: a loop that begins another run
    /// after each error needs a flag of its own that ends it.
    ///
    /// # Blocking
    ///
    /// Never, so actions may call it. The stopped runs do wait: if actions are
    /// [dispatched](super::SchedulerBuilder::dispatch), a run that was stopped dispatches no more,
    /// and returns when the actions dispatched before the stop have ended. Only
    /// [`run_pending`](Self::run_pending) never waits for these, nor does a run inside of one.
    ///
    /// # Python
    ///
    /// None: an action raises an exception.
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
    ///
    /// [`run_forever`]: Self::run_forever
    pub fn stop(&self) {
        self.0.state.lock().stops += 1;
        self.0.changed.notify_all();
    }
}
