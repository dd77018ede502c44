//! [`Panic`]: the payload, message and place of a panic.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::contain;

/// The panic of a call: its payload, its message and, where it is known, its place in the source.
///
/// Cloning shares the payload.
///
/// # Examples
///
/// ```
/// use concurrent::{Error, futures::ThreadPoolExecutor};
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// let call = pool.spawn(|| -> u8 { panic!("no disk") })?;
/// match call.result() {
///     Err(Error::Panicked(panic)) => assert!(panic.to_string().ends_with("no disk")),
///     other => unreachable!("{other:?}"),
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Panic(Arc<PanicParts>);

struct PanicParts {
    message: Box<str>,
    location: Option<Box<str>>,
    /// Behind a lock because payloads are `Send` but not `Sync`. The standard library's lock,
    /// because it is part of no protocol that a model should explore.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>, location: Option<String>) -> Self {
        let message = if let Some(text) = payload.downcast_ref::<&str>() {
            (*text).into()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.as_str().into()
        } else {
            "Box<dyn Any>".into()
        };
        let location = location.map(String::into_boxed_str);
        Self(Arc::new(PanicParts { message, location, payload: Mutex::new(Some(payload)) }))
    }

    /// Returns the panic's message; `"Box<dyn Any>"` if the payload is not a string.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.spawn(|| -> u8 { panic!("disk {} is full", 3) })?;
    /// let Some(Error::Panicked(panic)) = call.exception()? else { unreachable!() };
    /// assert_eq!(panic.message(), "disk 3 is full");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns where the panic was raised, as `file:line:column`.
    ///
    /// `None` if the program replaced the panic hook after its first executor was made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.spawn(|| -> u8 { panic!("no disk") })?;
    /// let Some(Error::Panicked(panic)) = call.exception()? else { unreachable!() };
    /// assert!(panic.location().is_some_and(|place| place.contains(".rs:")));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// Takes the payload, for [`resume_unwind`](std::panic::resume_unwind); `None` the second time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::{Error, futures::ThreadPoolExecutor};
    /// # let pool = ThreadPoolExecutor::new(1)?;
    /// let call = pool.spawn(|| -> u8 { std::panic::panic_any(404) })?;
    /// let Some(Error::Panicked(panic)) = call.exception()? else { unreachable!() };
    /// let payload = panic.take_payload().expect("it is taken for the first time");
    /// assert_eq!(payload.downcast_ref(), Some(&404));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for PanicParts {
    fn drop(&mut self) {
        let payload = self.payload.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        contain("dropping the payload of a panic", || drop(payload));
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location() {
            Some(location) => write!(f, "panicked at {location}: {}", self.message()),
            None => write!(f, "panicked: {}", self.message()),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message())
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

// The payload is only moved out, never accessed through a shared reference.
impl std::panic::UnwindSafe for Panic {}
impl std::panic::RefUnwindSafe for Panic {}
