//! [`Map`]: the iterator that `map` returns.

mod options;
pub(crate) mod piece;

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::time::Instant;

pub use self::options::MapOptions;
pub(crate) use self::piece::{Piece, run_chunk};
use crate::error::{Error, Result};
use crate::futures::wait::wait_set::WaitSet;
use crate::sync::deadline_after;
use crate::user_code::contain;

/// The iterator that the `map` and `map_with` of an executor return; see
/// [`ThreadPoolExecutor::map`](crate::futures::ThreadPoolExecutor::map).
///
/// A call that fails yields an `Err` in its place, a failed chunk one for each of its items, and
/// the iteration goes on. It ends after the last result, after [`Error::Timeout`] or
/// [`Error::Deadlock`], or after the error of an executor that takes no more calls. It moves
/// results out and keeps none.
///
/// Dropping it cancels the calls that have not started.
///
/// # Python
///
/// The iterator that `Executor.map` returns. There a failed call ends the iteration (up to 3.15),
/// and an iterator that was never advanced cancels nothing.
///
/// # Examples
///
/// ```
/// use concurrent::futures::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let mut inverses = pool.map(|n: u32| 100 / n, [5, 0, 20]);
/// assert_eq!(inverses.next().expect("5")?, 20);
/// assert!(inverses.next().expect("0").unwrap_err().is_call_failure()); // it panicked
/// assert_eq!(inverses.next().expect("20")?, 5);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[must_use = "dropping a map cancels its calls"]
pub struct Map<'a, R> {
    calls: MapCalls<R>,
    /// A call that is done. It stays here while the next one is submitted, which may panic.
    done: Option<Piece<R>>,
    /// Submits the next call; `None` when all were submitted.
    source: Option<PieceSource<'a, R>>,
    /// The results that are left of the latest chunk.
    rest: std::vec::IntoIter<Result<R>>,
    /// Why no more calls could be submitted; yielded after the results.
    refusal: Option<Error>,
    deadline: Option<Instant>,
    submitted: usize,
}

type PieceSource<'a, R> = Box<dyn FnMut() -> Option<Result<Piece<R>>> + Send + 'a>;

enum MapCalls<R> {
    Ordered(VecDeque<Piece<R>>),
    Unordered(WaitSet<Piece<R>>),
}

impl<R> Map<'static, R> {
    /// Submits everything now.
    pub(crate) fn eager(
        options: &MapOptions,
        mut source: impl FnMut() -> Option<Result<Piece<R>>>,
    ) -> Self {
        let mut map = Map::empty(options);
        while map.accept(source()) {}
        map
    }
}

impl<'a, R> Map<'a, R> {
    /// Submits everything now, or as much as the buffer allows; fails if the first call is refused.
    pub(crate) fn start(
        options: &MapOptions,
        mut source: impl FnMut() -> Option<Result<Piece<R>>> + Send + 'a,
    ) -> Result<Self> {
        let Some(ahead) = options.buffer_size else {
            return Map::eager(options, source).unless_refused();
        };
        let mut map = Map::empty(options);
        for _ in 0..ahead {
            if !map.accept(source()) {
                return map.unless_refused();
            }
        }
        map.source = Some(Box::new(source));
        Ok(map)
    }

    fn unless_refused(mut self) -> Result<Self> {
        match self.refusal.take_if(|_| self.submitted == 0) {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    fn empty(options: &MapOptions) -> Self {
        let calls = if options.unordered {
            MapCalls::Unordered(WaitSet::new())
        } else {
            MapCalls::Ordered(VecDeque::new())
        };
        let deadline = options.timeout.and_then(deadline_after);
        let rest = Vec::new().into_iter();
        Self { calls, done: None, source: None, rest, refusal: None, deadline, submitted: 0 }
    }

    /// Takes a call in; false if there is none or no more can come.
    fn accept(&mut self, piece: Option<Result<Piece<R>>>) -> bool {
        match piece {
            Some(Ok(piece)) => {
                self.submitted += 1;
                match &mut self.calls {
                    MapCalls::Ordered(pieces) => pieces.push_back(piece),
                    MapCalls::Unordered(pieces) => pieces.insert(piece),
                }
                true
            }
            Some(Err(error)) => {
                self.refusal = Some(error);
                false
            }
            None => false,
        }
    }

    fn submit_one_more(&mut self) {
        if let Some(mut source) = self.source.take() {
            let piece = source();
            if self.accept(piece) {
                self.source = Some(source);
            }
        }
    }

    /// The next call that is done; `None` if there is none.
    fn next_done(&mut self) -> Result<Option<Piece<R>>> {
        match &mut self.calls {
            MapCalls::Ordered(pieces) => match pieces.front() {
                Some(piece) => {
                    piece.wait_until(self.deadline)?;
                    Ok(pieces.pop_front())
                }
                None => Ok(None),
            },
            MapCalls::Unordered(pieces) => match pieces.next_done(self.deadline)? {
                None if !pieces.is_empty() => {
                    Err(Error::Timeout { unfinished: pieces.left(), total: pieces.left() })
                }
                next => Ok(next),
            },
        }
    }

    /// Gives up after a wait that failed.
    fn give_up(&mut self, error: Error) -> Error {
        // At least the call that was waited for, even if it has ended since.
        let unfinished = self.pieces().filter(|piece| !piece.done()).count().max(1);
        self.cancel_all();
        match error {
            Error::Timeout { .. } => Error::Timeout { unfinished, total: self.submitted },
            other => other,
        }
    }

    fn pieces(&self) -> Box<dyn Iterator<Item = &Piece<R>> + '_> {
        match &self.calls {
            MapCalls::Ordered(pieces) => Box::new(pieces.iter()),
            MapCalls::Unordered(pieces) => Box::new(pieces.iter()),
        }
    }

    fn cancel_all(&mut self) {
        self.refusal = None;
        self.pieces().for_each(Piece::cancel);
        // The items are user values, and so are the values of ended calls.
        let source = self.source.take();
        contain("dropping the items of a map", || drop(source));
        self.done = None;
        match &mut self.calls {
            MapCalls::Ordered(pieces) => pieces.clear(),
            MapCalls::Unordered(pieces) => *pieces = WaitSet::new(),
        }
    }
}

impl<R> Iterator for Map<'_, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        loop {
            if let Some(result) = self.rest.next() {
                return Some(result);
            }
            if self.done.is_none() {
                match self.next_done() {
                    Ok(piece) => self.done = piece,
                    Err(error) => return Some(Err(self.give_up(error))),
                }
            }
            if self.done.is_none() {
                return self.refusal.take().map(Err);
            }
            self.submit_one_more();
            let results = self.done.take().and_then(|piece| piece.into_results(&mut self.rest));
            if results.is_some() {
                return results;
            }
        }
    }
}

impl<R> FusedIterator for Map<'_, R> {}

impl<R> Drop for Map<'_, R> {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

impl<R> fmt::Debug for Map<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("submitted", &self.submitted)
            .field("waiting", &self.pieces().count())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
