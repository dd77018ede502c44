//! The thread pool. Read next: `queue/` for why no call is stranded, then `worker.rs`, `pool.rs`.
//!
//! What is more than Python's: `queue/bounded.rs` and `submit.rs` (a queue with a limit),
//! `queue/entry.rs` and `queue/store.rs` (what is in it, and the order in which it leaves), `life.rs`
//! (how many workers there are), `state.rs` (what a worker owns), `propagate.rs` (what goes with a
//! call), `execute.rs` (calls that nobody waits for), `stats.rs`, `scope/` (calls that borrow);
//! `shutdown.rs` for the end of it all.

mod builder;
mod execute;
mod life;
mod life_settings;
mod pool;
mod propagate;
mod queue;
mod scope;
mod shutdown;
mod state;
mod stats;
mod submit;
mod traits;
mod worker;

pub use builder::ThreadPoolBuilder;
pub use pool::ThreadPoolExecutor;
pub(crate) use queue::Entry;
pub use queue::{Discipline, FullQueue};
pub use scope::{Scope, ScopedFuture};
pub use state::with_worker_state;
pub use stats::PoolStats;
pub use submit::TrySubmitError;
