//! Ways to make a scheduler. See [`SchedulerBuilder`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Clock, Delay, TimePoint};
use super::dispatch::{Dispatch, Due};
use super::scheduler::Scheduler;
use super::shared::Shared;
use super::virtual_clock::VirtualClock;
use crate::error::Outcome;

/// Which of two priority numbers runs first, at the same time.
///
/// # Python
///
/// Always the lower one.
///
/// # Examples
///
/// ```
/// use concurrent::sched::{PriorityOrder, Scheduler};
/// use std::time::Instant;
///
/// let s = Scheduler::builder().priority_order(PriorityOrder::HighestFirst).build();
/// let now = Instant::now();
/// let low = s.enterabs(now, 1, || {});
/// let high = s.enterabs(now, 2, || {});
/// assert_eq!(s.queue(), [high, low]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PriorityOrder {
    /// The lower number, as in Python and as `nice` does.
    #[default]
    LowestFirst,
    /// The higher number.
    HighestFirst,
}

impl PriorityOrder {
    /// Turns a priority into a number of which the lower runs first, and back again.
    pub(super) fn rank(self, priority: i32) -> i32 {
        match self {
            Self::LowestFirst => priority,
            // Unlike the minus sign this turns the whole range around without an overflow.
            Self::HighestFirst => !priority,
        }
    }
}

/// What does not depend on the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    pub(super) order: PriorityOrder,
    pub(super) bounded_latency: bool,
    pub(super) final_spin: Duration,
}

/// Builds a [`Scheduler`] that differs from [`Scheduler::new`].
///
/// # Examples
///
/// ```
/// use concurrent::sched::{PriorityOrder, Scheduler, VirtualClock};
///
/// let s = Scheduler::builder()
///     .virtual_clock(&VirtualClock::starting_at(0_u64))
///     .priority_order(PriorityOrder::HighestFirst)
///     .build();
/// s.enter(10, 1, || {});
/// assert_eq!(s.len(), 1);
/// ```
#[must_use = "nothing is built without `build`"]
pub struct SchedulerBuilder<T: TimePoint = Instant> {
    settings: Settings,
    clock: Clock<T>,
    dispatch: Option<Dispatch>,
}

impl SchedulerBuilder {
    fn new() -> Self {
        Self { settings: Settings::default(), clock: Clock::real(), dispatch: None }
    }
}

impl<T: TimePoint> SchedulerBuilder<T> {
    /// Sets the time and delay functions, as [`Scheduler::with_clock`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::{thread, time::SystemTime};
    ///
    /// let s = Scheduler::builder().clock(SystemTime::now, thread::sleep).build();
    /// s.enterabs(SystemTime::UNIX_EPOCH, 1, || println!("overdue"));
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn clock<U: TimePoint, R: Outcome>(
        self,
        timefunc: impl Fn() -> U + Send + Sync + 'static,
        delayfunc: impl Fn(U::Delay) -> R + Send + Sync + 'static,
    ) -> SchedulerBuilder<U> {
        let delay = Delay::User(Box::new(move |delay| delayfunc(delay).into_result()));
        self.on(Clock { time: Box::new(timefunc), delay, steady: false })
    }

    /// Sets the time function and keeps the interruptible delay, which waits in real time.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::{Duration, SystemTime};
    ///
    /// let s = Scheduler::builder().timefunc(SystemTime::now).build();
    /// let event = s.enter(Duration::from_secs(60), 1, || {});
    /// assert!(event.time() > SystemTime::now());
    /// ```
    pub fn timefunc<U: TimePoint<Delay = Duration>>(
        self,
        timefunc: impl Fn() -> U + Send + Sync + 'static,
    ) -> SchedulerBuilder<U> {
        self.on(Clock::interruptible(timefunc))
    }

