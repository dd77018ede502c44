//! [`RemoteExecutor`]: the common part of the executors of both remote pools.

use std::panic::Location;
use std::sync::Arc;
use std::thread::panicking;

use super::submit::{self, RemotePool};
use crate::error::Result;
use crate::futures::Future;
use crate::futures::executor::{Portable, ShutdownOptions, ShutdownReport};
use crate::futures::map::{Map, MapOptions};
use crate::sync::deadline_after;

/// The user's side of a remote pool, under the public type.
pub(crate) struct RemoteExecutor<P> {
    pub(crate) pool: Arc<P>,
}

impl<P: RemotePool> RemoteExecutor<P> {
    #[track_caller]
    pub(crate) fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Future<R>>
    where
        A: Portable,
        R: Portable,
    {
        self.pool.admits()?;
        submit::send(&self.pool, Location::caller(), function, argument)
    }

    #[track_caller]
    pub(crate) fn map<A, R, I>(&self, function: fn(A) -> R, items: I) -> Map<'static, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        let (options, site) = (MapOptions::default(), Location::caller());
        let pieces = submit::pieces(&self.pool, site, &options, function, items.into_iter());
        Map::eager(&options, pieces)
    }

    #[track_caller]
    pub(crate) fn map_with<'a, A, R, I>(
        &self,
        options: &MapOptions,
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
        let site = Location::caller();
        let pieces = submit::pieces(&self.pool, site, options, function, items.into_iter());
        Map::start(options, pieces)
    }

    pub(crate) fn shutdown_with(&self, options: ShutdownOptions) -> ShutdownReport {
        self.pool.close();
        self.finish(options)
    }

    /// The drop of the public type: a shutdown, unless there was one before, which has decided then
    /// whether to wait. Returns whether there was none.
    pub(crate) fn close_on_drop(&self) -> bool {
        let first = self.pool.close();
        if first {
            self.finish(ShutdownOptions::new().cancel_futures(panicking()));
        }
        first
    }

    fn finish(&self, options: ShutdownOptions) -> ShutdownReport {
        let deadline = options.timeout.and_then(deadline_after);
        let mut report = ShutdownReport::default();
        if options.cancel_futures {
            report.cancelled = self.pool.cancel_pending();
        }
        if options.wait && !self.pool.is_own_thread() {
            self.pool.join(deadline);
        }
        (report.pending, report.running) = self.pool.unfinished();
        report
    }
}
