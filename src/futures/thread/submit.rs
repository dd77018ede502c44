//! How calls are submitted: [`submit`](ThreadPoolExecutor::submit) and its kin, and maps.

#[cfg(doc)]
use super::builder::ThreadPoolBuilder;
use super::pool::ThreadPoolExecutor;
use super::refused::TrySubmitError;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::futures::Future;
use crate::futures::map::{Map, MapOptions};

impl ThreadPoolExecutor {
    /// Schedules `function(argument)`; several arguments go as a tuple.
    ///
    /// # Blocking
    ///
    /// Only if the queue is bounded and full; see
    /// [`queue_capacity`](ThreadPoolBuilder::queue_capacity).
    ///
    /// # Threads
    ///
    /// `function` runs in a worker, and is dropped there with its captures as soon as it has
    /// returned. If the call is cancelled, the thread that cancels drops them.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`](crate::Error::Shutdown) after [`shutdown`](Self::shutdown),
    /// [`Error::BrokenThreadPool`](crate::Error::BrokenThreadPool) after an initializer failed,
    /// [`Error::ThreadStart`](crate::Error::ThreadStart) if the system starts no thread and the
    /// pool has none, [`Error::QueueFull`](crate::Error::QueueFull) if the pool refuses calls when
    /// its queue is full. In each case `function` and `argument` are dropped in this thread.
    ///
    /// # Python
    ///
    /// `submit(fn, *args)`. It does not wait for the worker's start: a [`cancel`](Future::cancel)
    /// right after it may still succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let power = pool.submit(|(base, exponent)| u32::pow(base, exponent), (2, 10))?;
    /// assert_eq!(*power.result()?, 1024);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn submit<A, R, F>(&self, function: F, argument: A) -> Result<Future<R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(A) -> R + Send + 'static,
    {
        self.shared().enqueue::<R, _, F>(move || function(argument))
    }

