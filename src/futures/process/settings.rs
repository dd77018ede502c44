//! The settings of a process pool, as its builder has checked them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::channel::message::Message;
use super::channel::sender::{Sender, Unsent};
use super::resource_limit::ResourceLimit;
use crate::futures::remote::segments::Arena;
use crate::sync::Mutex;

/// The policy for the death of a worker process: the setting of
/// [`ProcessPoolBuilder::on_worker_death`](super::ProcessPoolBuilder::on_worker_death).
///
/// Only the call that the worker had begun is in doubt. The calls sent to it after that one were
/// not started; under all policies but the first they run elsewhere.
///
/// # Python
///
/// A worker's death always breaks the pool.
///
/// # Examples
///
/// ```
/// use concurrent::{Error, futures::process::{self, OnWorkerDeath, ProcessPoolExecutor}};
///
/// process::init();
/// let policy = OnWorkerDeath::FailCall;
/// let pool = ProcessPoolExecutor::builder().max_workers(1).on_worker_death(policy).build()?;
/// let crash = pool.submit(|code| -> u8 { std::process::exit(code) }, 3)?;
/// assert!(matches!(crash.into_result(), Err(Error::WorkerDied(_))));
/// assert_eq!(pool.submit(|n: u8| n + 1, 1)?.into_result()?, 2); // in a new worker
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnWorkerDeath {
    /// The pool is broken, as in Python: all pending and running calls fail with
    /// [`Error::BrokenProcessPool`](crate::Error::BrokenProcessPool).
    #[default]
    BreakPool,
    /// The call fails with [`Error::WorkerDied`](crate::Error::WorkerDied), and the worker is
    /// replaced.
    FailCall,
    /// The call runs again, up to this many times, and then fails as with `FailCall`: for calls
    /// that may be begun more than once.
    Retry(u32),
}

/// Checked settings; see [`ProcessPoolBuilder`](super::ProcessPoolBuilder) for what they mean.
pub(crate) struct ProcessSettings {
    pub(crate) max_workers: usize,
    pub(crate) max_tasks_per_child: Option<usize>,
    pub(crate) on_worker_death: OnWorkerDeath,
    pub(crate) deadline: Option<Duration>,
    pub(crate) prefetch: Option<usize>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) start_timeout: Duration,
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) clear_environment: bool,
    pub(crate) working_directory: Option<PathBuf>,
    pub(crate) limits: Vec<(ResourceLimit, u64)>,
    pub(crate) max_message_size: u64,
    /// The call of the initializer, sent to each worker first.
    pub(super) initializer: Option<Mutex<Message>>,
}

impl ProcessSettings {
    /// Sends the initializer, if there is one, to a new worker.
    pub(crate) fn initialize(&self, sender: &mut Sender, arena: &Arena) -> std::io::Result<()> {
        let Some(message) = &self.initializer else { return Ok(()) };
        sender.page().offer(0);
        let mut batch = Vec::new();
        {
            let mut message = message.lock();
            message.make_ready(arena).map_err(std::io::Error::other)?;
            let sent = sender.frame(&mut batch, 0, &message);
            sent.map_err(|unsent| match unsent {
                Unsent::Refused(error) => std::io::Error::from(error),
                Unsent::NoRoom => std::io::ErrorKind::WouldBlock.into(),
            })?;
        }
        sender.write(&batch)?;
        Ok(())
    }
}
