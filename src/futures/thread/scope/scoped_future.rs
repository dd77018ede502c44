//! [`ScopedFuture`]: the caller's end of a call of a scope, and where its value lies.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::sync::UnsafeCell;

/// The caller's end of a call of a [`Scope`](super::Scope); made by [`Scope::spawn`](super::Scope::spawn).
///
/// A [`Future<()>`](Future) in all but the value: `cancel`, `done`, `add_done_callback` and the
/// rest are there by `Deref`. It cannot leave the scope.
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
    /// Until the call is done; in one of the pool's own workers, a call that no other worker is free
    /// to take is [run in place](crate::futures#waiting-inside-of-calls).
    ///
    /// # Errors
    ///
    /// As [`Future::result`].
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

    /// Like [`result`](Self::result), waiting no longer than `timeout`, and running nothing in
    /// place.
    ///
    /// # Errors
    ///
    /// As [`Future::result_timeout`].
    pub fn result_timeout(&self, timeout: Duration) -> Result<&T> {
        self.future.result_timeout(timeout)?;
        // SAFETY: as in `result`.
        Ok(unsafe { self.slot.get() })
    }

    /// Waits for the call and borrows what it failed with; `None` if it succeeded.
    ///
    /// # Blocking
    ///
    /// As [`result`](Self::result).
    ///
    /// # Errors
    ///
    /// As [`Future::exception`].
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

/// Where the value of a scoped call goes.
pub(super) struct ValueSlot<T>(UnsafeCell<Option<T>>);

// SAFETY: the value moves between threads (T: Send). `put` comes before the call is finished, and
// the others after somebody saw that; a `&T` is handed out by `ScopedFuture` only, which is Sync
// only if T is.
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
            // SAFETY: the caller's promise: nobody else looks yet.
            unsafe { *slot = Some(value) };
        });
    }

    /// # Safety
    ///
    /// The call was seen finished without a failure, and the value is not taken while it is
    /// borrowed.
    unsafe fn get(&self) -> &T {
        self.0.with(|slot| {
            // SAFETY: the caller's promise: nobody writes any more.
            let value = unsafe { &*slot };
            value.as_ref().expect("a call that succeeded has put its value here")
        })
    }

    /// # Safety
    ///
    /// As for [`get`](Self::get), once, by the owner of the only handle.
    unsafe fn take(&self) -> T {
        self.0.with_mut(|slot| {
            // SAFETY: the caller's promise: nobody else looks any more.
            let value = unsafe { &mut *slot };
            value.take().expect("a call that succeeded has put its value here")
        })
    }
}
