//! The traits and the texts of the public types.

mod debug_forms;
mod error_messages;
mod traits;
