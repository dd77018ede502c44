//! The registry's view of pools.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{REGISTRY, ThreadKey};
use crate::futures::call::current::PoolId;

/// The number of workers of a pool, and whether it may start another; written by the pool, read by
/// the registry. It owns nothing else of the pool, so that the registry may keep it.
#[derive(Debug)]
pub(crate) struct PoolCapacity {
    name: String,
    /// Twice the number of workers, plus one if there may be more: both at the same moment. Model
    /// checkers do not see it: it is written under the pool's lock, and each decrease is followed
    /// by [`recheck_blocked`](super::recheck_blocked), which takes the registry's lock.
    word: AtomicUsize,
}

impl PoolCapacity {
    pub(crate) fn new(name: String) -> Arc<Self> {
        Arc::new(Self { name, word: AtomicUsize::new(1) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Called under the pool's lock, so that the latest value stays.
    pub(crate) fn set(&self, workers: usize, may_grow: bool) {
        // ORDERING: Relaxed; a thread that reads too early to see a decrease checks again after
        // `recheck_blocked`, and one that reads too early to see an increase could have checked
        // before it.
        self.word.store(workers * 2 + usize::from(may_grow), Ordering::Relaxed);
    }

    fn word(&self) -> usize {
        self.word.load(Ordering::Relaxed) // ORDERING: see `set`
    }
}

/// A pool in the registry.
pub(super) struct Pool {
    capacity: Arc<PoolCapacity>,
    /// Its blocked workers, without those that were told to check again.
    blocked: BTreeSet<ThreadKey>,
    /// How often a worker was added to `blocked` or removed.
    changes: u64,
    /// How many blocked threads wait for the end of the pool.
    pub(super) ends_awaited: usize,
}

impl Pool {
    pub(super) fn new(capacity: Arc<PoolCapacity>) -> Self {
        Self { capacity, blocked: BTreeSet::new(), changes: 0, ends_awaited: 0 }
    }

    pub(super) fn name(&self) -> &str {
        self.capacity.name()
    }

    pub(super) fn block(&mut self, key: ThreadKey) {
        self.changes += u64::from(self.blocked.insert(key));
    }

    pub(super) fn unblock(&mut self, key: ThreadKey) {
        self.changes += u64::from(self.blocked.remove(&key));
    }

    /// Whether a worker can take a queued call even if no blocked one can move.
    pub(super) fn has_another_worker(&self) -> bool {
        let word = self.capacity.word();
        word % 2 == 1 || word / 2 > self.blocked.len()
    }

    /// A blocked worker with a key above `key`.
    pub(super) fn blocked_after(&self, key: ThreadKey) -> Option<ThreadKey> {
        self.blocked.range(key + 1..).next().copied()
    }
}

/// The version of a pool's state, as far as it concerns a worker that runs calls in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    changes: u64,
    capacity: usize,
}

impl Generation {
    pub(super) fn of(pool: Option<&Pool>) -> Self {
        let (changes, capacity) = pool.map_or((0, 0), |pool| (pool.changes, pool.capacity.word()));
        Self { changes, capacity }
    }
}

/// Registers a pool; returns its number, which is used again only after [`forget_pool`].
pub(crate) fn register_pool(capacity: Arc<PoolCapacity>) -> PoolId {
    let mut registry = REGISTRY.lock();
    loop {
        registry.last_pool = registry.last_pool.wrapping_add(1);
        let id = registry.last_pool;
        if id != 0 && !registry.pools.contains_key(&id) {
            registry.pools.insert(id, Pool::new(capacity));
            return id;
        }
    }
}

pub(crate) fn forget_pool(pool: PoolId) {
    let forgotten = REGISTRY.lock().pools.remove(&pool);
    drop(forgotten);
}

/// The number of workers of `pool` that are blocked.
pub(crate) fn blocked_of(pool: PoolId) -> usize {
    REGISTRY.lock().pools.get(&pool).map_or(0, |pool| pool.blocked.len())
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use super::*;
    use crate::futures::Promise;
    use crate::futures::deadlock::InPlaceRun;

    #[test]
    fn of_a_pool_that_is_gone_nothing_is_kept() {
        let capacity = PoolCapacity::new("gone".into());
        let [one, other] = [(); 2].map(|()| register_pool(Arc::clone(&capacity)));
        assert!(one != 0 && other != 0 && one != other);
        forget_pool(one);
        assert_eq!(Arc::strong_count(&capacity), 2);
        let registry = REGISTRY.lock();
        assert!(!registry.pools.contains_key(&one) && registry.pools.contains_key(&other));
        drop(registry);
        forget_pool(other);
        assert_eq!(Arc::strong_count(&capacity), 1);
    }

    #[test]
    fn a_pool_has_another_worker_as_long_as_one_is_not_blocked_or_can_come() {
        let capacity = PoolCapacity::new(String::new());
        let mut pool = Pool::new(Arc::clone(&capacity));
        for (workers, may_grow, threads, has) in [
            (0, true, 0, true),
            (0, false, 0, false),
            (1, false, 0, true),
            (1, false, 1, false),
            (1, true, 1, true),
            (2, false, 1, true),
            (2, false, 2, false),
            (2, true, 2, true),
        ] {
            capacity.set(workers, may_grow);
            pool.blocked = (1..=threads).collect();
            assert_eq!(pool.has_another_worker(), has, "{workers} {may_grow} {threads}");
        }
    }

    #[test]
    fn what_was_found_holds_as_long_as_nothing_changes() {
        let capacity = PoolCapacity::new(String::new());
        let mut pool = Pool::new(capacity);
        let mut run = InPlaceRun::default();
        assert!(!run.is_stuck(|| Generation::of(Some(&pool))), "nothing was found");
        run.found_stuck(Generation::of(Some(&pool)));
        assert!(run.is_stuck(|| Generation::of(Some(&pool))));
        pool.block(1);
        assert!(!run.is_stuck(|| Generation::of(Some(&pool))));
        run.found_stuck(Generation::of(Some(&pool)));
        assert!(run.is_stuck(|| Generation::of(Some(&pool))));
        let (_promise, future) = Promise::<()>::pair();
        run.has_more(0, future.call());
        assert!(!run.is_stuck(|| Generation::of(Some(&pool))), "what was added may move");
    }

    #[test]
    fn a_generation_ends_with_each_change() {
        let capacity = PoolCapacity::new(String::new());
        let mut pool = Pool::new(Arc::clone(&capacity));
        let mut seen = vec![Generation::of(Some(&pool))];
        let changes: [fn(&mut Pool); 6] = [
            |pool| pool.block(1),
            |pool| pool.block(2),
            |pool| pool.unblock(1),
            |pool| pool.unblock(2),
            |pool| pool.capacity.set(1, false),
            |pool| pool.capacity.set(1, true),
        ];
        for change in changes {
            change(&mut pool);
            let now = Generation::of(Some(&pool));
            assert!(!seen.contains(&now), "{seen:?}");
            seen.push(now);
        }
        pool.unblock(1); // which was not blocked
        assert_eq!(seen.last(), Some(&Generation::of(Some(&pool))));
    }
}
