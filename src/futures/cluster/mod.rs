//! Calls on the ranks of an MPI program, on one machine or many.
//!
//! For work that is too much for one machine. Everything is as with
//! [processes](crate::futures::process), but the workers are the ranks that `mpirun` or `srun` has
//! started: rank 0 submits, the others run calls. Linux only; the feature `mpi`.

mod builder;
mod executor;
mod stats;

/// The crate whose communicators [`MpiPoolExecutor::enter`] takes.
pub use ::mpi;
pub use builder::MpiPoolBuilder;
pub use executor::{MpiPoolExecutor, Role};
pub use stats::MpiPoolStats;
