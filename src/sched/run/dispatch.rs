//! [`Due`]: a due action that another thread runs.

use std::fmt;
use std::sync::Arc;

use super::on_error::Failure;
use crate::error;
use crate::sched::shared::{PoppedAction, SchedulerCore};
use crate::sched::time::clock::TimePoint;

/// The closure given to [`dispatch`](crate::sched::SchedulerBuilder::dispatch).
pub(crate) type Dispatch = Box<dyn Fn(Due) -> error::Result<()> + Send + Sync>;

/// A due action on its way to the thread that will run it: the argument of the closure given to
/// [`dispatch`](crate::sched::SchedulerBuilder::dispatch).
///
/// # Drop
///
/// Dropped instead of run, its action does not run: a single event is gone, a recurrence goes on
/// with its next tick.
///
/// Until it has run or was dropped, `run` does not return, nor does a run that was stopped, nor the
/// drop of the last handle of its scheduler. So do not keep one in the thread that waits there.
///
/// # Examples
///
/// ```
/// use concurrent::sched::Scheduler;
/// use std::{thread, time::Duration};
///
/// let s = Scheduler::builder()
///     .dispatch(|due| {
///         thread::spawn(move || due.run());
///     })
///     .build();
/// let runner = thread::current().id();
/// s.enter(Duration::ZERO, 1, move || assert_ne!(thread::current().id(), runner));
/// s.run()?;
/// # Ok::<(), concurrent::Error>(())
/// ```
#[must_use = "dropping it drops the action unrun"]
pub struct Due(Box<dyn DispatchedAction>);

impl Due {
    pub(crate) fn new<T: TimePoint>(
        shared: Arc<SchedulerCore<T>>,
        stops: u64,
        taken: PoppedAction<T>,
    ) -> Self {
        Self(Box::new(Dispatched { shared, stops, taken: Some(taken) }))
    }

    /// Runs the action on this thread.
    ///
    /// An `Err` or a panic of the action goes to the thread that runs the scheduler and comes out
    /// of its `run`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// let s = Scheduler::builder().dispatch(|due| due.run()).build();
    /// s.enter(Duration::ZERO, 1, || Err("no milk"));
    /// assert_eq!(s.run().unwrap_err().to_string(), "the call returned an error: no milk");
    /// ```
    pub fn run(self) {
        self.0.run();
    }

    /// Returns the type name of the action, as [`Event::name`](crate::sched::Event::name) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Scheduler;
    /// use std::time::Duration;
    ///
    /// fn feed_the_cat() {}
    ///
    /// let s = Scheduler::builder()
    ///     .dispatch(|due| assert!(due.name().ends_with("feed_the_cat")))
    ///     .build();
    /// s.enter(Duration::ZERO, 1, feed_the_cat);
    /// s.run()?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name()
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Due").field("name", &self.name()).finish()
    }
}

/// A [`Dispatched`] with the scheduler's time type erased.
trait DispatchedAction: Send {
    fn run(self: Box<Self>);
    fn name(&self) -> &'static str;
}

struct Dispatched<T: TimePoint> {
    shared: Arc<SchedulerCore<T>>,
    /// How often the scheduler had been stopped when the action was dispatched.
    stops: u64,
    /// `None` once it has run.
    taken: Option<PoppedAction<T>>,
}

impl<T: TimePoint> Dispatched<T> {
    fn keep_failure(&self, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.shared.state.lock().failures.push_back(failure);
        }
    }
}

impl<T: TimePoint> DispatchedAction for Dispatched<T> {
    fn run(mut self: Box<Self>) {
        if let Some(taken) = self.taken.take() {
            self.shared.state.lock().dispatched.enter();
            let outcome = self.shared.perform(taken);
            self.shared.state.lock().dispatched.leave();
            self.keep_failure(outcome);
        }
    }

    fn name(&self) -> &'static str {
        self.taken.as_ref().map_or("", |taken| taken.action.name())
    }
}

impl<T: TimePoint> Drop for Dispatched<T> {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            let name = taken.action.name();
            let outcome = self.shared.enter_again(taken);
            self.keep_failure(outcome.map_err(|error| Failure { name, error }));
        }
        self.shared.state.lock().dispatched.end(self.stops);
        self.shared.changed.notify_all();
    }
}