    /// Schedules a closure.
    ///
    /// # Blocking
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Python
    ///
    /// `submit(lambda: ...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let words = vec!["a", "b"];
    /// assert_eq!(pool.spawn(move || words.concat())?.into_result()?, "ab");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "submit")]
    pub fn spawn<R, F>(&self, function: F) -> Result<Future<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.shared().enqueue::<R, F, F>(function)
    }

    /// Schedules a closure without a future: nobody learns how the call ends, or cancels it alone.
    ///
    /// It does what dropping the future of a [`spawn`](Self::spawn) does, for less memory and time:
    /// nothing is allocated for a closure that captures at most a pointer. A panic is logged. A
    /// shutdown waits for the call, cancels it or asks it to stop, as its options say; the
    /// [`stats`](Self::stats) count the call, and it may wait for other calls.
    ///
    /// # Blocking
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Python
    ///
    /// `submit(fn)`, with its future thrown away.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// # use std::sync::mpsc;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let (sender, lines) = mpsc::channel();
    /// pool.execute(move || sender.send("written by a worker").unwrap())?;
    /// assert_eq!(lines.recv(), Ok("written by a worker"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "submit")]
    pub fn execute<F>(&self, function: F) -> Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        self.shared().enqueue_detached::<F, F>(function)
    }

    /// Schedules `function(argument)` if there is room for it; never blocks.
    ///
    /// A refusal loses nothing: the error holds `function` and `argument`. A pool without a
    /// [`queue_capacity`](super::ThreadPoolBuilder::queue_capacity) always has room.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`], or as [`submit`](Self::submit), within a [`TrySubmitError`].
    ///
    /// # Python
    ///
    /// None: its queue has no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(8).build()?;
    /// assert_eq!(pool.try_submit(str::len, "four")?.into_result()?, 4);
    ///
    /// pool.shutdown();
    /// let refused = pool.try_submit(str::len, "four").unwrap_err();
    /// assert!(matches!(refused.error(), Error::Shutdown));
    /// let (function, argument) = refused.into_call();
    /// assert_eq!(function(argument), 4);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn try_submit<A, R, F>(
        &self,
        function: F,
        argument: A,
    ) -> Result<Future<R>, TrySubmitError<(F, A)>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(A) -> R + Send + 'static,
    {
        let run = |(function, argument): (F, A)| function(argument);
        self.shared().try_enqueue::<R, _, F>((function, argument), run)
    }

    /// Schedules a closure if there is room for it; never blocks.
    ///
    /// # Errors
    ///
    /// As [`try_submit`](Self::try_submit); the error holds the closure.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(8).build()?;
    /// let mut task = || 1;
    /// let call = loop {
    ///     match pool.try_spawn(task) {
    ///         Ok(call) => break call,
    ///         Err(refused) => task = refused.into_call(), // do something else meanwhile
    ///     }
    /// };
    /// assert_eq!(call.into_result()?, 1);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn try_spawn<R, F>(&self, function: F) -> Result<Future<R>, TrySubmitError<F>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.shared().try_enqueue::<R, F, F>(function, |function| function())
    }

    /// Like [`submit`](Self::submit), with a priority: a lower number starts first, as in `sched`.
    ///
    /// Of equal priorities the one submitted first starts first; `submit` and `spawn` have priority
    /// zero. While the queue is bounded and full, submitters are admitted in the order in which they
    /// came.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the pool's discipline is not
    /// [`Discipline::Priority`](super::Discipline::Priority); otherwise as `submit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Discipline, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::builder().discipline(Discipline::Priority).build()?;
    /// assert_eq!(pool.submit_with_priority(-1, str::len, "urgent")?.into_result()?, 6);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn submit_with_priority<A, R, F>(
        &self,
        priority: i32,
        function: F,
        argument: A,
    ) -> Result<Future<R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(A) -> R + Send + 'static,
    {
        self.shared().enqueue_ranked::<R, _, F>(priority, move || function(argument))
    }

    /// Like [`spawn`](Self::spawn), with a priority: a lower number starts first, as in `sched`.
    ///
    /// # Errors
    ///
    /// As [`submit_with_priority`](Self::submit_with_priority).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{Discipline, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::builder().discipline(Discipline::Priority).build()?;
    /// assert_eq!(pool.spawn_with_priority(7, || "can wait")?.into_result()?, "can wait");
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn spawn_with_priority<R, F>(&self, priority: i32, function: F) -> Result<Future<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.shared().enqueue_ranked::<R, F, F>(priority, function)
    }

    /// Calls `function` with each item, in parallel; yields the results in the order of the items.
    ///
    /// It submits all items before it returns. A call that fails yields an `Err` in its place, and
    /// the others go on. Dropping the iterator cancels the calls that have not started. If the pool
    /// was shut down, the iterator yields that error and ends.
    ///
    /// # Blocking
    ///
    /// `next` blocks until the next call in order is done.
    ///
    /// # Python
    ///
    /// `Executor.map(fn, iterable)`; for `timeout`, `chunksize` and `buffersize` see
    /// [`map_with`](Self::map_with). Several iterables are zipped: `pool.map(|(a, b)| ...,
    /// a.zip(b))`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let squares: Result<Vec<_>, _> = pool.map(|n| n * n, 1..=4).collect();
    /// assert_eq!(squares?, [1, 4, 9, 16]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn map<A, R, F, I>(&self, function: F, items: I) -> Map<'static, R>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
    {
        let options = MapOptions::default();
        Map::eager(&options, self.shared().pieces(&options, function, items.into_iter()))
    }

    /// Like [`map`](Self::map), with a time limit, chunks, a bounded look-ahead, or results in the
    /// order in which the calls end; see [`MapOptions`].
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
    /// pool refuses the first call. If it refuses a later one, the iterator yields that error after
    /// the results before it.
    ///
    /// # Python
    ///
    /// `Executor.map(fn, iterable, timeout=..., chunksize=..., buffersize=...)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::{MapOptions, ThreadPoolExecutor};
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let endless = pool.map_with(MapOptions::new().buffer_size(8), |n| n * 2, 0u64..)?;
    /// let first: Result<Vec<_>, _> = endless.take(3).collect();
    /// assert_eq!(first?, [0, 2, 4]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "chunksize")]
    #[doc(alias = "buffersize")]
    pub fn map_with<'a, A, R, F, I>(
        &self,
        options: MapOptions,
        function: F,
        items: I,
    ) -> Result<Map<'a, R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        options.check()?;
        let pieces = self.shared().pieces(&options, function, items.into_iter());
        Map::start(&options, pieces)
    }
}
