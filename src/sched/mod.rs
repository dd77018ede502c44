//! Event scheduler.
