//! The channel between a worker and its parent.

pub(crate) mod files;
pub(crate) mod flow;
pub(crate) mod inbox;
pub(crate) mod link;
pub(crate) mod page;
pub(crate) mod question;
pub(crate) mod ring;
