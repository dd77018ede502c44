//! Random pools, calls and kills.

pub(crate) mod calls;
pub(crate) mod kills;
pub(crate) mod pools;
