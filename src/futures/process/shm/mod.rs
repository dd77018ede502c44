//! Shared memory.

pub(crate) mod foreign;
pub(crate) mod memory;
pub(crate) mod segments;
