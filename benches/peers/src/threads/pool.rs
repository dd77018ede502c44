//! The works on a pool that takes calls.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use futures::stream::{FuturesUnordered, StreamExt};

use super::allocations;
use super::work::{DEPTH, Latch, Memory, NODES, Peer, Sample, resident};

/// A pool of threads that takes calls.
pub trait Pool: Sync + Sized + 'static {
    /// The handle of an empty call. It is awaited outside of the pool.
    type Handle: IntoFuture<IntoFuture: Send> + Send + 'static;

    fn new(workers: usize) -> Self;

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle;

    /// Submits a call without a handle.
    fn fire(&self, function: impl FnOnce() + Send + 'static);

    fn take(handle: Self::Handle) {
        block_on(handle.into_future());
    }

    fn take_all(handles: Vec<Self::Handle>) {
        block_on(async {
            for handle in handles {
                handle.await;
            }
        });
    }

    fn drain(handles: Vec<Self::Handle>) {
        let mut unordered: FuturesUnordered<_> =
            handles.into_iter().map(IntoFuture::into_future).collect();
        block_on(async { while unordered.next().await.is_some() {} });
    }

    /// Grows a tree. In a pool whose calls cannot wait, the leaves count down.
    fn tree(&'static self) {
        let leaves = Latch::new(1 << DEPTH);
        self.fire(move || grow(self, DEPTH, leaves));
        leaves.wait();
    }
}

/// Submits the two children, and does not wait for them.
pub fn grow<P: Pool>(pool: &'static P, depth: u32, leaves: &'static Latch) {
    if depth == 0 {
        return leaves.count_down();
    }
    for _ in 0..2 {
        pool.fire(move || grow(pool, depth - 1, leaves));
    }
}

/// A pool as a peer. Its threads stay until the process ends, as do calls that refer to it.
pub struct Through<P: 'static>(&'static P);

impl<P: Pool> Through<P> {
    pub fn boxed(workers: usize) -> Box<dyn Peer> {
        Box::new(Self(Box::leak(Box::new(P::new(workers)))))
    }

    fn submit_all(&self, calls: usize) -> Vec<P::Handle> {
        (0..calls).map(|_| self.0.submit(|| ())).collect()
    }
}

impl<P: Pool> Peer for Through<P> {
    fn batch(&mut self, calls: usize, submitters: usize) -> Option<Sample> {
        if submitters == 1 {
            return Some(Sample::of(calls, || P::take_all(self.submit_all(calls))));
        }
        let share = || P::take_all(self.submit_all(calls / submitters));
        Some(Sample::of(calls, || {
            thread::scope(|scope| {
                for _ in 0..submitters {
                    scope.spawn(share);
                }
            });
        }))
    }

    fn fire(&mut self, calls: usize) -> Option<Sample> {
        let ran = Latch::new(calls);
        Some(Sample::of(calls, || {
            for _ in 0..calls {
                self.0.fire(|| ran.count_down());
            }
            ran.wait();
        }))
    }

    fn trips(&mut self, trips: usize, pause: Duration) -> Option<Sample> {
        Some(Sample::of_trips(trips, pause, || P::take(self.0.submit(|| ()))))
    }

    fn tree(&mut self) -> Option<Sample> {
        Some(Sample::of(NODES, || self.0.tree()))
    }

    fn drain(&mut self, calls: usize) -> Option<Sample> {
        Some(Sample::of(calls, || P::drain(self.submit_all(calls))))
    }

    fn memory(&mut self, calls: usize) -> Option<Memory> {
        let (started, is_started) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        self.0.fire(move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
        });
        is_started.recv().unwrap();
        let mut handles = Vec::with_capacity(calls);
        let (before, allocated) = (resident(), allocations::count());
        handles.extend((0..calls).map(|_| self.0.submit(|| ())));
        let bytes = (resident() - before) as f64 / calls as f64;
        release.send(()).unwrap();
        P::take_all(handles);
        let each = |count: u64| count as f64 / calls as f64;
        let allocations = allocations::count().zip(allocated).map(|(now, then)| each(now - then));
        Some(Memory { bytes, allocations })
    }
}

/// A pool in whose tree each call has a handle that is not used.
pub struct TreeWithHandles<P: 'static>(&'static P);

impl<P: Pool> TreeWithHandles<P> {
    pub fn boxed(workers: usize) -> Box<dyn Peer> {
        Box::new(Self(Box::leak(Box::new(P::new(workers)))))
    }
}

fn grow_with_handles<P: Pool>(pool: &'static P, depth: u32, leaves: &'static Latch) {
    if depth == 0 {
        return leaves.count_down();
    }
    for _ in 0..2 {
        drop(pool.submit(move || grow_with_handles(pool, depth - 1, leaves)));
    }
}

impl<P: Pool> Peer for TreeWithHandles<P> {
    fn tree(&mut self) -> Option<Sample> {
        let pool = self.0;
        Some(Sample::of(NODES, || {
            let leaves = Latch::new(1 << DEPTH);
            drop(pool.submit(move || grow_with_handles(pool, DEPTH, leaves)));
            leaves.wait();
        }))
    }
}
