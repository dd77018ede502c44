//! The worker's side.

pub(crate) mod init;
pub(crate) mod main_loop;
mod reply_sender;
pub(crate) mod run;
