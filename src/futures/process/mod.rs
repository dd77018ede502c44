//! Worker processes: what a program needs to have them, and what they can do beyond threads.
//!
//! A program with a [`ProcessPoolExecutor`] begins with [`init`]. Each worker is this program,
//! executed afresh, and joined to the pool by a channel of its own:
//!
//! ```text
//!   parent                                        worker process
//!   submit ──► queue ──► slot ══ request pipe ══► decode, call, encode
//!                         ▲                          │
//!   future ◄── decode ◄── minder ◄═ reply pipe ══════┘
//!                         │  └────── pidfd: its end
//!              shared memory: large payloads, claims, last words
//! ```
//!
// Read next: `slot.rs` (the life of a worker), `wire.rs` (what is said), `crew.rs` (what is decided
// under the lock), `minder.rs`, `ends.rs`, `worker.rs`; `identity.rs` for how a function crosses.

mod attached;
mod builder;
mod calls;
mod chunk;
mod codec;
mod crew;
mod ends;
mod identity;
mod inbox;
mod init;
mod link;
mod memory;
mod minder;
mod numbers;
mod page;
mod pool;
mod seat;
mod segments;
mod send;
mod shared_bytes;
mod slot;
mod spawn;
mod stats;
mod system;
mod task;
mod wire;
mod worker;

pub use builder::{OnWorkerDeath, ProcessPoolBuilder};
pub use init::{hook, init};
pub use pool::ProcessPoolExecutor;
pub use shared_bytes::SharedBytes;
pub use spawn::ResourceLimit;
pub use stats::ProcessPoolStats;
