//! Python's `concurrent.futures`.

mod as_completed;
mod awaiting;
mod call;
mod core;
mod executor;
mod flatten;
mod future;
mod map;
#[cfg(all(target_os = "linux", not(concurrent_loom)))]
pub mod process;
mod promise;
mod state;
mod thread;
mod unordered;
mod wait;
mod waiter;

pub use as_completed::{AsCompleted, AsCompletedTimeout, as_completed, as_completed_timeout};
pub use awaiting::Awaiting;
pub use executor::{Executor, Portable, ShutdownOptions, ShutdownReport};
pub use future::Future;
pub use map::{Map, MapOptions};
#[cfg(all(target_os = "linux", not(concurrent_loom)))]
pub use process::ProcessPoolExecutor;
pub use promise::Promise;
pub use thread::{Builder, ThreadPoolExecutor};
pub use wait::{DoneAndNotDone, ReturnWhen, wait};
