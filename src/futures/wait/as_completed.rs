//! [`as_completed`]: calls in the order in which they are done.

use std::borrow::Borrow;
use std::fmt;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

use super::wait_set::WaitSet;
use super::{WaitHandle, distinct};
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::sync::deadline_after;

/// Yields calls as they finish, fail or are cancelled; those that are done already come first.
///
/// It takes anything that yields futures, or borrows them: `Future<T>`, `&Future<T>`,
/// `Arc<Future<T>>`. It yields the same handles, each call once, and keeps none that it has
/// yielded. Calls of several executors may be mixed. The cost is linear in the number of calls.
///
/// # Blocking
///
/// `next` blocks until a further call is done. Dropping the iterator early cancels nothing.
///
/// Inside of a call: if otherwise none of the calls can move, `next` first [runs in
/// place](crate::futures#waiting-inside-of-calls) one that waits for this very worker. If none of
/// those that are left can ever be done, they are yielded undone, and their `result` is
/// [`Error::Deadlock`].
///
/// # Python
///
/// `concurrent.futures.as_completed(fs)`; with a timeout it is [`as_completed_timeout`]. Here a
/// cancelled future is yielded at once.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{as_completed, ThreadPoolExecutor};
/// use std::collections::HashMap;
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let mut word_of = HashMap::new();
/// for word in ["one", "three"] {
///     word_of.insert(pool.submit(str::len, word)?, word);
/// }
/// for future in as_completed(word_of.keys()) {
///     assert_eq!(*future.result()?, word_of[future].len());
/// }
/// # Ok::<(), concurrent::Error>(())
/// ```
pub fn as_completed<T, H: Borrow<Future<T>>>(
    futures: impl IntoIterator<Item = H>,
) -> AsCompleted<T, H> {
    AsCompleted::new(futures)
}

/// Like [`as_completed`], for at most `timeout` from this call.
///
/// When time is up, the iterator yields [`Error::Timeout`] with the number of unfinished calls, and
/// ends. Calls that are done when `next` is called come first, even after time is up: the error
/// comes when the next call would have to be waited for.
///
/// # Blocking
///
/// `next` blocks until a further call is done or time is up. It runs no call in place.
///
/// # Python
///
/// `concurrent.futures.as_completed(fs, timeout)`, which raises as soon as time is up, whatever is
/// done by then, and starts its clock at the first `next`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{as_completed_timeout, Promise};
/// use std::time::Duration;
///
/// let (promise, done) = Promise::pair();
/// let (_promise, pending) = Promise::pair();
/// promise.set_result(())?;
/// let mut calls = as_completed_timeout([&done, &pending], Duration::ZERO);
/// assert_eq!(calls.next().unwrap()?, &done);
/// let error = calls.next().unwrap().unwrap_err();
/// assert_eq!(error.to_string(), "1 (of 2) futures unfinished");
/// assert!(calls.next().is_none());
/// # Ok::<(), concurrent::Error>(())
/// ```
pub fn as_completed_timeout<T, H: Borrow<Future<T>>>(
    futures: impl IntoIterator<Item = H>,
    timeout: Duration,
) -> AsCompletedTimeout<T, H> {
    let deadline = deadline_after(timeout);
    AsCompletedTimeout { calls: AsCompleted::new(futures), deadline, expired: false }
}

/// The iterator that [`as_completed`] returns.
///
/// Its length is the number of calls that it has not yielded.
///
/// # Examples
///
/// ```
/// # use concurrent::futures::{ThreadPoolExecutor, as_completed};
/// let pool = ThreadPoolExecutor::new(2)?;
/// let mut calls = as_completed([pool.spawn(|| 1)?, pool.spawn(|| 2)?]);
/// let first = calls.next().expect("two calls");
/// assert!(first.done());
/// assert_eq!(calls.len(), 1);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[must_use = "iterators are lazy"]
pub struct AsCompleted<T, H: Borrow<Future<T>>> {
    calls: WaitSet<WaitHandle<T, H>>,
    total: usize,
}

impl<T, H: Borrow<Future<T>>> AsCompleted<T, H> {
    fn new(futures: impl IntoIterator<Item = H>) -> Self {
        let calls = WaitSet::of(distinct(futures).into_iter().map(WaitHandle::new));
        Self { total: calls.left(), calls }
    }
}

impl<T, H: Borrow<Future<T>>> Iterator for AsCompleted<T, H> {
    type Item = H;

    fn next(&mut self) -> Option<H> {
        let next = match self.calls.next_done(None) {
            Ok(done) => done,
            Err(_) => self.calls.take_stuck(),
        };
        next.map(|handle| handle.handle)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.calls.left(), Some(self.calls.left()))
    }
}

impl<T, H: Borrow<Future<T>>> ExactSizeIterator for AsCompleted<T, H> {}
impl<T, H: Borrow<Future<T>>> FusedIterator for AsCompleted<T, H> {}

impl<T, H: Borrow<Future<T>>> fmt::Debug for AsCompleted<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.calls.iter().filter(|handle| handle.is_done()).count();
        f.debug_struct("AsCompleted")
            .field("ready", &ready)
            .field("unfinished", &(self.calls.left() - ready))
            .finish_non_exhaustive()
    }
}

/// The iterator that [`as_completed_timeout`] returns.
///
/// # Examples
///
/// ```
/// # use concurrent::futures::{ThreadPoolExecutor, as_completed_timeout};
/// # use std::time::Duration;
/// let pool = ThreadPoolExecutor::new(2)?;
/// let calls = [pool.spawn(|| 1)?, pool.spawn(|| 2)?];
/// for call in as_completed_timeout(calls, Duration::from_secs(60)) {
///     assert!(call?.done()); // or time is up
/// }
/// # Ok::<(), concurrent::Error>(())
/// ```
#[must_use = "iterators are lazy"]
pub struct AsCompletedTimeout<T, H: Borrow<Future<T>>> {
    calls: AsCompleted<T, H>,
    deadline: Option<Instant>,
    expired: bool,
}

impl<T, H: Borrow<Future<T>>> Iterator for AsCompletedTimeout<T, H> {
    type Item = Result<H>;

    fn next(&mut self) -> Option<Result<H>> {
        if self.expired {
            return None;
        }
        let calls = &mut self.calls.calls;
        let next = match calls.next_done(self.deadline) {
            Ok(Some(handle)) => return Some(Ok(handle.handle)),
            Ok(None) if calls.is_empty() => return None,
            Ok(None) => Error::Timeout { unfinished: calls.left(), total: self.calls.total },
            Err(error) => error,
        };
        self.expired = true;
        Some(Err(next))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Time may run out before any, and the error takes the place of the first unfinished one.
        if self.expired {
            (0, Some(0))
        } else {
            let left = self.calls.calls.left();
            (left.min(1), Some(left))
        }
    }
}

impl<T, H: Borrow<Future<T>>> FusedIterator for AsCompletedTimeout<T, H> {}

impl<T, H: Borrow<Future<T>>> fmt::Debug for AsCompletedTimeout<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompletedTimeout")
            .field("calls", &self.calls)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
