//! The thread pool. Read next: `queue.rs` for why no call is stranded, then `worker.rs`, `pool.rs`.

mod builder;
mod pool;
mod queue;
mod worker;

pub use builder::Builder;
pub use pool::ThreadPoolExecutor;
