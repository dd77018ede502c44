//! [`Awaiting`]: a call awaited on an async runtime.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::futures::Future;
use crate::futures::call::waiters::{Waiter, Waiters};
use crate::user_code::contain;

/// The future of the standard library that `future.await` polls; [`Future::into_future`] makes it.
///
/// It works on every runtime: the thread that ends the call wakes the task. Dropping it detaches
/// the call, as dropping the [`Future`] does.
///
/// # Panics
///
/// Polling it again after it returned `Ready` panics. So does polling with a waker whose clone
/// panics; nothing is lost then, and it may be polled again. Other panics of wakers are logged.
///
/// # Python
///
/// `await asyncio.wrap_future(future)`.
///
/// # Examples
///
/// ```
/// # use std::{future::IntoFuture, pin::pin, sync::Arc, task::{Context, Poll, Wake}};
/// # struct Unpark(std::thread::Thread);
/// # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark() } }
/// # fn block_on<F: std::future::Future>(f: F) -> F::Output {
/// #     let mut f = pin!(f);
/// #     let waker = Arc::new(Unpark(std::thread::current())).into();
/// #     loop {
/// #         match f.as_mut().poll(&mut Context::from_waker(&waker)) {
/// #             Poll::Ready(output) => return output,
/// #             Poll::Pending => std::thread::park(),
/// #         }
/// #     }
/// # }
/// use concurrent::futures::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let call = pool.spawn(|| 6 * 7)?;
/// let answer = block_on(async { call.await })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[doc(alias = "wrap_future")]
#[derive(Debug)]
#[must_use = "it does nothing unless awaited"]
pub struct Awaiting<T> {
    /// `None` once the value was given out.
    future: Option<Future<T>>,
}

// Never pinned to its place: it holds a pointer to the call.
impl<T> Unpin for Awaiting<T> {}

impl<T> Awaiting<T> {
    pub(crate) fn new(future: Future<T>) -> Self {
        Self { future: Some(future) }
    }

    fn forget_waker(future: &Future<T>) {
        drop(future.call().shared().with_waiters(Waiters::remove_task));
    }
}

impl<T> std::future::Future for Awaiting<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let future = self.future.as_ref().expect("polled after it returned Ready");
        if !future.call().shared().state().is_settled() {
            // First, and the future stays where it is: the runtime's clone may panic.
            let waiter = Waiter::Task(cx.waker().clone());
            Self::forget_waker(future); // of an earlier poll, perhaps by another task
            match future.call().shared().register(waiter) {
                Ok(()) => return Poll::Pending,
                Err(waiter) => contain("dropping a waker", || drop(waiter)),
            }
        }
        let future = self.future.take().expect("it was there");
        Poll::Ready(future.take())
    }
}

impl<T> Drop for Awaiting<T> {
    fn drop(&mut self) {
        if let Some(future) = &self.future {
            Self::forget_waker(future); // lets go of the task
        }
    }
}
