//! The names of process pools on systems without worker processes: a program that has a pool compiles, and is
//! told so when it makes one.

use std::convert::Infallible;
use std::ffi::OsString;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{OnWorkerDeath, ProcessPoolStats, ResourceLimit};
use crate::error::{Cause, Error, Outcome, Result};
use crate::futures::executor::{Portable, ShutdownOptions, ShutdownReport, impl_executor};
use crate::futures::future::Future;
use crate::futures::map::{Map, MapOptions};

fn unsupported<T>() -> Result<T> {
    let why = "worker processes are for Linux only; take a `ThreadPoolExecutor` on this system";
    Err(Error::ProcessStart(Cause::new(io::Error::new(io::ErrorKind::Unsupported, why))))
}

/// Does nothing: no process is a worker on this system.
pub fn init() {}

/// Does nothing on this system, where no process is a worker.
#[macro_export]
macro_rules! process_worker_hook {
    () => {};
}

/// A process pool. On this system none can be made.
#[derive(Debug)]
pub struct ProcessPoolExecutor(Infallible);

/// The settings of a process pool. On this system none can be made.
#[derive(Debug, Default)]
#[must_use = "call build() to make the pool"]
pub struct ProcessPoolBuilder(());

/// Memory that worker processes share. On this system there is none.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedBytes(Infallible);

macro_rules! settings {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        /// Everything but [`build`](Self::build) does as on Linux: nothing, until the pool is built.
        impl ProcessPoolBuilder {
            $(
                /// As on Linux, where it counts for the pool.
                pub fn $name(self, $($argument: $kind),*) -> Self {
                    $(let _ = $argument;)*
                    self
                }
            )*
        }
    };
}

settings! {
    max_workers(workers: usize);
    max_tasks_per_child(calls: usize);
    on_worker_death(policy: OnWorkerDeath);
    call_deadline(limit: Duration);
    prefetch(calls: usize);
    idle_timeout(limit: Duration);
    start_timeout(limit: Duration);
    env(name: impl Into<OsString>, value: impl Into<OsString>);
    env_remove(name: impl Into<OsString>);
    env_clear();
    working_directory(directory: impl Into<PathBuf>);
    limit(limit: ResourceLimit, value: u64);
    max_message_size(bytes: u64);
}

impl ProcessPoolBuilder {
    /// As on Linux, where it counts for the pool.
    pub fn initializer<A: Portable, O: Outcome + 'static>(
        self,
        f: fn(A) -> O,
        argument: A,
    ) -> Self {
        let _ = (f, argument);
        self
    }

    /// Makes no pool.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessStart`] always.
    pub fn build(self) -> Result<ProcessPoolExecutor> {
        unsupported()
    }
}

impl ProcessPoolExecutor {
    /// Makes no pool.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessStart`] always.
    pub fn new(max_workers: usize) -> Result<Self> {
        Self::builder().max_workers(max_workers).build()
    }

    /// Makes a builder, whose `build` fails on this system.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder(())
    }

    /// The greatest number of workers.
    pub fn max_workers(&self) -> usize {
        match self.0 {}
    }

    /// The state and the totals of the pool.
    pub fn stats(&self) -> ProcessPoolStats {
        match self.0 {}
    }

    /// Schedules `function(argument)`.
    ///
    /// # Errors
    ///
    /// There is no pool to call it on.
    pub fn submit<A: Portable, R: Portable>(
        &self,
        _function: fn(A) -> R,
        _argument: A,
    ) -> Result<Future<R>> {
        match self.0 {}
    }

    /// Calls `function` with each item.
    pub fn map<A, R, I>(&self, _function: fn(A) -> R, _items: I) -> Map<'static, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        match self.0 {}
    }

    /// Calls `function` with each item, with options.
    ///
    /// # Errors
    ///
    /// There is no pool to call it on.
    pub fn map_with<'a, A, R, I>(
        &'a self,
        _options: MapOptions,
        _function: fn(A) -> R,
        _items: I,
    ) -> Result<Map<'a, R>>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        match self.0 {}
    }

    /// Waits for the calls, and ends the workers.
    pub fn shutdown(&self) {
        match self.0 {}
    }

    /// Shuts the pool down as `options` say.
    pub fn shutdown_with(&self, _options: ShutdownOptions) -> ShutdownReport {
        match self.0 {}
    }

    /// Asks all workers to end.
    pub fn terminate_workers(&self) {
        match self.0 {}
    }

    /// Kills all workers.
    pub fn kill_workers(&self) {
        match self.0 {}
    }
}

impl_executor!(ProcessPoolExecutor);

impl SharedBytes {
    /// Makes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessStart`] always.
    pub fn new(_len: usize, _fill: impl FnOnce(&mut [u8])) -> Result<Self> {
        unsupported()
    }

    /// Copies nothing.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessStart`] always.
    pub fn copy_from(_bytes: &[u8]) -> Result<Self> {
        unsupported()
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self.0 {}
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, _to: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {}
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(_from: D) -> std::result::Result<Self, D::Error> {
        Err(serde::de::Error::custom("there is no shared memory on this system"))
    }
}
