//! [`OwnedScheduler`]: the part of a scheduler that its handles own, and dispatched actions do not.

use std::ops::Deref;
use std::sync::Arc;

use super::run::action::ScheduledAction;
use super::run::dispatch::{Dispatch, Due};
use super::run::on_error::{ErrorPolicy, Failure};
use super::shared::{PoppedAction, SchedulerCore};
use super::time::clock::TimePoint;
use super::user_function::UserFunction;
use crate::error::Error;
use crate::sync::wait_until;
use crate::user_code;

/// With the last handle the scheduler ends. A [`Due`] keeps the [`SchedulerCore`] alive but not
/// this: or the pool that `dispatch` captured would be kept by its own calls.
pub(crate) struct OwnedScheduler<T: TimePoint> {
    shared: Arc<SchedulerCore<T>>,
    pub(crate) dispatch: Option<UserFunction<Dispatch>>,
    pub(crate) on_error: ErrorPolicy,
}

impl<T: TimePoint> OwnedScheduler<T> {
    pub(crate) fn new(
        shared: SchedulerCore<T>,
        dispatch: Option<Dispatch>,
        on_error: ErrorPolicy,
    ) -> Self {
        Self { shared: Arc::new(shared), dispatch: dispatch.map(UserFunction::new), on_error }
    }

    /// Runs the action of `taken`, here or where `dispatch` sends it. So many stops were before.
    #[inline]
    pub(crate) fn execute(&self, taken: PoppedAction<T>, stops: u64) -> Result<(), Failure> {
        match &self.dispatch {
            None => self.perform(taken),
            Some(dispatch) => {
                let name = taken.action.name();
                let due = Due::new(Arc::clone(&self.shared), stops, taken);
                let dispatched = user_code::catch(|| dispatch(due)).map_err(Error::Panicked);
                dispatched.and_then(|outcome| outcome).map_err(|error| Failure { name, error })
            }
        }
    }
}

impl<T: TimePoint> Deref for OwnedScheduler<T> {
    type Target = SchedulerCore<T>;

    fn deref(&self) -> &SchedulerCore<T> {
        &self.shared
    }
}

impl<T: TimePoint> Drop for OwnedScheduler<T> {
    /// Waits for what was dispatched, so that it is not lost with the end of the program.
    fn drop(&mut self) {
        let (jobs, _) = self.state.lock().queue.clear();
        jobs.into_iter().for_each(ScheduledAction::discard);
        if self.dispatch.is_none() {
            return;
        }
        let mut state = self.state.lock();
        while !state.dispatched.have_all_ended() {
            wait_until(&self.changed, &mut state, None);
        }
    }
}
