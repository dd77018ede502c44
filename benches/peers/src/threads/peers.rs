//! The list of peers.

use super::by_hand::{Crossbeam, Executors, Kanal, WithOneshot};
use super::ours::{Apart, Dropped, Ours, Tree};
use super::outside::Outside;
use super::pool::{Through, TreeWithHandles};
use super::with_handles::{
    Blocking, ExecutorsSpawn, RayonJoin, TokioBlocking, TokioSpawn, TokioTree,
};
use super::work::Peer;

/// Starts a peer with a number of workers. Some peers are not on every machine.
type Start = fn(usize) -> Option<Box<dyn Peer>>;

/// Name, program of its own or not, and start of all peers, ours first.
const ALL: [(&str, Home, Start); 22] = [
    ("concurrent", Here, |n| Some(Through::<Ours>::boxed(n))),
    ("concurrent, futures dropped", Here, |n| Some(Dropped::boxed(n))),
    ("concurrent, one child run here", Here, |n| Some(Tree::fork_one(n))),
    ("concurrent, a pool each", Here, |n| Some(Apart::boxed(n))),
    ("concurrent, nobody waits", Here, |n| Some(Tree::without_waiting(n))),
    ("rayon + oneshot", Here, |n| Some(Through::<WithOneshot<rayon::ThreadPool>>::boxed(n))),
    ("rayon + oneshot, handles too", Here, |n| {
        Some(TreeWithHandles::<WithOneshot<rayon::ThreadPool>>::boxed(n))
    }),
    ("rayon::join", Here, |n| Some(RayonJoin::boxed(n))),
    ("crossbeam-channel + oneshot", Here, |n| Some(Through::<WithOneshot<Crossbeam>>::boxed(n))),
    ("kanal + oneshot", Here, |n| Some(Through::<WithOneshot<Kanal>>::boxed(n))),
    ("threadpool + oneshot", Here, |n| {
        Some(Through::<WithOneshot<threadpool::ThreadPool>>::boxed(n))
    }),
    ("executors + oneshot", Here, |n| Some(Through::<WithOneshot<Executors>>::boxed(n))),
    ("executors spawn", Here, |n| Some(Through::<ExecutorsSpawn>::boxed(n))),
    ("rusty_pool", Here, |n| Some(Through::<rusty_pool::ThreadPool>::boxed(n))),
    ("futures ThreadPool", Here, |n| Some(Through::<futures::executor::ThreadPool>::boxed(n))),
    ("blocking::unblock", Here, |n| Some(Through::<Blocking>::boxed(n))),
    ("tokio spawn", Here, |n| Some(Through::<TokioSpawn>::boxed(n))),
    ("tokio spawn, children awaited", Here, |n| Some(TokioTree::boxed(n))),
    ("tokio spawn_blocking", Here, |n| Some(Through::<TokioBlocking>::boxed(n))),
    ("Java ThreadPoolExecutor", Elsewhere, |n| Some(Box::new(Outside::java_pool(n)?))),
    ("Java ForkJoinPool", Elsewhere, |n| Some(Box::new(Outside::java_fork_join(n)?))),
    ("CPython ThreadPoolExecutor", Elsewhere, |n| Some(Box::new(Outside::python(n)?))),
];

/// Where a peer runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Home {
    Here,
    Elsewhere,
}
use Home::{Elsewhere, Here};

/// A peer that was started.
pub struct Started {
    pub name: &'static str,
    pub home: Home,
    pub peer: Box<dyn Peer>,
}

/// Starts all that are wanted.
pub fn start(workers: usize, is_wanted: impl Fn(&str) -> bool) -> Vec<Started> {
    let wanted = ALL.into_iter().filter(|(name, ..)| is_wanted(name));
    wanted
        .filter_map(|(name, home, start)| Some(Started { name, home, peer: start(workers)? }))
        .collect()
}
