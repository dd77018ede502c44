//! [`as_completed`]: calls in the order in which they are done.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::awaited;
use crate::futures::call::job::help;
use crate::futures::call::waiter::{Signal, Until, Waiter};
use crate::futures::deadlock::{self, Goal};
use crate::futures::wait::distinct;
use crate::sync::deadline_after;

/// Yields calls as they finish, fail or are cancelled; those that are done already first.
///
/// Takes anything that yields futures, or what borrows one: `Future<T>`, `&Future<T>`,
/// `Arc<Future<T>>`. The same handles come back, each call once; a yielded handle is not kept.
/// Calls of several executors may be mixed. The cost is linear in the number of calls.
///
/// # Blocking
///
/// `next` blocks until a further call is done. Dropping the iterator early cancels nothing.
///
/// Inside of a call: calls that wait for this very worker are run in place. If none of those that
/// are left can ever be done, they are yielded undone, and their `result` is
/// [`Error::Deadlock`].
///
/// # Python
///
/// `concurrent.futures.as_completed`; a cancelled future is yielded at once. With a `timeout` it is
/// [`as_completed_timeout`].
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

/// Like [`as_completed`], for at most `timeout` counted from this call.
///
/// When time is up, [`Error::Timeout`] says how many calls of how many were unfinished, and the
/// iteration ends. Calls that are done when `next` is called come first, also after time is up: the
/// error comes when the next call would have to be waited for. (Python raises as soon as time is up.)
///
/// # Blocking
///
/// `next` blocks until a further call is done or time is up.
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
#[must_use = "iterators are lazy"]
pub struct AsCompleted<T, H: Borrow<Future<T>>> {
    /// What was given; `None` once yielded.
    handles: Vec<Option<H>>,
    /// Indices of handles that are done and not yielded yet.
    ready: VecDeque<usize>,
    unfinished: usize,
    /// How many handles were looked at for running them in place.
    helped: usize,
    signal: Arc<Signal>,
    value: PhantomData<fn() -> T>,
}

impl<T, H: Borrow<Future<T>>> AsCompleted<T, H> {
    fn new(futures: impl IntoIterator<Item = H>) -> Self {
        let handles = distinct(futures);
        let signal = Signal::new();
        let mut ready = VecDeque::new();
        for (index, handle) in handles.iter().enumerate() {
            let core = handle.borrow().call().core();
            let done = core.state().is_done()
                || core.register(Waiter::Done(Arc::clone(&signal), index)).is_err();
            if done {
                ready.push_back(index);
            }
        }
        let unfinished = handles.len() - ready.len();
        let handles = handles.into_iter().map(Some).collect();
        Self { handles, ready, unfinished, helped: 0, signal, value: PhantomData }
    }

    /// The next handle; `Err` if `deadline` passed first.
    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Result<H>> {
        if self.ready.is_empty() {
            if self.unfinished == 0 {
                return None;
            }
            let waited = match deadline {
                Some(_) if self.signal.wait(Until::ONE, deadline) => Ok(()),
                Some(_) => {
                    let total = self.handles.len();
                    Err(Error::Timeout { unfinished: self.unfinished, total })
                }
                None => self.wait_in_call(),
            };
            if let Err(error) = waited {
                return Some(Err(error));
            }
            self.signal.take_ended(&mut self.ready);
            self.unfinished -= self.ready.len();
        }
        let index = self.ready.pop_front()?;
        self.handles[index].take().map(Ok)
    }

    /// Waits without a time limit, running in place what waits for this worker.
    fn wait_in_call(&mut self) -> Result<()> {
        while let Some(handle) = self.handles.get(self.helped) {
            if self.signal.holds(Until::ONE) {
                return Ok(());
            }
            // Each is looked at once; a call that follows no other never becomes pending again.
            self.helped += 1;
            if let Some(handle) = handle {
                help(handle.borrow().call());
            }
        }
        let (handles, signal) = (&self.handles, &self.signal);
        let left = || handles.iter().flatten();
        let awaited = || left().map(|handle| awaited(handle.borrow().call())).collect();
        // What was not pending then may follow a call that is.
        let help_all = || {
            for handle in left().take_while(|_| !signal.holds(Until::ONE)) {
                help(handle.borrow().call());
            }
        };
        deadlock::wait(signal, Until::ONE, Goal::Any, awaited, help_all)
    }

    /// The first handle that is left, after a deadlock.
    fn next_stuck(&mut self) -> Option<H> {
        let handle = self.handles.iter_mut().find_map(Option::take)?;
        self.unfinished -= 1;
        let core = handle.borrow().call().core();
        let removed = core.with_waiters(|waiters| waiters.remove_signal(&self.signal));
        drop(removed);
        Some(handle)
    }

    fn left(&self) -> usize {
        self.ready.len() + self.unfinished
    }
}

impl<T, H: Borrow<Future<T>>> Iterator for AsCompleted<T, H> {
    type Item = H;

    fn next(&mut self) -> Option<H> {
        match self.next_until(None)? {
            Ok(handle) => Some(handle),
            Err(_) => self.next_stuck(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left(), Some(self.left()))
    }
}

impl<T, H: Borrow<Future<T>>> ExactSizeIterator for AsCompleted<T, H> {}
impl<T, H: Borrow<Future<T>>> FusedIterator for AsCompleted<T, H> {}

impl<T, H: Borrow<Future<T>>> Drop for AsCompleted<T, H> {
    fn drop(&mut self) {
        if self.unfinished == 0 {
            return;
        }
        for handle in self.handles.iter().flatten() {
            let core = handle.borrow().call().core();
            core.with_waiters(|waiters| waiters.remove_signal(&self.signal));
        }
    }
}

impl<T, H: Borrow<Future<T>>> fmt::Debug for AsCompleted<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ready, unfinished) = (self.ready.len(), self.unfinished);
        f.debug_struct("AsCompleted")
            .field("ready", &ready)
            .field("unfinished", &unfinished)
            .finish_non_exhaustive()
    }
}

/// The iterator that [`as_completed_timeout`] returns.
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
        let next = self.calls.next_until(self.deadline);
        self.expired = matches!(next, Some(Err(_)));
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Time may run out before any, and the error takes the place of the first unfinished one.
        if self.expired {
            (0, Some(0))
        } else {
            (self.calls.left().min(1), Some(self.calls.left()))
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
