//! The thread pool. Read next: `queue/` for why no call is stranded, then `worker.rs`, `shared.rs`.
//!
//! - `pool.rs`: making, resizing, shutting down and dropping a pool; `builder.rs`: its settings.
//! - `submit.rs`: how calls are submitted; `shared.rs`: how they get into the queue.
//! - `queue/task_ref.rs`, `queue/order.rs`: the queued task, and the order in which tasks leave.
//! - `queue/bounded.rs`: a queue with a limit; `queue/lifecycle.rs`: workers that leave, and the
//!   end.
//! - `worker_local.rs`: hooks and the state of each worker; `context_propagation.rs`: context that
//!   goes with a call.
//! - `detached.rs`: fire and forget; `scope/`: calls that borrow; `stats.rs`: numbers.

mod builder;
mod context_propagation;
mod detached;
mod pool;
mod queue;
mod refused;
mod scope;
mod shared;
mod stats;
mod submit;
mod worker;
mod worker_local;

pub use builder::ThreadPoolBuilder;
pub use pool::ThreadPoolExecutor;
pub use queue::{Discipline, FullQueue};
pub use refused::TrySubmitError;
pub use scope::{Scope, ScopedFuture};
pub use stats::PoolStats;
pub use worker_local::with_worker_state;
