//! Waits that could never end are refused, and no others.

mod borrowed_handles;
mod circles;
mod closed_chains;
mod compositions;
mod drops;
mod no_false_alarm;
mod random_calls;
mod random_compositions;
mod shutdowns;
