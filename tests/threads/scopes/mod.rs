//! `ThreadPoolExecutor::scope`: calls that borrow.

mod borrowing;
mod deadlocks;
mod in_workers;
mod panics_and_drops;
