//! Panics, errors, and drops.

mod drops;
mod panics_and_errors;
