//! [`ScheduledAction`]: an action with its type erased, in place if it is small.
//!
//! A `SmallBox` does that without unsafe code of this crate's. The queue of a thread pool has a
//! hand-made table of functions instead: a task has to fit into two words there, and is called by value
//! (`futures/thread/queue/task_ref.rs`). Here captures of up to three words stay in place. If only one
//! word did, as in a `TaskRef`, an event whose action captures two would take 1,217 instructions to
//! enter and run, where it takes 920 (`.ci/instructions`, rustc 1.95).

use std::any::type_name;
use std::fmt;

use smallbox::{SmallBox, smallbox};

use crate::error::{Outcome, Result};
use crate::sched::time::clock::TimePoint;
use crate::sched::time::every::Every;
use crate::user_code;

/// The room for captures in a slot of the queue. With three words a slot is 48 bytes and a pending
/// event 72; a fourth word would make it 80.
type ActionSpace = [usize; 3];

trait Action<T: TimePoint>: Send {
    fn name(&self) -> &'static str;
    /// The recurrence; `None` for an event that runs once.
    fn every(&self) -> Option<Every<T::Delay>>;
    /// To be called once, unless it recurs.
    fn call(&mut self) -> Result<()>;
}

/// Empty after the call, because a value in a `SmallBox` can only be called by reference. If the
/// captures have a niche, such as a reference, the `Option` needs no room.
struct Once<F>(Option<F>);

impl<T: TimePoint, R: Outcome, F: FnOnce() -> R + Send> Action<T> for Once<F> {
    fn name(&self) -> &'static str {
        type_name::<F>()
    }

    fn every(&self) -> Option<Every<T::Delay>> {
        None
    }

    fn call(&mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |action| action().into_result())
    }
}

struct Recurring<D, F> {
    every: Every<D>,
    action: F,
}

impl<T: TimePoint, R: Outcome, F: FnMut() -> R + Send> Action<T> for Recurring<T::Delay, F> {
    fn name(&self) -> &'static str {
        type_name::<F>()
    }

    fn every(&self) -> Option<Every<T::Delay>> {
        Some(self.every)
    }

    fn call(&mut self) -> Result<()> {
        (self.action)().into_result()
    }
}

/// The action in a slot of the queue.
pub(crate) struct ScheduledAction<T: TimePoint>(SmallBox<dyn Action<T>, ActionSpace>);

impl<T: TimePoint> ScheduledAction<T> {
    pub(crate) fn once<R: Outcome>(action: impl FnOnce() -> R + Send + 'static) -> Self {
        Self(smallbox!(Once(Some(action))))
    }

    pub(crate) fn recurring<R: Outcome>(
        every: Every<T::Delay>,
        action: impl FnMut() -> R + Send + 'static,
    ) -> Self {
        Self(smallbox!(Recurring { every, action }))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.0.name()
    }

    pub(crate) fn recurs(&self) -> bool {
        self.0.every().is_some()
    }

    /// The recurrence, if it recurs.
    pub(crate) fn every(&self) -> Option<Every<T::Delay>> {
        self.0.every()
    }

    /// Runs the action: once, unless it recurs.
    pub(crate) fn call(&mut self) -> Result<()> {
        self.0.call()
    }

    /// Drops the action without running it. The drop of its captures may panic, and may call the
    /// scheduler, so no lock may be held.
    pub(crate) fn discard(self) {
        user_code::contain("dropping what an action captured", || drop(self));
    }
}

impl<T: TimePoint> fmt::Debug for ScheduledAction<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::ScheduledAction;
    use crate::sched::queue::event_queue::slot_size;

    #[test]
    fn a_pending_event_is_72_bytes_with_its_key() {
        assert_eq!(slot_size::<ScheduledAction<u64>>(), 48);
    }
}
