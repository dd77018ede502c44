//! Pools with handles of their own.

use std::time::Duration;

use executors::Executor;
use executors::futures_executor::FuturesExecutor;
use futures::task::SpawnExt;

use super::by_hand::{Execute, Executors};
use super::pool::Pool;
use super::work::{DEPTH, NODES, Peer, Sample};

/// Its calls as futures.
pub struct ExecutorsSpawn(Executors);

impl Pool for ExecutorsSpawn {
    type Handle = executors::futures_executor::JoinHandle<()>;

    fn new(workers: usize) -> Self {
        Self(<Executors as Execute>::new(workers))
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle {
        self.0.spawn(async move { function() })
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        Executor::execute(&self.0, function);
    }
}

impl Pool for rusty_pool::ThreadPool {
    type Handle = futures::channel::oneshot::Receiver<()>;

    fn new(workers: usize) -> Self {
        Self::new(workers, workers, Duration::from_secs(60))
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle {
        self.evaluate(function).receiver
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        self.execute(function);
    }
}

impl Pool for futures::executor::ThreadPool {
    type Handle = futures::future::RemoteHandle<()>;

    fn new(workers: usize) -> Self {
        Self::builder().pool_size(workers).create().unwrap()
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle {
        self.spawn_with_handle(async move { function() }).unwrap()
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        self.spawn_ok(async move { function() });
    }
}

/// The pool of the process, which starts as many threads as its environment says: see
/// `BLOCKING_MAX_THREADS` in `mod.rs`.
pub struct Blocking;

impl Pool for Blocking {
    type Handle = blocking::Task<()>;

    fn new(_: usize) -> Self {
        Self
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle {
        blocking::unblock(function)
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        blocking::unblock(function).detach();
    }
}

/// tokio's runtime for calls that do not block.
pub struct TokioSpawn(tokio::runtime::Runtime);

impl Pool for TokioSpawn {
    type Handle = tokio::task::JoinHandle<()>;

    fn new(workers: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build();
        Self(runtime.unwrap())
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle {
        self.0.spawn(async move { function() })
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        drop(self.submit(function));
    }
}

/// tokio's runtime for calls that may block.
pub struct TokioBlocking(tokio::runtime::Runtime);

impl Pool for TokioBlocking {
    type Handle = tokio::task::JoinHandle<()>;

    fn new(workers: usize) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(builder.worker_threads(1).max_blocking_threads(workers).build().unwrap())
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle {
        self.0.spawn_blocking(function)
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        drop(self.submit(function));
    }
}

/// tokio's tasks that await their children.
pub struct TokioTree(tokio::runtime::Runtime);

impl TokioTree {
    pub fn boxed(workers: usize) -> Box<dyn Peer> {
        Box::new(Self(TokioSpawn::new(workers).0))
    }
}

/// Spawns both children and awaits them; the number of leaves.
fn awaited(depth: u32) -> futures::future::BoxFuture<'static, usize> {
    Box::pin(async move {
        if depth == 0 {
            return 1;
        }
        let children = [(); 2].map(|()| tokio::spawn(awaited(depth - 1)));
        let [one, other] = children;
        one.await.unwrap() + other.await.unwrap()
    })
}

impl Peer for TokioTree {
    fn tree(&mut self) -> Option<Sample> {
        Some(Sample::of(NODES, || {
            let root = self.0.spawn(awaited(DEPTH));
            assert_eq!(self.0.block_on(root).unwrap(), 1 << DEPTH);
        }))
    }
}

/// `rayon::join`, which needs no handles.
pub struct RayonJoin(rayon::ThreadPool);

impl RayonJoin {
    pub fn boxed(workers: usize) -> Box<dyn Peer> {
        Box::new(Self(<rayon::ThreadPool as Execute>::new(workers)))
    }
}

fn joined(depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let (one, other) = rayon::join(|| joined(depth - 1), || joined(depth - 1));
    one + other
}

impl Peer for RayonJoin {
    fn tree(&mut self) -> Option<Sample> {
        Some(Sample::of(NODES, || assert_eq!(self.0.install(|| joined(DEPTH)), 1 << DEPTH)))
    }
}
