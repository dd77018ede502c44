//! [`Map`]: the iterator that `map` returns.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::dependency::Dependency;
use super::call::waiters::Signal;
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::wait::wait_set::{Member, WaitSet, unwatch, watch};
use crate::sync::deadline_after;
use crate::user_code::{catch, contain};

/// The options of `map_with`; by default it does as `map`.
///
/// # Python
///
/// The arguments `timeout`, `chunksize` and `buffersize` of `Executor.map`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{MapOptions, ThreadPoolExecutor};
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let options = MapOptions::new().chunk_size(100).unordered(true);
/// let sum: u64 = pool.map_with(options, |n: u64| n, 0..1000)?.sum::<Result<_, _>>()?;
/// assert_eq!(sum, 499_500);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "pass them to map_with"]
pub struct MapOptions {
    timeout: Option<Duration>,
    chunk_size: Option<usize>,
    buffer_size: Option<usize>,
    unordered: bool,
}

impl MapOptions {
    /// Makes the default options: no time limit, one call for each item, everything submitted at
    /// once, results in the order of the items.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{MapOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let lengths = pool.map_with(MapOptions::new(), str::len, ["one", "three"])?;
    /// assert!(lengths.flatten().eq([3, 5])); // as `map`
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the iteration with [`Error::Timeout`] when this much time has passed since `map_with`
    /// was called.
    ///
    /// Calls that have not started then are cancelled.
    ///
    /// # Python
    ///
    /// `map(..., timeout=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{MapOptions, ThreadPoolExecutor};
    /// use std::{sync::mpsc, sync::Mutex, time::Duration};
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let (_open, gate) = mpsc::channel::<()>();
    /// let gate = Mutex::new(gate);
    /// let options = MapOptions::new().timeout(Duration::from_millis(1));
    /// let mut waits = pool.map_with(options, move |()| gate.lock().unwrap().recv().is_ok(), [(), ()])?;
    /// assert!(waits.next().expect("an item").unwrap_err().is_timeout());
    /// assert!(waits.next().is_none());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Puts this many items into one call, which makes short calls cheaper.
    ///
    /// An item that panics does not affect the others. The death of a worker process, or a passed
    /// `call_deadline`, fails the whole chunk.
    ///
    /// # Python
    ///
    /// `map(..., chunksize=...)`, which there has no effect on threads.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{MapOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let halves = pool.map_with(MapOptions::new().chunk_size(25), |n: u32| n / 2, 0..100)?;
    /// assert_eq!(halves.count(), 100); // of four calls
    /// assert_eq!(pool.stats().finished, 4);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, items: usize) -> Self {
        self.chunk_size = Some(items);
        self
    }

    /// Submits at most this many calls ahead of the iteration, so that the items may be endless.
    ///
    /// Each `next` submits one more call before it waits.
    ///
    /// # Python
    ///
    /// `map(..., buffersize=...)` of 3.14.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{MapOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let squares = pool.map_with(MapOptions::new().buffer_size(4), |n: u64| n * n, 0..)?;
    /// let large = squares.flatten().find(|square| *square > 50);
    /// assert_eq!(large, Some(64));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "buffersize")]
    pub fn buffer_size(mut self, calls: usize) -> Self {
        self.buffer_size = Some(calls);
        self
    }

    /// Sets whether to yield results in the order in which the calls end, not in that of the items.
    ///
    /// # Python
    ///
    /// None in `concurrent.futures`; `multiprocessing.Pool.imap_unordered`, and `unordered=True` in
    /// mpi4py.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{MapOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let results = pool.map_with(MapOptions::new().unordered(true), |n: u32| n * n, 1..=3)?;
    /// let mut squares = results.collect::<Result<Vec<_>, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "imap_unordered")]
    pub fn unordered(mut self, unordered: bool) -> Self {
        self.unordered = unordered;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |text: &'static str| Err(Error::InvalidArgument(text.into()));
        match (self.chunk_size, self.buffer_size) {
            (Some(0), _) => wrong("chunksize must be >= 1."),
            (_, Some(0)) => wrong("buffersize must be None or > 0"),
            _ => Ok(()),
        }
    }

    pub(crate) fn chunk(&self) -> usize {
        self.chunk_size.unwrap_or(1)
    }
}

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
    fn wait_until(&self, deadline: Option<Instant>) -> Result<()> {
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

    fn cancel(&self) {
        match self {
            Self::One(call) => call.cancel(),
            Self::Chunk(call, _) => call.cancel(),
        };
    }

    /// The results; of a chunk, all but the first go to `rest`.
    fn into_results(self, rest: &mut std::vec::IntoIter<Result<R>>) -> Option<Result<R>> {
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
        Self { calls, source: None, rest, refusal: None, deadline, submitted: 0 }
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
            self.submit_one_more();
            match self.next_done() {
                Ok(Some(piece)) => {
                    if let Some(result) = piece.into_results(&mut self.rest) {
                        return Some(result);
                    }
                }
                Ok(None) => return self.refusal.take().map(Err),
                Err(error) => return Some(Err(self.give_up(error))),
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
