//! What a worker owns: a value that each makes for itself, and that the calls which it runs reach.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error as StdError;
use std::sync::Arc;

use super::builder::ThreadPoolBuilder;
use crate::error::{Error, Result};
use crate::sync::thread_local_static;
use crate::user_code::contain;

/// Makes the state of one worker, in its thread.
pub(crate) type MakeState = Arc<dyn Fn() -> Result<Box<dyn Any>> + Send + Sync>;

thread_local_static! {
    /// The state of the worker that this thread is.
    STATE: RefCell<Option<Box<dyn Any>>> = RefCell::new(None)
}

impl ThreadPoolBuilder {
    /// Gives each worker a value of its own, such as a connection or a buffer.
    ///
    /// Each worker calls `make` before its first call, after the
    /// [`initializer`](Self::initializer). Calls reach the value by [`with_worker_state`]. It never
    /// leaves its thread, so it need not be `Send`, and it is dropped when the worker ends, before
    /// [`on_worker_stop`](Self::on_worker_stop).
    ///
    /// If `make` panics or returns an `Err`, the pool is broken, as by a failed initializer.
    ///
    /// # Threads
    ///
    /// `make`, and the drop of the value, run in the worker.
    ///
    /// # Python
    ///
    /// A `threading.local()` that the `initializer` fills.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{ThreadPoolExecutor, with_worker_state};
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .worker_state(|| Ok::<_, concurrent::Error>(Vec::<u32>::new()))
    ///     .build()?;
    /// let push = |n| with_worker_state(|seen: &mut Vec<u32>| { seen.push(n); seen.len() });
    /// assert_eq!(pool.submit(push, 5)?.into_result()?, Some(1));
    /// assert_eq!(pool.submit(push, 6)?.into_result()?, Some(2));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn worker_state<S, E>(
        mut self,
        make: impl Fn() -> Result<S, E> + Send + Sync + 'static,
    ) -> Self
    where
        S: 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.hooks.state = Some(Arc::new(move || match make() {
            Ok(state) => Ok(Box::new(state) as Box<dyn Any>),
            Err(error) => Err(Error::raised(error)),
        }));
        self
    }
}

/// Calls `access` with the worker state of this thread.
///
/// Returns `None`, without calling `access`, if this thread is no worker of a thread pool, if its
/// pool has no state or one of another type than `S`, and inside of another `access`: the state is
/// lent once at a time. If `access` panics, the state stays as it is then.
///
/// A call that runs in the thread that submits it ([`FullQueue::RunInCaller`]) sees the state of
/// that thread, if it has one.
///
/// # Python
///
/// The attributes of a `threading.local()`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::with_worker_state;
///
/// assert_eq!(with_worker_state(|n: &mut u32| *n), None); // the main thread is no worker
/// ```
///
/// [`FullQueue::RunInCaller`]: super::FullQueue::RunInCaller
pub fn with_worker_state<S: 'static, R>(access: impl FnOnce(&mut S) -> R) -> Option<R> {
    let with = |state: &RefCell<Option<Box<dyn Any>>>| {
        let mut state = state.try_borrow_mut().ok()?;
        state.as_mut()?.downcast_mut().map(access)
    };
    STATE.try_with(with).ok().flatten()
}

pub(super) fn put_state(state: Box<dyn Any>) {
    STATE.with(|own| *own.borrow_mut() = Some(state));
}

pub(super) fn drop_state() {
    let state = STATE.with(RefCell::take);
    contain("dropping the state of a worker", || drop(state));
}
