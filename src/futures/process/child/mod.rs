//! The worker's side.

pub(crate) mod init;
pub(crate) mod main_loop;
pub(crate) mod run;
