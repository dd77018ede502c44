//! The interface that all pools share: the trait [`Executor`], and how an executor is shut down.

#[cfg(feature = "process")]
mod portable;
mod shutdown;

#[cfg(feature = "process")]
pub(crate) use self::portable::impl_executor;
#[cfg(feature = "process")]
pub use self::portable::{Executor, Portable};
pub use self::shutdown::{ShutdownOptions, ShutdownReport};
