//! The thread pool. Read next: `queue.rs` for why no call is stranded, then `worker.rs`, `pool.rs`.
//!
//! What is more than Python's: `bounded.rs` and `submit.rs` (a queue with a limit), `entry.rs` and
//! `store.rs` (what is in it, and the order in which it leaves), `life.rs` (how many workers there are), `state.rs` (what a worker
//! owns), `propagate.rs` (what goes with a call), `execute.rs` (calls that nobody waits for),
//! `stats.rs`, `scope.rs` (calls that borrow); `shutdown.rs` for the end of it all.

mod bounded;
mod builder;
mod control;
mod entry;
mod execute;
mod life;
mod life_settings;
mod pool;
mod propagate;
mod queue;
mod scope;
mod scope_calls;
mod scoped_future;
mod shutdown;
mod state;
mod stats;
mod store;
mod submit;
mod traits;
mod worker;

pub use bounded::FullQueue;
pub use builder::ThreadPoolBuilder;
pub(crate) use entry::Entry;
pub use pool::ThreadPoolExecutor;
pub use scope::Scope;
pub use scoped_future::ScopedFuture;
pub use state::with_worker_state;
pub use stats::PoolStats;
pub use store::Discipline;
pub use submit::TrySubmitError;
pub(crate) use worker::{Nested, begin_nested};
