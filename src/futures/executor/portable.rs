//! [`Executor`]: the trait that all pools implement.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ShutdownOptions, ShutdownReport};
use crate::error::Result;
use crate::futures::Future;
use crate::futures::map::{Map, MapOptions};

/// The arguments and results of calls that may run in another process.
///
/// Every type has it that is `Send + 'static` and that serde can write and read back. It must own
/// its data: a `String`, not a `&str`, about which the compiler says that its `Deserialize` is not
/// general enough.
///
/// With the feature `process`, a default one.
///
/// # Python
///
/// Objects that can be pickled.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{Executor, Portable, ThreadPoolExecutor};
///
/// fn there_and_back<T: Portable>(executor: &impl Executor, value: T) -> concurrent::Result<T> {
///     executor.submit(|value| value, value)?.into_result()
/// }
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// assert_eq!(there_and_back(&pool, vec![String::from("owned")])?, ["owned"]);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[doc(alias = "pickle")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or result of a portable call",
    label = "needs serde's `Serialize` and `Deserialize`",
    note = "it must be `Send + 'static` and implement serde's `Serialize` and `Deserialize`; \
            derive these, or let the call take and return something that has them; a call that \
            stays on threads needs neither: use the methods of `ThreadPoolExecutor` itself"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Portable for T {}

/// An executor of any kind: code written against it runs unchanged on threads, in processes and on
/// the ranks of an MPI program. With the feature `process`, a default one.
///
/// Its bounds are those of a call that crosses to another process: a function, or a closure that
/// captures nothing, and [`Portable`] arguments and results. [`ThreadPoolExecutor`] has methods of
/// the same names without these bounds.
///
/// There is no `dyn Executor`. To choose an executor at run time, `match` and call the generic
/// function in each arm.
///
/// To write an executor, implement `submit` with a [`Promise`](crate::futures::Promise), and
/// `shutdown_with`.
///
/// # Python
///
/// `concurrent.futures.Executor`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{Executor, ThreadPoolExecutor};
///
/// fn sum_of_squares(executor: &impl Executor, numbers: Vec<u64>) -> concurrent::Result<u64> {
///     executor.map(|n: u64| n * n, numbers).sum()
/// }
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// assert_eq!(sum_of_squares(&pool, vec![1, 2, 3])?, 14);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// An executor of one's own, which runs each call at once, in the thread that submits it:
///
/// ```
/// use concurrent::Result;
/// use concurrent::futures::{Executor, Future, Portable, Promise, ShutdownOptions, ShutdownReport};
///
/// struct Inline;
///
/// impl Executor for Inline {
///     fn submit<A: Portable, R: Portable>(&self, function: fn(A) -> R, a: A) -> Result<Future<R>> {
///         let (promise, future) = Promise::pair();
///         promise.set_result(function(a))?;
///         Ok(future)
///     }
///
///     fn shutdown_with(&self, _: ShutdownOptions) -> ShutdownReport {
///         ShutdownReport::default() // nothing is ever left
///     }
/// }
///
/// assert_eq!(Inline.submit(|n: u32| n + 1, 41)?.into_result()?, 42);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// [`ThreadPoolExecutor`]: crate::futures::ThreadPoolExecutor
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no executor",
    note = "take a reference to a `ThreadPoolExecutor` or a `ProcessPoolExecutor`, or implement \
            `Executor`"
)]
pub trait Executor: Sync {
    /// Schedules `function(argument)`; several arguments go as a tuple.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`](crate::Error::Shutdown) after a shutdown, or an error of this kind of
    /// executor.
    ///
    /// # Python
    ///
    /// `submit(fn, *args)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Executor, ThreadPoolExecutor};
    /// fn power(executor: &impl Executor) -> concurrent::Result<u32> {
    ///     executor.submit(|(base, exponent)| u32::pow(base, exponent), (2, 10))?.into_result()
    /// }
    /// assert_eq!(power(&ThreadPoolExecutor::new(1)?)?, 1024);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Future<R>>
    where
        A: Portable,
        R: Portable;

    /// Shuts the executor down as `options` say; reports which calls are left.
    ///
    /// # Blocking
    ///
    /// As `options` say.
    ///
    /// # Python
    ///
    /// `shutdown(wait=..., cancel_futures=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Executor, ShutdownOptions, ThreadPoolExecutor};
    /// fn give_up(executor: &impl Executor) -> usize {
    ///     executor.shutdown_with(ShutdownOptions::new().cancel_futures(true)).cancelled
    /// }
    /// assert_eq!(give_up(&ThreadPoolExecutor::new(1)?), 0);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport;

