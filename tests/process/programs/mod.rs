//! Programs of all kinds as the parents of workers.

pub(crate) mod before_init;
pub(crate) mod every_circumstance;
pub(crate) mod loaded_libraries;
pub(crate) mod whole_programs;