    /// Sets a virtual clock, as [`Scheduler::with_virtual_clock`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    ///
    /// let clock = VirtualClock::starting_at(0_u64);
    /// let s = Scheduler::builder().virtual_clock(&clock).build();
    /// s.run_until(100)?;
    /// assert_eq!(clock.time(), 100);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn virtual_clock<U: TimePoint>(self, clock: &VirtualClock<U>) -> SchedulerBuilder<U> {
        self.on(Clock::virtual_time(clock.clone()))
    }

    /// Sets which priority number runs first; by default the lower one.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{PriorityOrder, Scheduler};
    ///
    /// let s = Scheduler::builder().priority_order(PriorityOrder::HighestFirst).build();
    /// # assert!(s.is_empty());
    /// ```
    pub fn priority_order(mut self, order: PriorityOrder) -> Self {
        self.settings.order = order;
        self
    }

    /// Makes a run look at the clock for the last `spin` before an event, instead of sleeping up to
    /// it; by default for 20 us at most.
    ///
    /// A thread that sleeps is woken some ten microseconds late. By default a run learns how much that
    /// is on this machine, and asks to be woken that much earlier; if an event is more than two
    /// milliseconds away it sleeps twice, because a short sleep ends more exactly. Then most events
    /// are late by a few microseconds, and some by the twenty to a hundred that two sleeps may
    /// differ by. With a spin of 100 us the thread is awake when the time comes, and events are late
    /// by a microsecond or less unless the processor is taken from it. No event ever runs early.
    ///
    /// The price is processor time: `spin` for each event that is waited for, and none while no
    /// event is near. Only for the real-time delays of [`Scheduler::new`] and
    /// [`timefunc`](Self::timefunc).
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::{Duration, Instant};
    ///
    /// let s = Scheduler::builder().final_spin(Duration::from_micros(100)).build();
    /// let due = s.timefunc() + Duration::from_millis(2);
    /// s.enterabs(due, 1, move || println!("late by {:?}", Instant::now() - due));
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn final_spin(mut self, spin: Duration) -> Self {
        self.settings.final_spin = spin;
        self
    }

    /// Never sorts many events at once.
    ///
    /// By default only the next thousand or two are kept in order, the others in buckets, which makes
    /// a scheduler with a hundred thousand events up to twice as fast, with a million five times. But
    /// now and then a bucket is sorted or split, and the `enter` or the run that does it takes a tenth
    /// of a millisecond or two. With this all are kept in one binary heap: slower on the whole, but
    /// without such pauses. What remains is what memory costs: the heap doubles its room when it is
    /// full, and when more than half of the events were cancelled, their keys are thrown out together.
    ///
    /// The order of the events is the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{Scheduler, VirtualClock};
    ///
    /// let clock = VirtualClock::starting_at(0_u64);
    /// let s = Scheduler::builder().virtual_clock(&clock).bounded_latency().build();
    /// for time in 1..=100_000 {
    ///     s.enter(time, 1, || {});
    /// }
    /// s.run()?;
    /// assert_eq!(clock.time(), 100_000);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn bounded_latency(mut self) -> Self {
        self.settings.bounded_latency = true;
        self
    }

    /// Hands due actions to `dispatch` instead of running them in the thread that runs the
    /// scheduler, so that a slow one does not delay the rest.
    ///
    /// The closure decides where each is [run](Due::run): on a thread pool, say with
    /// `move |due| pool.spawn(move || due.run()).map(drop)`. It is called in the order of the
    /// events; what happens then is up to the executor. Ticks of one recurrence never overlap: the
    /// next is entered when the one before has ended.
    ///
    /// [`run`](Scheduler::run) also waits for dispatched actions to end, for they may enter events.
    /// Only a run inside a dispatched action does not, because it would wait for itself.
    ///
    /// # Errors
    ///
    /// What an action returns or panics with comes out of `run`. If `dispatch` itself fails, that
    /// comes out of `run` too, and the [`Due`] that it dropped did not run.
    ///
    /// # Examples
    ///
    /// See [`Due`].
    pub fn dispatch<R: Outcome>(
        mut self,
        dispatch: impl Fn(Due) -> R + Send + Sync + 'static,
    ) -> Self {
        self.dispatch = Some(Box::new(move |due| dispatch(due).into_result()));
        self
    }

    /// Builds the scheduler.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(concurrent::sched::Scheduler::builder().build().is_empty());
    /// ```
    #[must_use]
    pub fn build(self) -> Scheduler<T> {
        Scheduler(Arc::new(Shared::new(self.settings, self.clock, self.dispatch)))
    }

    fn on<U: TimePoint>(self, clock: Clock<U>) -> SchedulerBuilder<U> {
        SchedulerBuilder { settings: self.settings, clock, dispatch: self.dispatch }
    }
}

impl<T: TimePoint> fmt::Debug for SchedulerBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerBuilder")
            .field("priority_order", &self.settings.order)
            .field("bounded_latency", &self.settings.bounded_latency)
            .field("final_spin", &self.settings.final_spin)
            .field("dispatch", &self.dispatch.is_some())
            .finish_non_exhaustive()
    }
}

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
    /// # Examples
    ///
    /// See [`SchedulerBuilder`].
    pub fn builder() -> SchedulerBuilder {
        SchedulerBuilder::new()
    }
}

impl<T: TimePoint> Scheduler<T> {
    /// Makes a scheduler on two functions: one tells the time, one waits for a delay.
    ///
    /// Both may keep state, and either may call the scheduler, even `run`. A delay function that
    /// returns early is called again with what remains. It is called with zero after every action.
    ///
    /// They are `Fn` because several threads may be in a run: state goes into an atomic or a
    /// `Mutex`.
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
    #[must_use]
    pub fn with_clock<R: Outcome>(
        timefunc: impl Fn() -> T + Send + Sync + 'static,
        delayfunc: impl Fn(T::Delay) -> R + Send + Sync + 'static,
    ) -> Self {
        SchedulerBuilder::new().clock(timefunc, delayfunc).build()
    }

    /// Makes a scheduler that sets `clock` forward instead of waiting.
    ///
    /// # Examples
    ///
    /// See [`VirtualClock`].
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
