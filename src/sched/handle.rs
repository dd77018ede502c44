//! What the handles of one scheduler own, and no action on its way does.

use std::ops::Deref;
use std::sync::Arc;

use super::action::Job;
use super::clock::TimePoint;
use super::contained::Contained;
use super::dispatch::{Dispatch, Due};
use super::on_error::{ErrorPolicy, Failure};
use super::shared::{Shared, Taken};
use crate::error::Error;
use crate::guard;
use crate::sync::wait_until;

/// With the last handle the scheduler ends. A [`Due`] keeps the [`Shared`] alive but not this: or the
/// pool that `dispatch` captured would be kept by its own calls.
pub(super) struct Handle<T: TimePoint> {
    shared: Arc<Shared<T>>,
    pub(super) dispatch: Option<Contained<Dispatch>>,
    pub(super) on_error: ErrorPolicy,
}

impl<T: TimePoint> Handle<T> {
    pub(super) fn new(
        shared: Shared<T>,
        dispatch: Option<Dispatch>,
        on_error: ErrorPolicy,
    ) -> Self {
        Self { shared: Arc::new(shared), dispatch: dispatch.map(Contained::new), on_error }
    }

    /// Runs the action of `taken`, here or where `dispatch` sends it. So many stops were before.
    #[inline]
    pub(super) fn execute(&self, taken: Taken<T>, stops: u64) -> Result<(), Failure> {
        match &self.dispatch {
            None => self.perform(taken),
            Some(dispatch) => {
                let name = taken.action.name();
                let due = Due::new(Arc::clone(&self.shared), stops, taken);
                let dispatched = guard::catch(|| dispatch(due)).map_err(Error::Panicked);
                dispatched.and_then(|outcome| outcome).map_err(|error| Failure { name, error })
            }
        }
    }
}

impl<T: TimePoint> Deref for Handle<T> {
    type Target = Shared<T>;

    fn deref(&self) -> &Shared<T> {
        &self.shared
    }
}

impl<T: TimePoint> Drop for Handle<T> {
    /// Waits for what was dispatched, so that it is not lost with the end of the program.
    fn drop(&mut self) {
        let (jobs, _) = self.state.lock().queue.clear();
        jobs.into_iter().for_each(Job::discard);
        if self.dispatch.is_none() {
            return;
        }
        let mut state = self.state.lock();
        while !state.flights.have_landed() {
            wait_until(&self.changed, &mut state, None);
        }
    }
}
