//! Workers that die, are stopped, or write where they should not; and parents that die.

pub(crate) mod corrupted_channel;
pub(crate) mod dead_parent;
pub(crate) mod each_policy;
pub(crate) mod each_step;
pub(crate) mod lost_answers;
pub(crate) mod reasons;
pub(crate) mod reused_process_ids;
pub(crate) mod stopped_workers;
