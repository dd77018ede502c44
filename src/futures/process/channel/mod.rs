//! The channel between a worker and its parent.

pub(crate) mod fds;
pub(crate) mod flow;
pub(crate) mod frame;
pub(crate) mod frame_reader;
pub(crate) mod inquiry;
pub(crate) mod message;
pub(crate) mod ring;
pub(crate) mod sender;
pub(crate) mod shared_page;
pub(crate) mod wake;
