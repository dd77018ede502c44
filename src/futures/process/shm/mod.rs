//! Shared memory.

pub(crate) mod memory;
pub(crate) mod segments;
