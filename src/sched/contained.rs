//! What a scheduler keeps of the user's until it is dropped.

use std::ops::Deref;

use crate::guard;

/// A function of the user's. What it captured may panic when it is dropped: that is logged, and goes
/// no further.
pub(super) struct Contained<F>(Option<F>);

impl<F> Contained<F> {
    pub(super) fn new(function: F) -> Self {
        Self(Some(function))
    }
}

impl<F> Deref for Contained<F> {
    type Target = F;

    fn deref(&self) -> &F {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        let function = self.0.take();
        guard::contain("dropping a function of a scheduler", || drop(function));
    }
}
