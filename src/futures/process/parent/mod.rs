//! The parent's side of a worker: what it is given, what it answers, how it starts and ends.

pub(crate) mod answered;
pub(crate) mod deferred;
mod desk;
mod enqueue;
pub(crate) mod inline_receive;
pub(crate) mod manager;
pub(crate) mod reply_reader;
pub(crate) mod request;
pub(crate) mod spawn;
pub(crate) mod supervisor;
mod timers;
mod watch;
pub(crate) mod worker_exit;
pub(crate) mod worker_handle;
pub(crate) mod worker_state;
