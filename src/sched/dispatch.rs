//! Running due actions somewhere else. See [`Due`].

use std::fmt;
use std::sync::Arc;

use super::clock::TimePoint;
use super::shared::{Shared, Taken};
use crate::error::Result;
use crate::sync::current_thread;

/// The closure given to [`dispatch`](super::SchedulerBuilder::dispatch).
pub(super) type Dispatch = Box<dyn Fn(Due) -> Result<()> + Send + Sync>;

/// A due action on its way to the thread that will run it: what the closure given to
/// [`dispatch`](super::SchedulerBuilder::dispatch) receives.
///
/// # Drop
///
/// Dropped instead of run, its action does not run: a single event is gone, a recurrence goes on
/// with its next tick.
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
pub struct Due(Box<dyn Flight>);

impl Due {
    pub(super) fn new<T: TimePoint>(shared: Arc<Shared<T>>, taken: Taken<T>) -> Self {
        Self(Box::new(Dispatched { shared, taken: Some(taken) }))
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

    /// Returns the type name of the action, as [`Event::name`](super::Event::name) does.
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

/// A [`Dispatched`] without the scheduler's time type, which executors need not know.
trait Flight: Send {
    fn run(self: Box<Self>);
    fn name(&self) -> &'static str;
}

struct Dispatched<T: TimePoint> {
    shared: Arc<Shared<T>>,
    /// `None` once it ran.
    taken: Option<Taken<T>>,
}

impl<T: TimePoint> Dispatched<T> {
    fn keep_failure(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.shared.state.lock().failures.push_back(error);
        }
    }
}

impl<T: TimePoint> Flight for Dispatched<T> {
    fn run(mut self: Box<Self>) {
        if let Some(taken) = self.taken.take() {
            let thread = current_thread();
            self.shared.state.lock().inside.push(thread);
            let outcome = self.shared.perform(taken);
            {
                let inside = &mut self.shared.state.lock().inside;
                inside.iter().rposition(|other| *other == thread).map(|at| inside.swap_remove(at));
            }
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
            let outcome = self.shared.enter_again(taken);
            self.keep_failure(outcome);
        }
        self.shared.state.lock().in_flight -= 1;
        self.shared.changed.notify_all();
    }
}
