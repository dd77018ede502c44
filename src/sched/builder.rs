//! Ways to make a scheduler. See [`SchedulerBuilder`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::OwnedScheduler;
use super::run::dispatch::{Dispatch, Due};
use super::run::on_error::{ErrorPolicy, OnError};
use super::scheduler::Scheduler;
use super::shared::SchedulerCore;
use super::time::clock::{Clock, Delay, DelayFunction, TimePoint};
use super::time::virtual_clock::VirtualClock;
use super::user_function::UserFunction;
use crate::error::{Error, Outcome};

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
    pub(crate) fn rank(self, priority: i32) -> i32 {
        match self {
            Self::LowestFirst => priority,
            // Unlike the minus sign this turns the whole range around without an overflow.
            Self::HighestFirst => !priority,
        }
    }
}

/// What does not depend on the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SchedulerSettings {
    pub(crate) order: PriorityOrder,
    pub(crate) bounded_latency: bool,
    pub(crate) final_spin: Duration,
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
    settings: SchedulerSettings,
    clock: Clock<T>,
    dispatch: Option<Dispatch>,
    on_error: ErrorPolicy,
}

impl SchedulerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            settings: SchedulerSettings::default(),
            clock: Clock::real(),
            dispatch: None,
            on_error: ErrorPolicy::Always(OnError::Stop),
        }
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
        let delay: Box<DelayFunction<U>> = Box::new(move |delay| delayfunc(delay).into_result());
        let delay = Delay::User(UserFunction::new(delay));
        self.on(Clock { time: UserFunction::new(Box::new(timefunc)), delay, steady: false })
    }

    /// Sets the time function and keeps the interruptible delay, which waits in real time.
    ///
    /// Such a clock may be set, as the system's [`SystemTime`](std::time::SystemTime) is by hand or
    /// over the network. So a run that sleeps looks at it at least once a second: after the clock was
    /// set, an event that it is now time for runs at most a second late, on every system, and none
    /// runs before the clock shows its time. That look is the price: a run on such a clock wakes up
    /// once a second even if nothing is due for hours. [`Scheduler::new`] has a clock that nobody sets,
    /// and sleeps through.
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
    /// So do a run that was [stopped](Scheduler::stop), and the drop of the last handle: what was
    /// handed out is not lost. Only a run or a drop inside a dispatched action does not wait, because
    /// it would wait for itself. The others must not happen in a thread that the actions need, say in
    /// the only worker of their pool.
    ///
    /// With the last handle `dispatch` is dropped, and what it captured, say the pool.
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

    /// Sets what a run does when an action fails; by default it [stops](OnError::Stop).
    ///
    /// With [`OnError::Continue`] the error is logged, at the level of errors, and the run goes on: for
    /// a [`run_forever`](Scheduler::run_forever) in the background. It is about actions, dispatched or
    /// not, and about a dispatcher that fails. A clock's function that fails always ends the run.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{OnError, Scheduler};
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::builder().on_error(OnError::Continue).build();
    /// s.enter(Duration::ZERO, 1, || Err("no milk"));
    /// s.enter(Duration::ZERO, 2, || println!("still there"));
    /// s.run()?;
    /// # assert!(s.is_empty());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = ErrorPolicy::Always(on_error);
        self
    }

    /// Sets a function that decides for each error what the run does.
    ///
    /// It is called in the thread of the run, without a lock held. Nothing is logged for an error that
    /// it saw. If it panics, the panic is logged, and the run ends with the action's error. Otherwise
    /// like [`on_error`](Self::on_error).
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{OnError, Scheduler};
    /// use concurrent::Error;
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::builder()
    ///     .on_error_with(|error| match error {
    ///         Error::Panicked(_) => OnError::Stop,
    ///         _ => OnError::Continue,
    ///     })
    ///     .build();
    /// s.enter(Duration::ZERO, 1, || Err("no milk"));
    /// s.enter(Duration::ZERO, 2, || panic!("no cat"));
    /// assert!(matches!(s.run(), Err(Error::Panicked(_))));
    /// ```
    pub fn on_error_with(
        mut self,
        decide: impl Fn(&Error) -> OnError + Send + Sync + 'static,
    ) -> Self {
        self.on_error = ErrorPolicy::Decide(UserFunction::new(Box::new(decide)));
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
        let shared = SchedulerCore::new(self.settings, self.clock);
        Scheduler(Arc::new(OwnedScheduler::new(shared, self.dispatch, self.on_error)))
    }

    pub(crate) fn on<U: TimePoint>(self, clock: Clock<U>) -> SchedulerBuilder<U> {
        let Self { settings, dispatch, on_error, .. } = self;
        SchedulerBuilder { settings, clock, dispatch, on_error }
    }
}

impl<T: TimePoint> fmt::Debug for SchedulerBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerBuilder")
            .field("priority_order", &self.settings.order)
            .field("bounded_latency", &self.settings.bounded_latency)
            .field("final_spin", &self.settings.final_spin)
            .field("dispatch", &self.dispatch.is_some())
            .field("on_error", &self.on_error)
            .finish_non_exhaustive()
    }
}
