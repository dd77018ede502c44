//! The parent's side: the queue and the workers, calls and replies, starts and ends of workers.

pub(crate) mod answered;
pub(crate) mod deferred;
pub(crate) mod delivery;
pub(crate) mod incoming;
pub(crate) mod inline_receive;
pub(crate) mod manager;
mod remote_pool;
mod reply;
pub(crate) mod reply_reader;
pub(crate) mod spawn;
pub(crate) mod supervisor;
mod timers;
pub(crate) mod worker_exit;
pub(crate) mod worker_handle;
pub(crate) mod worker_state;
