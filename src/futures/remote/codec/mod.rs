//! Arguments and results as bytes: postcard, with short cuts for long vectors of numbers.
//!
//! Everything a call carries passes through here, on both sides; user code (`Serialize` and
//! `Deserialize`) runs inside of [`catch`](crate::user_code::catch), so that its panics belong to one call.

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
