//! Calls made of calls: chains, groups and deadlines.

mod chains;
mod deadlines;
mod flattening;
mod groups;
