//! Calls on the ranks of an MPI program, on one machine or many.
//!
//! They are for work that is too much for one machine. Everything is as with
//! [processes](crate::futures::process), but the workers are the ranks that `mpirun` or `srun` has
//! started: rank 0 submits, the others run calls. Linux only, with the feature `mpi`.
//!
//! # In a program
//!
//! ```no_run
//! use concurrent::futures::MpiPoolExecutor;
//!
//! fn is_prime(n: u64) -> bool {
//!     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
//! }
//!
//! fn main() -> concurrent::Result<()> {
//!     let pool = MpiPoolExecutor::new()?; // on ranks 1, 2, 3 ... this never returns
//!     let primes = pool.map(is_prime, 0..10).collect::<concurrent::Result<Vec<bool>>>()?;
//!     assert_eq!(primes.iter().filter(|prime| **prime).count(), 4);
//!     Ok(())
//! }
//! ```
//!
//! `mpirun -n 4 program` gives it three workers. Every rank also does what `main` does before it
//! makes the pool. A program with MPI code of its own makes pools of its communicators:
//! [`MpiPoolExecutor::enter`].
//!
//! All ranks must run the very same executable: a function crosses as its place in it. A rank of
//! another build is refused, with a message that says so.
//!
//! # To build it
//!
//! The feature needs an MPI library with its headers, a C compiler and libclang; on Debian `apt-get
//! install openmpi-bin libopenmpi-dev libclang-dev clang`. To build with another MPI, name its
//! compiler in the variable `MPICC`. The MPI must let threads take turns (`MPI_THREAD_SERIALIZED`).
//!
//! # When a rank dies
//!
//! | the MPI | what happens |
//! | --- | --- |
//! | Open MPI 5, `mpirun --with-ft ulfm` | the call that it ran fails with [`WorkerDied`], or runs again up to [`retries`](MpiPoolBuilder::retries) times; all others run; with no worker left the pool is broken |
//! | any other | the whole program ends at once, and the launcher says why |
//!
//! A rank works through its calls in order, so that of the unanswered calls only the first can have
//! killed it. If a whole host is lost, or rank 0, the program ends with any MPI. Ranks cannot be
//! added. Where ranks may die, let [`build`](MpiPoolBuilder::build) initialise MPI, or set
//! `OMPI_MCA_async_mpi_finalize=1`: with a barrier `MPI_Finalize` may wait for the dead.
//! [`Future::kill`] cancels a call that was not sent; it cannot reach one that was.
//!
//! # How calls reach their rank
//!
//! ```text
//!   rank 0                                          rank 1, 2, 3 ...
//!   submit ──► queue ──► the pool's thread ══ MPI ══► decode, call, encode
//!                             │  ▲                        │
//!   future ◄── decode ◄───────┘  └═══════════ MPI ════════┘
//! ```
//!
//! While the durations of its calls are unknown or long, a rank has one call at a time. If they
//! take less than 10 ms, a second one is sent ahead; if they take less than 0.1 ms, enough for
//! about half a millisecond, several in a message. A call that was sent counts as running, and
//! waits for the calls before it in its rank: [`credit(1)`](MpiPoolBuilder::credit) never sends
//! ahead.
//!
//! Replies are batched too: the reply of a short call may be held until a later call of the same
//! function in the same message finishes. If that later call depends on what rank 0 does with the
//! first result, both hang: set a [`credit`](MpiPoolBuilder::credit), with which each reply goes at
//! once.
//!
//! MPI has nothing that a thread could sleep on. A rank polls 200 times in a row, then sleeps for
//! 1, 2, 4 µs and so on up to 1 ms: an idle rank takes about 2 % of a processor, and the first call
//! after a pause takes up to 1 ms longer.
//!
//! # When the program ends
//!
//! If rank 0 returns from `main`, or exits, while the pool exists, calls that were not sent are
//! cancelled, running calls and initializers get two seconds, and the other ranks end; after that
//! the program says why and is aborted with code 113.
//!
//! [`WorkerDied`]: crate::Error::WorkerDied
//! [`Future::kill`]: crate::futures::Future::kill

// Read next: `root/dispatcher.rs` (which rank gets which calls, and when), `transport/mod.rs` (the seam to
// MPI), `root/coordinator.rs` and `root/event_loop.rs` (the thread of rank 0), `rank.rs` (the other ranks),
// `protocol.rs` (their messages), then `transport/mpi_transport.rs`, `transport/ffi.rs` and
// `transport/ulfm.rs` (MPI), and `runtime.rs` (MPI from its start to its end).

mod builder;
mod lifetime;
mod pool;
mod protocol;
mod rank;
mod root;
mod runtime;
mod stats;
mod transport;

#[cfg(test)]
mod tests;

/// The crate whose communicators [`MpiPoolExecutor::enter`] takes.
pub use ::mpi;
pub use builder::MpiPoolBuilder;
pub use pool::{MpiPoolExecutor, Role};
pub use stats::MpiPoolStats;