    /// Refuses further calls and waits until the submitted ones have ended.
    ///
    /// # Blocking
    ///
    /// Until all calls have ended.
    ///
    /// # Python
    ///
    /// `shutdown(wait=True)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Executor, ThreadPoolExecutor};
    /// fn finish(executor: &impl Executor) -> concurrent::Result<bool> {
    ///     let call = executor.submit(|n: u32| n + 1, 41)?;
    ///     executor.shutdown();
    ///     Ok(call.done())
    /// }
    /// assert!(finish(&ThreadPoolExecutor::new(1)?)?);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    fn shutdown(&self) {
        self.shutdown_with(ShutdownOptions::new());
    }

    /// Calls `function` with each item, in parallel; yields the results in the order of the items.
    ///
    /// It submits all items before it returns.
    /// [`ThreadPoolExecutor::map`](crate::futures::ThreadPoolExecutor::map) says more.
    ///
    /// # Blocking
    ///
    /// `next` blocks until the next call in order is done.
    ///
    /// # Python
    ///
    /// `map(fn, iterable)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Executor, ThreadPoolExecutor};
    /// fn squares(executor: &impl Executor) -> concurrent::Result<Vec<u64>> {
    ///     executor.map(|n: u64| n * n, 1..=4).collect()
    /// }
    /// assert_eq!(squares(&ThreadPoolExecutor::new(2)?)?, [1, 4, 9, 16]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        let mut items = items.into_iter();
        Map::eager(&MapOptions::default(), || {
            let item = items.next()?;
            Some(self.submit(function, item).map(Into::into))
        })
    }

    /// Like [`map`](Self::map), with options.
    ///
    /// The pools of this crate honour all of them. The provided method, for executors written
    /// elsewhere, ignores the chunk size.
    ///
    /// # Blocking
    ///
    /// With a [buffer size](MapOptions::buffer_size), each `next` waits for a call and submits one;
    /// otherwise as [`map`](Self::map).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the chunk size or the buffer
    /// size is 0. [`Error::Shutdown`](crate::Error::Shutdown), or another error of `submit`, if the
    /// executor refuses the first call. If it refuses a later one, the iterator yields that error
    /// after the results before it.
    ///
    /// # Python
    ///
    /// `map(fn, iterable, timeout=..., chunksize=..., buffersize=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Executor, MapOptions, ThreadPoolExecutor};
    /// fn first_squares(executor: &impl Executor) -> concurrent::Result<Vec<u64>> {
    ///     let ahead = MapOptions::new().buffer_size(8);
    ///     executor.map_with(ahead, |n: u64| n * n, 1..)?.take(4).collect()
    /// }
    /// assert_eq!(first_squares(&ThreadPoolExecutor::new(2)?)?, [1, 4, 9, 16]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "chunksize")]
    #[doc(alias = "buffersize")]
    fn map_with<'a, A, R, I>(
        &'a self,
        options: MapOptions,
        function: fn(A) -> R,
        items: I,
    ) -> Result<Map<'a, R>>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        options.check()?;
        let mut items = items.into_iter();
        Map::start(&options, move || {
            let item = items.next()?;
            Some(self.submit(function, item).map(Into::into))
        })
    }
}

/// The trait of a pool that has methods of the same names: it calls these.
macro_rules! impl_executor {
    ($pool:ty) => {
        impl $crate::futures::Executor for $pool {
            #[track_caller]
            fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Future<R>>
            where
                A: Portable,
                R: Portable,
            {
                Self::submit(self, function, argument)
            }

            #[track_caller]
            fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
            where
                A: Portable,
                R: Portable,
                I: IntoIterator<Item = A>,
            {
                Self::map(self, function, items)
            }

            #[track_caller]
            fn map_with<'a, A, R, I>(
                &'a self,
                options: MapOptions,
                function: fn(A) -> R,
                items: I,
            ) -> Result<Map<'a, R>>
            where
                A: Portable,
                R: Portable,
                I: IntoIterator<Item = A>,
                I::IntoIter: Send + 'a,
            {
                Self::map_with(self, options, function, items)
            }

            fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
                Self::shutdown_with(self, options)
            }
        }
    };
}
pub(crate) use impl_executor;
