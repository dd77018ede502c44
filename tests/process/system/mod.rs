//! A system that refuses things, and what surrounds a program.

pub(crate) mod failing_calls;
pub(crate) mod few_descriptors;
pub(crate) mod forks;
pub(crate) mod limits;
pub(crate) mod resource_exhaustion;
pub(crate) mod seccomp;
pub(crate) mod signals_and_streams;
