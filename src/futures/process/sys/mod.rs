//! What differs between systems.

pub(crate) mod system;
