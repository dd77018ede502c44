//! Root's end of the pool, under the executor: its thread, and what ends with it.

pub(crate) mod adaptive_credit;
pub(crate) mod coordinator;
pub(crate) mod dispatcher;
pub(crate) mod event_loop;
mod handshake;
pub(crate) mod pool_state;
pub(crate) mod request;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use self::coordinator::Coordinator;
use self::pool_state::{LoopEnd, PoolState};
use super::rank::RankLoop;
use super::runtime::{self, Ranks, hello};
use super::transport::local_transport::LocalTransport;
use super::transport::mpi_transport::MpiTransport;
use super::transport::{Fault, Transport};
use crate::error::{Cause, Error, Result};
use crate::sync::{JoinHandle, Mutex, spawn};
use crate::user_code::install_hook;

/// What carries the messages, to be ended with the pool.
pub(crate) enum Backend {
    Mpi(Ranks),
    /// The worker is a thread.
    Local(JoinHandle<()>),
}

pub(crate) struct Root {
    pub(crate) shared: Arc<PoolState>,
    /// Until the pool has ended. The lock is held while it does.
    engine: Mutex<Option<Parts>>,
}

struct Parts {
    engine: Backend,
    thread: JoinHandle<()>,
}

impl Root {
    /// Root of these ranks, when all have said that they are there.
    pub(crate) fn of_ranks(
        shared: Arc<PoolState>,
        ranks: Ranks,
        initializer: Option<Vec<u8>>,
    ) -> Result<Arc<Self>> {
        let link =
            MpiTransport::new(ranks.comm, ranks.rank, ranks.size, Arc::clone(&shared.buffers));
        let count = ranks.size - 1;
        match start(&shared, link, count, initializer) {
            Ok(thread) => {
                let root = Self::new(shared, Backend::Mpi(ranks), thread);
                runtime::end_with_program(&root);
                Ok(root)
            }
            Err((error, true)) => {
                ranks.close();
                Err(error)
            }
            Err((error, false)) => ranks.abort(&Fault::new(error.to_string())),
        }
    }

    /// Root of a single worker, a thread.
    pub(crate) fn local(shared: Arc<PoolState>, initializer: Option<Vec<u8>>) -> Result<Arc<Self>> {
        let (link, workers) = LocalTransport::network(1, &shared.buffers);
        let buffers = Arc::clone(&shared.buffers);
        let serve = move || {
            for mut link in workers {
                let served = RankLoop::new(&mut link, Arc::clone(&buffers)).serve(&hello());
                if let Err(Fault(why)) = served {
                    log::error!(target: crate::LOG_TARGET, "the local worker ends: {why}");
                }
            }
        };
        let worker = spawn("MpiPool-local".into(), None, serve);
        let worker = worker.map_err(|error| Error::ThreadStart(Cause::new(error)))?;
        let thread = start(&shared, link, 1, initializer).map_err(|(error, _)| error)?;
        Ok(Self::new(shared, Backend::Local(worker), thread))
    }

    fn new(shared: Arc<PoolState>, engine: Backend, thread: JoinHandle<()>) -> Arc<Self> {
        Arc::new(Self { shared, engine: Mutex::new(Some(Parts { engine, thread })) })
    }

    /// Waits until the pool has ended, and ends its engine; false if time ran out before.
    pub(crate) fn join(self: &Arc<Self>, deadline: Option<Instant>) -> bool {
        let Some(end) = self.shared.join(deadline) else { return false };
        let mut parts = self.engine.lock();
        let Some(Parts { engine, thread }) = parts.take() else { return true };
        let _ = thread.join(); // it catches what panics in user code
        match (engine, end) {
            (Backend::Mpi(ranks), LoopEnd::Stopped) => ranks.close(),
            (Backend::Mpi(ranks), LoopEnd::Faulty(why)) => ranks.abort(&why),
            (Backend::Local(worker), _) => drop(worker.join()),
        }
        drop(parts);
        runtime::forget(self);
        true
    }

    /// Whether the program goes on with MPI when the pool has ended.
    pub(crate) fn is_guest(&self) -> bool {
        let parts = self.engine.lock();
        let engine = parts.as_ref().map(|parts| &parts.engine);
        matches!(engine, Some(Backend::Mpi(ranks)) if !ranks.finalises)
    }

    /// The program ends: what runs is given until then.
    pub(crate) fn end_with_program(self: &Arc<Self>, deadline: Option<Instant>) {
        self.shared.hurry();
        let stuck = self.shared.is_own_thread() || !self.join(deadline);
        if !stuck {
            return;
        }
        let parts = self.engine.lock().take();
        if let Some(Parts { engine: Backend::Mpi(ranks), .. }) = parts {
            ranks.abort(&Fault::new("the program ended in a callback, or while one ran"));
        }
    }
}

/// Starts the pool's thread. An error says whether the workers were told to stop.
fn start<T: Transport + Send + 'static>(
    shared: &Arc<PoolState>,
    link: T,
    count: usize,
    initializer: Option<Vec<u8>>,
) -> Result<JoinHandle<()>, (Error, bool)> {
    install_hook();
    let (told, tells) = mpsc::channel();
    let own = Arc::clone(shared);
    let body = move || {
        let greeted =
            Coordinator::handshake(Arc::clone(&own), link, count, &hello(), initializer.as_deref());
        match greeted {
            Ok(coordinator) => {
                let _ = told.send(Ok(()));
                let end = event_loop::run(coordinator);
                own.has_ended(end);
            }
            Err(error) => drop(told.send(Err(error))),
        }
    };
    let thread = spawn("MpiPool".into(), None, body);
    let thread = thread.map_err(|error| (Error::ThreadStart(Cause::new(error)), false))?;
    match tells.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(refused)) => {
            let _ = thread.join();
            Err(refused)
        }
        Err(mpsc::RecvError) => {
            Err((Error::Cluster("the thread of the pool has died".into()), false))
        }
    }
}
