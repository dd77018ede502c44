//! Shared memory.

pub(crate) mod foreign;
pub(crate) mod mapping;
pub(crate) mod segments;
