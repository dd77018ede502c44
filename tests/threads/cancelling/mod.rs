//! Cancelling calls, and asking them to stop.

mod chains_and_groups;
mod pending_calls;
mod stop_requests;
