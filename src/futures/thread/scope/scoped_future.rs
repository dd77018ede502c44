//! [`ScopedFuture`]: the caller's end of a scoped call, and [`ValueSlot`], the place of its value.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::sync::UnsafeCell;

/// The caller's end of a call of a [`Scope`](super::Scope); [`Scope::spawn`](super::Scope::spawn)
/// makes it.
///
/// It is a [`Future<()>`](Future) but for the value: by `Deref` it has `cancel`, `done`,
/// `add_done_callback` and the rest. It cannot leave the scope.
///
/// # Examples
///
/// ```
/// # use concurrent::futures::ThreadPoolExecutor;
/// let pool = ThreadPoolExecutor::new(1)?;
/// let text = String::from("borrowed");
/// pool.scope(|s| {
///     let call = s.spawn(|| text.len())?;
///     call.cancel(); // as a `Future`
///     assert!(call.done() || call.result().is_ok());
///     Ok::<(), concurrent::Error>(())
/// })?;
/// # Ok::<(), concurrent::Error>(())
/// ```
pub struct ScopedFuture<'scope, T> {
    future: Future<()>,
    slot: Arc<ValueSlot<T>>,
    /// Hands out `&T`, as [`Future`] does, for no longer than 'scope.
    borrows: PhantomData<(T, &'scope ())>,
}

impl<T> ScopedFuture<'_, T> {
    pub(super) fn new(future: Future<()>, slot: Arc<ValueSlot<T>>) -> Self {
        Self { future, slot, borrows: PhantomData }
    }

    /// Waits for the call and borrows its value.
    ///
    /// # Blocking
    ///
    /// Until the call is done. In one of the pool's own workers, a call for which no other worker
    /// is free is [run in place](crate::futures#waiting-inside-of-calls).
    ///
    /// # Errors
    ///
    /// As [`Future::result`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let text = String::from("borrowed");
    /// let same = pool.scope(|s| Ok::<_, concurrent::Error>(s.spawn(|| &text)?.result()?.len()))?;
    /// assert_eq!(same, text.len());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn result(&self) -> Result<&T> {
        self.future.result()?;
        // SAFETY: the call finished without a failure, and only `into_result` takes the value.
        Ok(unsafe { self.slot.get() })
    }

    /// Like [`result`](Self::result), but waits no longer than `timeout`, and runs nothing in
    /// place.
    ///
    /// # Errors
    ///
    /// As [`Future::result_timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// # use std::{sync::mpsc, time::Duration};
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let (open, gate) = mpsc::channel::<()>();
    /// pool.scope(|s| {
    ///     let call = s.spawn(move || gate.recv())?;
    ///     assert!(call.result_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    ///     drop(open);
    ///     call.result().map(drop)
    /// })?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn result_timeout(&self, timeout: Duration) -> Result<&T> {
        self.future.result_timeout(timeout)?;
        // SAFETY: as in `result`.
        Ok(unsafe { self.slot.get() })
    }

    /// Waits for the call and borrows its failure; `None` if it succeeded.
    ///
    /// Like [`result`](Self::result) it counts as looking at a panic, which then does not go on
    /// when the scope ends.
    ///
    /// # Blocking
    ///
    /// As [`result`](Self::result).
    ///
    /// # Errors
    ///
    /// As [`Future::exception`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let numbers = vec![1, 2, 3];
    /// pool.scope(|s| {
    ///     let call = s.spawn(|| numbers[3])?;
    ///     assert!(call.exception()?.is_some_and(|error| error.to_string().contains("out of bounds")));
    ///     Ok::<(), concurrent::Error>(())
    /// })?;
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn exception(&self) -> Result<Option<&Error>> {
        self.future.exception()
    }

    /// Waits for the call and moves its value out.
    ///
    /// # Blocking
    ///
    /// As [`result`](Self::result).
    ///
    /// # Errors
    ///
    /// As [`Future::result`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let numbers = vec![5, 8, 2];
    /// let sorted = pool.scope(|s| {
    ///     let copy = s.spawn(|| { let mut copy = numbers.clone(); copy.sort(); copy })?;
    ///     copy.into_result()
    /// })?;
    /// assert_eq!((numbers[0], sorted[0]), (5, 2));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn into_result(self) -> Result<T> {
        self.future.result()?;
        // SAFETY: as in `result`, and this is the only handle, consumed.
        Ok(unsafe { self.slot.take() })
    }
}

impl<T> Deref for ScopedFuture<'_, T> {
    type Target = Future<()>;

    fn deref(&self) -> &Future<()> {
        &self.future
    }
}

impl<T> Borrow<Future<()>> for ScopedFuture<'_, T> {
    fn borrow(&self) -> &Future<()> {
        &self.future
    }
}

impl<T> Borrow<Future<()>> for &ScopedFuture<'_, T> {
    fn borrow(&self) -> &Future<()> {
        &self.future
    }
}

impl<T> fmt::Debug for ScopedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedFuture").field(&self.future).finish()
    }
}

/// The place of the value of a scoped call.
pub(super) struct ValueSlot<T>(UnsafeCell<Option<T>>);

// SAFETY: the value moves between threads (T: Send). `put` comes before the call is finished, and
// the other methods after a thread has seen that; only `ScopedFuture` hands out a `&T`, and it is
// Sync only if T is.
unsafe impl<T: Send> Sync for ValueSlot<T> {}

impl<T> ValueSlot<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(None)))
    }

    /// # Safety
    ///
    /// At most once, by the call, before it is finished.
    pub(super) unsafe fn put(&self, value: T) {
        self.0.with_mut(|slot| {
            // SAFETY: by the caller's promise no other thread reads yet.
            unsafe { *slot = Some(value) };
        });
    }

    /// # Safety
    ///
    /// The call was seen finished without a failure, and the value is not taken while it is
    /// borrowed.
    unsafe fn get(&self) -> &T {
        self.0.with(|slot| {
            // SAFETY: by the caller's promise no thread writes any more.
            let value = unsafe { &*slot };
            value.as_ref().expect("a call that succeeded has put its value here")
        })
    }

    /// # Safety
    ///
    /// As for [`get`](Self::get), once, by the owner of the only handle.
    unsafe fn take(&self) -> T {
        self.0.with_mut(|slot| {
            // SAFETY: by the caller's promise no other thread reads any more.
            let value = unsafe { &mut *slot };
            value.take().expect("a call that succeeded has put its value here")
        })
    }
}
