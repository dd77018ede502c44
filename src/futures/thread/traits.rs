//! The traits of [`ThreadPoolExecutor`], its drop among them.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::pool::{PoolShared, ThreadPoolExecutor};
use crate::error::Result;
use crate::futures::Future;
use crate::futures::deadlock::forget_pool;
use crate::futures::executor::{Portable, ShutdownOptions, ShutdownReport, impl_executor};
use crate::futures::map::{Map, MapOptions};

impl Default for ThreadPoolExecutor {
    /// Makes a pool of five workers per processor.
    fn default() -> Self {
        Self::builder().build().expect("the default settings are valid")
    }
}

impl_executor!(ThreadPoolExecutor);

// A panic leaves no pool half changed: user code runs outside of its locks.
impl UnwindSafe for ThreadPoolExecutor {}
impl RefUnwindSafe for ThreadPoolExecutor {}

impl fmt::Debug for ThreadPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.shared().queue().left();
        f.debug_struct("ThreadPoolExecutor")
            .field("prefix", &self.shared().prefix())
            .field("max_workers", &self.max_workers())
            .field("pending", &left.waiting)
            .field("running", &left.running)
            .field("blocked", &left.blocked)
            .finish_non_exhaustive()
    }
}

/// The last owner may be any thread: a worker that ends, or one that had a look at the pool.
impl Drop for PoolShared {
    fn drop(&mut self) {
        forget_pool(self.id());
        self.drop_what_is_the_users();
    }
}
