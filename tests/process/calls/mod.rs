//! Calls in worker processes, from their submission to their end.

pub(crate) mod awaited_by_threads;
pub(crate) mod crossing;
pub(crate) mod in_good_order;
pub(crate) mod inline_receive;
pub(crate) mod killed;
pub(crate) mod large_payloads;
pub(crate) mod panicking_drops;
pub(crate) mod requeued;
pub(crate) mod user_code;
