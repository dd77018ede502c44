//! Actions with their types forgotten.

use std::any::type_name;
use std::fmt;

use smallbox::space::S4;
use smallbox::{SmallBox, smallbox};

use super::clock::TimePoint;
use super::recurring::Recurrence;
use crate::error::{Outcome, Result};
use crate::guard;

/// The action of an event that runs once.
pub(super) trait Action: Send {
    fn name(&self) -> &'static str;
    /// Called once.
    fn call(&mut self) -> Result<()>;
}

/// Empty after the call: what is kept in place can only be called by reference.
struct Once<F>(Option<F>);

impl<R: Outcome, F: FnOnce() -> R + Send> Action for Once<F> {
    fn name(&self) -> &'static str {
        type_name::<F>()
    }

    fn call(&mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |action| action().into_result())
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
    /// In place if it captured at most four words; then the slot is one cache line.
    Once(SmallBox<dyn Action, S4>),
    Every(Box<Recurrence<T>>),
}

impl<T: TimePoint> Job<T> {
    pub(super) fn once<R: Outcome>(action: impl FnOnce() -> R + Send + 'static) -> Self {
        Self::Once(smallbox!(Once(Some(action))))
    }

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

#[cfg(test)]
mod tests {
    use super::Job;

    #[test]
    fn an_action_in_place_leaves_room_for_its_key_in_a_cache_line() {
        assert!(size_of::<Job<std::time::Instant>>() <= 56);
    }
}
