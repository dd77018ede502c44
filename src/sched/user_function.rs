//! [`UserFunction`]: a function that a scheduler keeps until it is dropped.

use std::ops::Deref;

use crate::user_code;

/// A function of the user's. Its captures may panic when they are dropped: that is logged, and goes
/// no further.
pub(crate) struct UserFunction<F>(Option<F>);

impl<F> UserFunction<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Some(function))
    }
}

impl<F> Deref for UserFunction<F> {
    type Target = F;

    fn deref(&self) -> &F {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<F> Drop for UserFunction<F> {
    fn drop(&mut self) {
        let function = self.0.take();
        user_code::contain("dropping a function of a scheduler", || drop(function));
    }
}
