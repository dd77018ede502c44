//! The pool on rank 0, under its executor: starting and ending it.

pub(crate) mod adaptive_credit;
pub(crate) mod coordinator;
pub(crate) mod delivery;
pub(crate) mod dispatcher;
pub(crate) mod event_loop;
mod handshake;
pub(crate) mod pool_state;

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
use crate::futures::remote::submit::RemotePool;
use crate::sync::{JoinHandle, spawn};
use crate::user_code::install_hook;

/// The carrier of messages.
enum Backend {
    Mpi(Ranks),
    /// The worker is a thread.
    Local(JoinHandle<()>),
}

/// The backend and the thread of a pool, which end with it.
struct Engine {
    backend: Backend,
    thread: JoinHandle<()>,
}

impl PoolState {
    /// Starts the pool of these ranks; returns when all have sent their hello.
    pub(crate) fn start(
        self: &Arc<Self>,
        ranks: Ranks,
        initializer: Option<Vec<u8>>,
    ) -> Result<()> {
        let Ranks { comm, rank, size, .. } = ranks;
        let transport = MpiTransport::new(comm, rank, size, Arc::clone(&self.buffers));
        match start_thread(self, transport, size - 1, initializer) {
            Ok(thread) => {
                self.attach(Backend::Mpi(ranks), thread);
                runtime::end_with_program(self);
                Ok(())
            }
            Err((error, true)) => {
                ranks.close();
                Err(error)
            }
            Err((error, false)) => ranks.abort(&Fault::new(error.to_string())),
        }
    }

    /// Starts a pool whose single worker is a thread.
    pub(crate) fn start_local(self: &Arc<Self>, initializer: Option<Vec<u8>>) -> Result<()> {
        let (transport, workers) = LocalTransport::network(1, &self.buffers);
        let buffers = Arc::clone(&self.buffers);
        let serve = move || {
            for mut transport in workers {
                let served = RankLoop::new(&mut transport, Arc::clone(&buffers)).serve(&hello());
                if let Err(Fault(why)) = served {
                    log::error!(target: crate::LOG_TARGET, "the local worker ends: {why}");
                }
            }
        };
        let worker = spawn("MpiPool-local".into(), None, serve);
        let worker = worker.map_err(|error| Error::ThreadStart(Cause::new(error)))?;
        let started = start_thread(self, transport, 1, initializer);
        let thread = started.map_err(|(error, _)| error)?;
        self.attach(Backend::Local(worker), thread);
        Ok(())
    }

    fn attach(&self, backend: Backend, thread: JoinHandle<()>) {
        *self.engine.lock() = Some(Engine { backend, thread });
    }

    /// Waits for the end of the pool's thread, and ends the backend; false if time ran out before.
    fn end_engine(self: &Arc<Self>, deadline: Option<Instant>) -> bool {
        let Some(end) = self.wait_for_end(deadline) else { return false };
        let mut engine = self.engine.lock(); // until the end is complete
        let Some(Engine { backend, thread }) = engine.take() else { return true };
        let _ = thread.join(); // it catches the panics of user code
        match (backend, end) {
            (Backend::Mpi(ranks), LoopEnd::Stopped) => ranks.close(),
            (Backend::Mpi(ranks), LoopEnd::Faulty(why)) => ranks.abort(&why),
            (Backend::Local(worker), _) => drop(worker.join()),
        }
        drop(engine);
        runtime::forget(self);
        true
    }

    /// Whether the program goes on with MPI when the pool has ended.
    pub(crate) fn is_guest(&self) -> bool {
        let engine = self.engine.lock();
        let backend = engine.as_ref().map(|engine| &engine.backend);
        matches!(backend, Some(Backend::Mpi(ranks)) if !ranks.finalises)
    }

    /// The program ends: calls that run have until the deadline.
    pub(crate) fn end_with_program(self: &Arc<Self>, deadline: Option<Instant>) {
        self.hurry();
        let stuck = self.is_own_thread() || !self.end_engine(deadline);
        if !stuck {
            return;
        }
        let engine = self.engine.lock().take();
        if let Some(Engine { backend: Backend::Mpi(ranks), .. }) = engine {
            ranks.abort(&Fault::new("the program ended in a callback, or while one ran"));
        }
    }
}

/// Starts the pool's thread. An error also says whether the workers were told to stop.
fn start_thread<T: Transport + Send + 'static>(
    shared: &Arc<PoolState>,
    transport: T,
    count: usize,
    initializer: Option<Vec<u8>>,
) -> Result<JoinHandle<()>, (Error, bool)> {
    install_hook();
    let (started, starts) = mpsc::channel();
    let own = Arc::clone(shared);
    let body = move || {
        let connected = Coordinator::handshake(
            Arc::clone(&own),
            transport,
            count,
            &hello(),
            initializer.as_deref(),
        );
        match connected {
            Ok(coordinator) => {
                let _ = started.send(Ok(()));
                let end = event_loop::run(coordinator);
                own.has_ended(end);
            }
            Err(error) => drop(started.send(Err(error))),
        }
    };
    let thread = spawn("MpiPool".into(), None, body);
    let thread = thread.map_err(|error| (Error::ThreadStart(Cause::new(error)), false))?;
    match starts.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(refused)) => {
            let _ = thread.join();
            Err(refused)
        }
        Err(mpsc::RecvError) => Err((Error::Mpi("the thread of the pool has died".into()), false)),
    }
}
