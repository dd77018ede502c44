//! The thread pool. Read next: `queue/` for why no call is stranded, then `worker.rs`, `pool.rs`.
//!
//! - `queue/task_ref.rs`, `queue/order.rs`: the queued task, and the order in which tasks leave.
//! - `queue/bounded.rs`, `submit.rs`: a queue with a limit, and submission with options.
//! - `lifecycle.rs`: how many workers there are. `shutdown.rs`: shutdown and drop.
//! - `worker_local.rs`: the state of each worker. `context_propagation.rs`: context that goes with a call.
//! - `detached.rs`: fire and forget. `scope/`: calls that borrow. `stats.rs`: numbers.

mod builder;
mod context_propagation;
mod detached;
mod lifecycle;
mod lifecycle_settings;
mod pool;
mod queue;
mod scope;
mod shutdown;
mod stats;
mod submit;
mod traits;
mod worker;
mod worker_local;

pub use builder::ThreadPoolBuilder;
pub use pool::ThreadPoolExecutor;
pub use queue::{Discipline, FullQueue};
pub use scope::{Scope, ScopedFuture};
pub use stats::PoolStats;
pub use submit::TrySubmitError;
pub use worker_local::with_worker_state;
