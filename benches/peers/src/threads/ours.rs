//! This crate.

use concurrent::futures::{Future, ThreadPoolExecutor, as_completed};

use super::pool::{Pool, grow};
use super::work::{DEPTH, Latch, NODES, Peer, Sample};

pub struct Ours(ThreadPoolExecutor);

impl Pool for Ours {
    type Handle = Future<()>;

    fn new(workers: usize) -> Self {
        Self(ThreadPoolExecutor::new(workers).unwrap())
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Future<()> {
        self.0.spawn(function).unwrap()
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        self.0.execute(function).unwrap();
    }

    fn take(handle: Future<()>) {
        handle.into_result().unwrap();
    }

    fn take_all(handles: Vec<Future<()>>) {
        handles.into_iter().for_each(Self::take);
    }

    fn drain(handles: Vec<Future<()>>) {
        as_completed(handles).for_each(Self::take);
    }

    fn tree(&'static self) {
        assert_eq!(self.root().into_result().unwrap(), 1 << DEPTH);
    }
}

impl Ours {
    /// The root of a tree that is growing.
    fn root(&'static self) -> Future<usize> {
        self.0.spawn(move || both(&self.0, DEPTH)).unwrap()
    }
}

/// Submits both children and waits for them; the number of leaves.
fn both(pool: &'static ThreadPoolExecutor, depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let children = [(); 2].map(|()| pool.spawn(move || both(pool, depth - 1)).unwrap());
    children.map(|child| child.into_result().unwrap()).iter().sum()
}

/// Submits one child, runs the other, waits for the first.
fn fork(pool: &'static ThreadPoolExecutor, depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let one = pool.spawn(move || fork(pool, depth - 1)).unwrap();
    let other = fork(pool, depth - 1);
    one.into_result().unwrap() + other
}

/// Calls whose future is dropped.
pub struct Dropped(Ours);

impl Dropped {
    pub fn boxed(workers: usize) -> Box<dyn Peer> {
        Box::new(Self(Ours::new(workers)))
    }
}

impl Peer for Dropped {
    fn fire(&mut self, calls: usize) -> Option<Sample> {
        let ran = Latch::new(calls);
        Some(Sample::of(calls, || {
            for _ in 0..calls {
                drop(self.0.submit(|| ran.count_down()));
            }
            ran.wait();
        }))
    }
}

/// Other ways to grow the tree.
pub struct Tree {
    pool: &'static Ours,
    grow: fn(&'static Ours),
}

impl Tree {
    fn boxed(workers: usize, grow: fn(&'static Ours)) -> Box<dyn Peer> {
        Box::new(Self { pool: Box::leak(Box::new(Ours::new(workers))), grow })
    }

    pub fn fork_one(workers: usize) -> Box<dyn Peer> {
        Self::boxed(workers, |pool| {
            let root = pool.0.spawn(move || fork(&pool.0, DEPTH)).unwrap();
            assert_eq!(root.into_result().unwrap(), 1 << DEPTH);
        })
    }

    pub fn without_waiting(workers: usize) -> Box<dyn Peer> {
        Self::boxed(workers, |pool| {
            let leaves = Latch::new(1 << DEPTH);
            pool.fire(move || grow(pool, DEPTH, leaves));
            leaves.wait();
        })
    }
}

/// A tree for each worker, each in a pool of its own: the price of a tree without shared state.
pub struct Apart(Vec<&'static Ours>);

impl Apart {
    pub fn boxed(workers: usize) -> Box<dyn Peer> {
        let alone = |_| &*Box::leak(Box::new(Ours::new(1)));
        Box::new(Self((0..workers).map(alone).collect()))
    }
}

impl Peer for Apart {
    fn tree(&mut self) -> Option<Sample> {
        Some(Sample::of(self.0.len() * NODES, || {
            let roots: Vec<_> = self.0.iter().map(|pool| pool.root()).collect();
            for root in roots {
                assert_eq!(root.into_result().unwrap(), 1 << DEPTH);
            }
        }))
    }
}

impl Peer for Tree {
    fn tree(&mut self) -> Option<Sample> {
        Some(Sample::of(NODES, || (self.grow)(self.pool)))
    }
}
