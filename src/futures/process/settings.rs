//! The settings of a process pool, as its builder has checked them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::channel::message::Message;
use super::channel::sender::{Sender, Unsent};
use super::handshake::INITIALIZER;
use super::options::{OnWorkerDeath, ResourceLimit};
use crate::futures::remote::initializer::DEFAULT_MESSAGE_LIMIT;
use crate::futures::remote::segments::Arena;
use crate::sync::Mutex;

/// Settings, which the builder checks before it makes a pool of them; see
/// [`ProcessPoolBuilder`](super::ProcessPoolBuilder) for what they mean.
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

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            max_workers: num_cpus::get(),
            max_tasks_per_child: None,
            on_worker_death: OnWorkerDeath::default(),
            deadline: None,
            prefetch: None,
            idle_timeout: None,
            start_timeout: Duration::from_secs(60),
            environment: Vec::new(),
            clear_environment: false,
            working_directory: None,
            limits: Vec::new(),
            max_message_size: DEFAULT_MESSAGE_LIMIT,
            initializer: None,
        }
    }
}

impl ProcessSettings {
    /// Sends the initializer, if there is one, to a new worker.
    pub(crate) fn initialize(&self, sender: &mut Sender, arena: &Arena) -> std::io::Result<()> {
        let Some(message) = &self.initializer else { return Ok(()) };
        sender.page().offer(INITIALIZER);
        let mut batch = Vec::new();
        {
            let mut message = message.lock();
            message.make_ready(arena).map_err(std::io::Error::other)?;
            let sent = sender.frame(&mut batch, INITIALIZER, &message);
            sent.map_err(|unsent| match unsent {
                Unsent::Refused(error) => std::io::Error::from(error),
                Unsent::NoRoom => std::io::ErrorKind::WouldBlock.into(),
            })?;
        }
        sender.write(&batch)?;
        Ok(())
    }
}
