//! [`SchedulerBuilder`]: the settings of a scheduler.

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

/// The order of priorities among events of the same time.
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
            // Unlike a minus sign, this reverses the whole range without an overflow.
            Self::HighestFirst => !priority,
        }
    }
}

/// The settings that do not depend on the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SchedulerSettings {
    pub(crate) order: PriorityOrder,
    pub(crate) bounded_latency: bool,
    pub(crate) final_spin: Duration,
}

/// Builds a [`Scheduler`] with other settings than those of [`Scheduler::new`].
///
/// # Python
///
/// The arguments of `sched.scheduler(timefunc, delayfunc)`. The other settings have no counterpart
/// there.
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
    /// # Python
    ///
    /// `sched.scheduler(timefunc, delayfunc)`.
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
    #[doc(alias = "delayfunc")]
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
    /// over the network. So a sleeping run looks at the clock at least once a second: after the
    /// clock was set, an event whose time has come runs at most a second late, on every system, and
    /// none runs before the clock shows its time. The price is that a run on such a clock wakes up
    /// once a second even if nothing is due for hours. The clock of [`Scheduler::new`] cannot be
    /// set, and its runs sleep through.
    ///
    /// # Python
    ///
    /// `sched.scheduler(timefunc)`.
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
    /// # Python
    ///
    /// None: a pair of functions for simulated time.
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
    /// # Python
    ///
    /// None: always the lower one.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::{PriorityOrder, Scheduler, VirtualClock};
    ///
    /// let clock = VirtualClock::starting_at(0_u64);
    /// let builder = Scheduler::builder().virtual_clock(&clock);
    /// let s = builder.priority_order(PriorityOrder::HighestFirst).build();
    /// s.enterabs(1, 5, || println!("second"));
    /// s.enterabs(1, 9, || println!("first"));
    /// assert_eq!(s.queue()[0].priority(), 9);
    /// ```
    pub fn priority_order(mut self, order: PriorityOrder) -> Self {
        self.settings.order = order;
        self
    }

    /// Makes a run poll the clock for the last `spin` before an event, instead of sleeping up to
    /// it; by default for at most 20 µs.
    ///
    /// A sleeping thread is woken some ten microseconds late. By default a run learns that delay on
    /// this machine, and asks to be woken that much earlier; if an event is more than two
    /// milliseconds away it sleeps twice, because a short sleep ends more exactly. Then most events
    /// are late by a few microseconds, and some by the 20 to 100 µs by which two sleeps may differ.
    /// With a spin of 100 µs the thread is awake when the time comes, and events are late by a
    /// microsecond or less unless the processor is taken from it. No event ever runs early.
    ///
    /// The price is processor time: `spin` for each event that a run waits for, and none while no
    /// event is near. It applies only to the real-time delays of [`Scheduler::new`] and
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
    /// By default only the next thousand or two are kept in order, the others in buckets, which
    /// makes a scheduler with a hundred thousand events up to twice as fast, and with a million
    /// five times. But now and then a bucket is sorted or split, and the `enter` or the run that
    /// does it takes a tenth of a millisecond or two. With this setting all events are kept in one
    /// binary heap: slower on the whole, but without such pauses. Only the pauses for memory
    /// remain: the heap doubles its capacity when it is full, and when more than half of the events
    /// were cancelled, it discards their keys together.
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
    /// scheduler, so that a slow one does not delay the others.
    ///
    /// The closure decides where each is [run](Due::run): on a thread pool, for example with `move
    /// |due| pool.spawn(move || due.run()).map(drop)`. It is called in the order of the events; the
    /// executor decides the order after that. Ticks of one recurrence never overlap: the next is
    /// entered when the one before has ended.
    ///
    /// # Blocking
    ///
    /// [`run`](Scheduler::run) also waits for dispatched actions to end, for they may enter events.
    /// So do a run that was [stopped](Scheduler::stop), and the drop of the last handle: no
    /// dispatched action is lost. Only a run or a drop inside a dispatched action does not wait,
    /// because it would wait for itself. The others must not happen in a thread that the actions
    /// need, such as the only worker of their pool.
    ///
    /// With the last handle `dispatch` is dropped, with its captures: the pool, for example.
    ///
    /// # Errors
    ///
    /// An `Err` or a panic of an action comes out of `run`. If `dispatch` itself fails, that comes
    /// out of `run` too, and the [`Due`] that it dropped did not run.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let pool = ThreadPoolExecutor::new(4)?;
    /// let s = Scheduler::builder().dispatch(move |due| pool.execute(move || due.run())).build();
    /// s.enter(Duration::ZERO, 1, || println!("in a worker"));
    /// s.run()?; // returns when it has run
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn dispatch<R: Outcome>(
        mut self,
        dispatch: impl Fn(Due) -> R + Send + Sync + 'static,
    ) -> Self {
        self.dispatch = Some(Box::new(move |due| dispatch(due).into_result()));
        self
    }

    /// Sets what a run does when an action fails; by default it [stops](OnError::Stop).
    ///
    /// With [`OnError::Continue`] the error is logged, at level `error`, and the run goes on: for a
    /// [`run_forever`](Scheduler::run_forever) in the background. It applies to actions, dispatched
    /// or not, and to a dispatcher that fails. If a function of the clock fails, the run always
    /// ends.
    ///
    /// # Python
    ///
    /// None: the exception comes out of `run`.
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
    /// assert!(s.is_empty());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = ErrorPolicy::Always(on_error);
        self
    }

    /// Sets a function that decides for each error whether the run goes on.
    ///
    /// No error that it saw is logged. If it panics, the panic is logged, and the run ends with the
    /// action's error. Otherwise like [`on_error`](Self::on_error).
    ///
    /// # Threads
    ///
    /// `decide` is called in the thread of the run, without a lock held.
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

    /// Makes the scheduler.
    ///
    /// # Examples
    ///
    /// ```
    /// let s = concurrent::sched::Scheduler::builder().build(); // as `Scheduler::new()`
    /// assert!(s.is_empty());
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
