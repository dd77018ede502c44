//! The events that wait, in order. Pure: no lock, no clock, no thread.

pub(crate) mod event_queue;
mod heap;
pub(crate) mod key;
mod key_queue;
pub(crate) mod time_order;
