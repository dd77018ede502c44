//! [`Piece`]: what a map submits as one call, an item or a chunk of them.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::dependency::Dependency;
use crate::futures::call::waiters::Signal;
use crate::futures::wait::wait_set::{Member, unwatch, watch};
use crate::user_code::catch;

/// One call of a map: for one item, or for a chunk of them.
pub(crate) enum Piece<R> {
    One(Future<R>),
    /// With the number of its items.
    Chunk(Future<Vec<Result<R>>>, usize),
}

impl<R> From<Future<R>> for Piece<R> {
    fn from(call: Future<R>) -> Self {
        Self::One(call)
    }
}

impl<R> Piece<R> {
    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> Result<()> {
        match self {
            Self::One(call) => call.wait_done(deadline),
            Self::Chunk(call, _) => call.wait_done(deadline),
        }
    }

    pub(crate) fn done(&self) -> bool {
        match self {
            Self::One(call) => call.done(),
            Self::Chunk(call, _) => call.done(),
        }
    }

    pub(super) fn cancel(&self) {
        match self {
            Self::One(call) => call.cancel(),
            Self::Chunk(call, _) => call.cancel(),
        };
    }

    /// The results; of a chunk, all but the first go to `rest`.
    pub(super) fn into_results(
        self,
        rest: &mut std::vec::IntoIter<Result<R>>,
    ) -> Option<Result<R>> {
        match self {
            Self::One(call) => Some(call.into_result()),
            Self::Chunk(call, items) => {
                let results = call.into_result().unwrap_or_else(|error| fail_each(&error, items));
                *rest = results.into_iter();
                rest.next()
            }
        }
    }
}

impl<R> Member for Piece<R> {
    type Owner = ();

    fn watch(&self, signal: &Arc<Signal>, index: usize) -> bool {
        match self {
            Self::One(call) => watch(call.call(), signal, index),
            Self::Chunk(call, _) => watch(call.call(), signal, index),
        }
    }

    fn unwatch(&self, signal: &Arc<Signal>) {
        match self {
            Self::One(call) => unwatch(call.call(), signal),
            Self::Chunk(call, _) => unwatch(call.call(), signal),
        }
    }

    /// No code of the user's is between a piece and its call.
    fn owner(&self) {}

    fn call(&self, _: Option<&()>) -> &dyn Dependency {
        match self {
            Self::One(call) => call.call(),
            Self::Chunk(call, _) => call.call(),
        }
    }
}

/// Each item fails as its chunk does, so that results stay in line with items.
pub(crate) fn fail_each<R>(error: &Error, items: usize) -> Vec<Result<R>> {
    (0..items).map(|_| Err(error.clone())).collect()
}

/// Calls `function` with each item of a chunk; a panic is the failure of its item only.
pub(crate) fn run_chunk<A, R>(function: &impl Fn(A) -> R, chunk: Vec<A>) -> Vec<Result<R>> {
    chunk.into_iter().map(|item| catch(|| function(item)).map_err(Error::Panicked)).collect()
}
