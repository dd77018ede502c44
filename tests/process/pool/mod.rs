//! The pool: its settings, its start and its end.

pub(crate) mod executor_trait;
pub(crate) mod leaks;
pub(crate) mod settings;
pub(crate) mod shutdown;
pub(crate) mod startup_failures;
