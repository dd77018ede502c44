//! [`OnError`]: how a run reacts to an action that fails.

use std::fmt;

use crate::error::{Error, Result};
use crate::sched::user_function::UserFunction;
use crate::user_code;

/// The policy of a run for actions that fail: the setting of
/// [`on_error`](crate::sched::SchedulerBuilder::on_error).
///
/// # Python
///
/// The exception comes out of `run`, which is [`Stop`](Self::Stop).
///
/// # Examples
///
/// ```
/// use concurrent::sched::{OnError, Scheduler};
/// use std::time::Duration;
///
/// let s = Scheduler::builder().on_error(OnError::Stop).build(); // the default
/// s.enter(Duration::ZERO, 1, || Err("no milk"));
/// s.enter(Duration::ZERO, 2, || println!("still queued"));
/// assert!(s.run().is_err());
/// assert_eq!(s.len(), 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// The run ends, and the error comes out of it.
    #[default]
    Stop,
    /// The run goes on.
    Continue,
}

/// An action that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    pub(crate) error: Error,
}

/// A function of the user's that decides.
pub(crate) type Decide = dyn Fn(&Error) -> OnError + Send + Sync;

/// The policy that the builder was given.
pub(crate) enum ErrorPolicy {
    Always(OnError),
    Decide(UserFunction<Box<Decide>>),
}

impl ErrorPolicy {
    /// An error, if the run must end with it.
    #[cold]
    pub(crate) fn settle(&self, failure: Failure) -> Result<()> {
        match self {
            Self::Always(OnError::Stop) => Err(failure.error),
            Self::Always(OnError::Continue) => {
                failure.log();
                failure.discard();
                Ok(())
            }
            Self::Decide(decide) => {
                let mut decision = OnError::Stop;
                user_code::contain("deciding about an action that failed", || {
                    decision = decide(&failure.error);
                });
                match decision {
                    OnError::Stop => Err(failure.error),
                    OnError::Continue => {
                        failure.discard();
                        Ok(())
                    }
                }
            }
        }
    }
}

impl Failure {
    /// An error may hold what is the user's: the payload of a panic, or what an action returned.
    pub(crate) fn discard(self) {
        user_code::contain("dropping the error of an action", || drop(self));
    }

    /// For an error that no caller receives.
    pub(crate) fn log(&self) {
        user_code::contain("logging an error", || {
            let Self { name, error } = self;
            log::error!(target: crate::LOG_TARGET, "the scheduled action {name} failed: {error}");
        });
    }
}

impl fmt::Debug for ErrorPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(on_error) => on_error.fmt(f),
            Self::Decide(_) => f.write_str("Decide"),
        }
    }
}
