//! The parent's side of a worker: what it is given, what it answers, how it starts and ends.

pub(crate) mod answered;
pub(crate) mod attend;
mod clock;
mod courier;
pub(crate) mod crew;
pub(crate) mod deferred;
mod desk;
pub(crate) mod ends;
pub(crate) mod receiver;
pub(crate) mod seat;
pub(crate) mod slot;
pub(crate) mod spawn;
pub(crate) mod supervisor;
pub(crate) mod task;
mod watch;
