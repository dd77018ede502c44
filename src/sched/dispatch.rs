//! Running due actions somewhere else. See [`Due`].

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::action::Job;
use super::clock::TimePoint;
use super::shared::{Shared, Taken};
use crate::error::Result;

/// The closure given to [`dispatch`](super::SchedulerBuilder::dispatch).
pub(super) type Dispatch = Box<dyn Fn(Due) -> Result<()> + Send + Sync>;

thread_local! {
    /// The schedulers whose dispatched actions this thread is inside of.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Tells whether this thread is running a dispatched action of the scheduler: if so, a nested run
/// must not wait for dispatched actions to end, because it would wait for itself.
pub(super) fn is_inside(scheduler: usize) -> bool {
    INSIDE.try_with(|inside| inside.borrow().contains(&scheduler)).unwrap_or(false)
}

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
            let scheduler = self.shared.origin.scheduler;
            // A thread that is being torn down has no thread-locals; it is not inside of anything.
            let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(scheduler));
            let outcome = self.shared.perform(taken);
            let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
            self.keep_failure(outcome);
        }
    }

    fn name(&self) -> &'static str {
        self.taken.as_ref().map_or("", |taken| taken.job.name())
    }
}

impl<T: TimePoint> Drop for Dispatched<T> {
    fn drop(&mut self) {
        if let Some(Taken { key, ticket, job }) = self.taken.take() {
            match job {
                Job::Once(_) => job.discard(),
                Job::Every(recurrence) => {
                    let outcome = self.shared.enter_again(&key, ticket, recurrence);
                    self.keep_failure(outcome);
                }
            }
        }
        self.shared.state.lock().in_flight -= 1;
        self.shared.changed.notify_all();
    }
}
