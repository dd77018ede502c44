//! What the public types promise by their traits and their texts.

mod debug_forms;
mod error_messages;
mod traits;
