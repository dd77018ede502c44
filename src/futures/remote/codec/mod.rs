//! Arguments and results as bytes: postcard, with a fast path for vectors of numbers.
//!
//! Both sides encode and decode everything here. User code (`Serialize` and `Deserialize`) runs inside of
//! [`catch`](crate::user_code::catch), so that a panic of it is the failure of one call.

pub(crate) mod depth;
pub(crate) mod errors;
mod items;
pub(crate) mod numbers;
mod sink;
mod source;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use sink::{EncodeError, Payload, Sink};
pub(crate) use source::{OutOfLineBytes, OutOfLinePayload, Source};
#[cfg(feature = "mpi")]
pub(crate) use storage::HeapOnly;
pub(crate) use storage::Storage;
