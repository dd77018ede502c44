//! Actions with their types forgotten.

use std::any::type_name;
use std::fmt;

use super::clock::TimePoint;
use super::recurring::Recurrence;
use crate::error::{Outcome, Result};
use crate::guard;

/// The action of an event that runs once.
pub(super) trait Action: Send {
    fn name(&self) -> &'static str;
    fn call(self: Box<Self>) -> Result<()>;
}

impl<R: Outcome, F: FnOnce() -> R + Send> Action for F {
    fn name(&self) -> &'static str {
        type_name::<F>()
    }

    fn call(self: Box<Self>) -> Result<()> {
        self().into_result()
    }
}

/// The action of an event that recurs.
pub(super) trait Tick: Send {
    fn name(&self) -> &'static str;
    fn call(&mut self) -> Result<()>;
}

impl<R: Outcome, F: FnMut() -> R + Send> Tick for F {
    fn name(&self) -> &'static str {
        type_name::<F>()
    }

    fn call(&mut self) -> Result<()> {
        self().into_result()
    }
}

/// What a slot of the queue holds.
pub(super) enum Job<T: TimePoint> {
    Once(Box<dyn Action>),
    Every(Box<Recurrence<T>>),
}

impl<T: TimePoint> Job<T> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Once(action) => action.name(),
            Self::Every(recurrence) => recurrence.action.name(),
        }
    }

    pub(super) fn recurs(&self) -> bool {
        matches!(self, Self::Every(_))
    }

    /// Drops the action unrun. Its captures are the user's: they may panic, and may call the
    /// scheduler, so no lock may be held.
    pub(super) fn discard(self) {
        guard::contain("dropping what an action captured", || drop(self));
    }
}

impl<T: TimePoint> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
