//! Code that differs between systems, one file for each concern. Linux only so far.

pub(crate) mod descriptors;
pub(crate) mod fork;
pub(crate) mod limits;
pub(crate) mod mapping;
pub(crate) mod program;
pub(crate) mod signals;
