//! [`MapOptions`].

use std::time::Duration;

use crate::error::{Error, Result};

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
    pub(super) timeout: Option<Duration>,
    chunk_size: Option<usize>,
    pub(super) buffer_size: Option<usize>,
    pub(super) unordered: bool,
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
    /// Each `next` waits for a call, and submits one more before it returns the result.
    ///
    /// # Python
    ///
    /// `map(..., buffersize=...)` of 3.14, where `next` submits before it waits, so that there is one
    /// call more meanwhile.
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
