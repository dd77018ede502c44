//! Calls on the ranks of an MPI program, on one machine or many.
//!
//! For work that is too much for one machine. Everything is as with
//! [processes](crate::futures::process), but the workers are the ranks that `mpirun` or `srun` has
//! started: rank 0 submits, the others run calls. Linux only; the feature `mpi`.

mod buffers;
mod builder;
mod dispatch;
mod engine;
mod executor;
mod greeting;
mod launch;
mod link;
mod local;
mod manager;
mod own_thread;
mod pace;
mod patience;
mod recovery;
mod root;
mod shared;
mod stats;
mod task;
mod transport;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

/// The crate whose communicators [`MpiPoolExecutor::enter`] takes.
pub use ::mpi;
pub use builder::MpiPoolBuilder;
pub use executor::{MpiPoolExecutor, Role};
pub use stats::MpiPoolStats;
