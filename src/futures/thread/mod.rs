//! The thread pool. Read next: `queue.rs` for why no call is stranded, then `worker.rs`, `pool.rs`.

mod builder;
mod pool;
mod queue;
mod scope;
mod scope_calls;
mod scoped_future;
mod worker;

pub use builder::Builder;
pub use pool::ThreadPoolExecutor;
pub use scope::Scope;
pub use scoped_future::ScopedFuture;
