//! [`Outcome`]: the return types of actions and initializers.

use std::error::Error as StdError;

use super::{Error, Result};

/// The return types of actions and initializers: `()`, or a `Result<(), E>`.
///
/// `E` is anything that `?` could turn into a boxed error: an error type, `String`, `&str`,
/// `Box<dyn Error + Send + Sync>`.
///
/// # Examples
///
/// ```
/// use concurrent::sched::Scheduler;
/// use std::time::Duration;
///
/// let s = Scheduler::new();
/// s.enter(Duration::ZERO, 1, || println!("nothing to report"));
/// s.enter(Duration::ZERO, 2, || "256".parse::<u8>().map(drop));
/// assert!(s.run().unwrap_err().downcast_ref::<std::num::ParseIntError>().is_some());
/// ```
#[diagnostic::on_unimplemented(
    message = "an action or initializer must return `()` or a `Result<(), E>`, not `{Self}`",
    label = "returns `{Self}`",
    note = "drop the value: end the block with a semicolon, or a result with `.map(drop)`"
)]
pub trait Outcome: sealed::Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<()>;
}

impl Outcome for () {
    fn into_result(self) -> Result<()> {
        Ok(())
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> Outcome for std::result::Result<(), E> {
    fn into_result(self) -> Result<()> {
        self.map_err(Error::raised)
    }
}

/// The type of `panic!()`, so that a closure that only panics is an action too.
impl Outcome for Never {
    fn into_result(self) -> Result<()> {
        self
    }
}

/// `!`, which has no name in stable Rust, but is the return type of some functions.
type Never = <fn() -> ! as sealed::Returns>::Type;

mod sealed {
    pub trait Returns {
        type Type;
    }
    impl<R> Returns for fn() -> R {
        type Type = R;
    }

    pub trait Sealed {}
    impl Sealed for super::Never {}
    impl Sealed for () {}
    impl<E> Sealed for std::result::Result<(), E> {}
}
