//! Makes schedulers without a builder.

use super::builder::SchedulerBuilder;
use super::scheduler::Scheduler;
use super::time::clock::TimePoint;
use super::time::virtual_clock::VirtualClock;
use crate::error::Outcome;

impl Scheduler {
    /// Makes a scheduler on the system's monotonic clock, with an interruptible delay.
    ///
    /// # Python
    ///
    /// `sched.scheduler()`, whose sleep cannot be interrupted.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::new();
    /// s.enter(Duration::from_millis(1), 1, || println!("a millisecond later"));
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts a builder: another clock, another order of priorities, actions run elsewhere.
    ///
    /// # Python
    ///
    /// The arguments of `sched.scheduler(...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{OnError, Scheduler};
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::builder().on_error(OnError::Continue).build();
    /// s.enter(Duration::ZERO, 1, || Err("logged"));
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn builder() -> SchedulerBuilder {
        SchedulerBuilder::new()
    }
}

impl<T: TimePoint> Scheduler<T> {
    /// Makes a scheduler on two functions: one tells the time, one waits for a delay.
    ///
    /// Both may keep state, and either may call the scheduler, even `run`. A delay function that
    /// returns early is called again with the remaining delay. After every action it is called with
    /// zero.
    ///
    /// They are `Fn` because several threads may be in a run: keep state in an atomic or a `Mutex`.
    ///
    /// # Errors
    ///
    /// An `Err` of the delay function comes out of `run`, with the queue intact. So does a panic of
    /// either.
    ///
    /// # Python
    ///
    /// `sched.scheduler(timefunc, delayfunc)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    ///
    /// let now = Arc::new(AtomicU64::new(0));
    /// let (read, wait) = (now.clone(), now.clone());
    /// let s = Scheduler::with_clock(
    ///     move || read.load(Relaxed),
    ///     move |delay| {
    ///         wait.fetch_add(delay, Relaxed);
    ///     },
    /// );
    /// s.enter(3, 1, || {});
    /// s.run()?;
    /// assert_eq!(now.load(Relaxed), 3);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "delayfunc")]
    #[must_use]
    pub fn with_clock<R: Outcome>(
        timefunc: impl Fn() -> T + Send + Sync + 'static,
        delayfunc: impl Fn(T::Delay) -> R + Send + Sync + 'static,
    ) -> Self {
        SchedulerBuilder::new().clock(timefunc, delayfunc).build()
    }

    /// Makes a scheduler that advances `clock` instead of waiting.
    ///
    /// # Python
    ///
    /// `sched.scheduler` on a pair of functions for simulated time.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    /// use std::time::Duration;
    ///
    /// let clock = VirtualClock::new();
    /// let s = Scheduler::with_virtual_clock(&clock);
    /// s.enter(Duration::from_secs(3600), 1, || println!("an hour later"));
    /// s.run()?; // at once
    /// assert_eq!(clock.time().as_secs(), 3600);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn with_virtual_clock(clock: &VirtualClock<T>) -> Self {
        SchedulerBuilder::new().virtual_clock(clock).build()
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}
