//! The promises that every executor makes, on ranks.

use concurrent::futures::mpi::mpi::{self, Threading};
use concurrent::futures::mpi::{MpiPoolExecutor, Role};
use concurrent::futures::{Executor, ShutdownOptions};
use libtest_mimic::Trial;

use crate::common::executor_promises::promises;
use crate::support::{acts, passes};

acts![every_promise_is_kept, every_promise_is_kept_with_one_call_at_a_time, by_build];

pub(crate) fn trials() -> Vec<Trial> {
    let by_build = [2, 3, 4].map(|ranks| passes("mpi::contracts::by_build", ranks));
    let all = ["every_promise_is_kept", "every_promise_is_kept_with_one_call_at_a_time"];
    let on = |name| [2, 3, 4].map(|ranks| passes(format!("mpi::contracts::{name}"), ranks));
    all.into_iter().flat_map(on).chain(by_build).collect()
}

/// Each promise with a pool of its own, one after the other.
fn keep(make: fn(&mpi::topology::SimpleCommunicator) -> Role) {
    let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    let world = universe.world();
    for (name, promise) in promises() {
        if let Role::Root(pool) = make(&world) {
            println!("{name}");
            let workers = pool.workers();
            promise(pool, workers);
        }
    }
}

fn every_promise_is_kept() {
    keep(|world| MpiPoolExecutor::enter(world).unwrap());
}

fn every_promise_is_kept_with_one_call_at_a_time() {
    keep(|world| MpiPoolExecutor::builder().credit(1).enter(world).unwrap());
}

fn by_build() {
    let pool = MpiPoolExecutor::new().unwrap();
    let sum: u64 = Executor::map(&pool, |n: u64| n, 0..1000).map(Result::unwrap).sum();
    assert_eq!(sum, 499_500);
    assert!(format!("{pool:?}").starts_with("MpiPoolExecutor { stats: MpiPoolStats { workers: "));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.answered, stats.lost), (1000, 1000, 0));
    assert!(pool.shutdown_with(ShutdownOptions::new()).is_complete());
}
