//! Waits inside of calls that can never end, found before the thread blocks.
//!
//! A thread that runs a call and is about to wait without a time limit enters its wait into one
//! registry and asks whether anything that the wait depends on can still move (`graph.rs`). If
//! nothing can, the wait fails with [`Error::Deadlock`] instead of blocking. Threads outside of
//! calls, waits with a time limit and waits for what is done never come here.
//!
//! **Exact.** Only a blocked thread can be part of a deadlock, and all blocked threads are in the
//! registry, so that a deadlock comes about only when a thread is added to it: whoever closes the
//! cycle finds it, under the registry's lock, and is the one to fail. What is registered is blocked
//! until a call ends, and calls only ever get closer to their end, so that a look at a call's state
//! that is out of date can make something seem stuck only if the thread that would have moved it
//! is registered, that is, blocked. Pools that lose the right to grow have it looked at again
//! ([`look_again`]).
//!
//! What counts as able to move: threads that compute, sleep or block elsewhere, promises, pools
//! that may start a worker or have one that is not blocked.
//!
//! LOCK: the registry before a pool's queue.

mod graph;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use self::graph::{Branch, Mode, Waits, can_move};
use super::context::{self, Entered, PoolId};
use super::state::{Phase, State};
use super::waiter::{Signal, Until};
use crate::error::{Error, Result};
use crate::sync::{AtomicU8, Ordering, global_mutex};

global_mutex! {
    REGISTRY: Registry = Registry::new()
}

/// What the registry wants to know of a pool.
pub(crate) trait PoolView: Send + Sync {
    fn name(&self) -> &str;
    fn staff(&self) -> Staff;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Staff {
    pub(crate) workers: usize,
    pub(crate) may_grow: bool,
}

/// When a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// All its calls are done.
    All,
    /// One of them is.
    Any,
    /// One of them failed, or all are done.
    Failure,
}

/// A call that somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    call: usize,
    name: &'static str,
    pool: PoolId,
    state: *const AtomicU8,
}

// SAFETY: the pointer is followed only while the wait is registered, see `Awaited::state`.
unsafe impl Send for Awaited {}

impl Awaited {
    pub(crate) fn new(call: usize, name: &'static str, pool: PoolId, state: &AtomicU8) -> Self {
        Self { call, name, pool, state }
    }

    fn state(&self) -> State {
        // SAFETY: the waiting thread borrows the call's future until it has taken its wait off the
        // registry, and this is asked of registered waits only, under the registry's lock.
        let state = unsafe { &*self.state };
        State(state.load(Ordering::Acquire)) // ORDERING: as `Core::state`
    }
}

/// Names a blocked thread, for as long as it is blocked.
type Key = u64;

struct Registry {
    next_key: Key,
    blocked: HashMap<Key, Blocked>,
    /// By which blocked thread a call is being run.
    runs: HashMap<usize, Key>,
    next_pool: PoolId,
    pools: HashMap<PoolId, Weak<dyn PoolView>>,
}

struct Blocked {
    worker_of: PoolId,
    /// The calls it runs, the innermost first.
    calls: Vec<Entered>,
    goal: Goal,
    awaited: Vec<Awaited>,
    signal: Arc<Signal>,
}

/// Enters a pool; the number names it until [`forget_pool`].
pub(crate) fn register_pool(pool: Weak<dyn PoolView>) -> PoolId {
    let mut registry = REGISTRY.lock();
    loop {
        registry.next_pool = registry.next_pool.wrapping_add(1);
        let id = registry.next_pool;
        if id != 0 && !registry.pools.contains_key(&id) {
            registry.pools.insert(id, pool);
            return id;
        }
    }
}

pub(crate) fn forget_pool(pool: PoolId) {
    let forgotten = REGISTRY.lock().pools.remove(&pool);
    drop(forgotten);
}

/// Gives `look` the number of workers of `pool` that are blocked, while none begins or ends to be.
pub(crate) fn with_blocked_of<R>(pool: PoolId, look: impl FnOnce(usize) -> R) -> R {
    let registry = REGISTRY.lock();
    look(registry.blocked.values().filter(|blocked| blocked.worker_of == pool).count())
}

/// Has every blocked thread look again: a pool may no longer start workers.
pub(crate) fn look_again() {
    let signals: Vec<_> =
        REGISTRY.lock().blocked.values().map(|blocked| Arc::clone(&blocked.signal)).collect();
    signals.iter().for_each(|signal| signal.alarm());
}

/// Waits without a time limit until `until` holds on `signal`, to which the `awaited` calls report.
///
/// # Errors
///
/// [`Error::Deadlock`] if that will never be.
pub(crate) fn wait(
    signal: &Arc<Signal>,
    until: Until,
    goal: Goal,
    awaited: impl Fn() -> Vec<Awaited>,
) -> Result<()> {
    if !context::is_in_call() {
        signal.wait(until, None);
        return Ok(());
    }
    // Whether a failure can still come changes with every call that ends well.
    let at_each_end = goal == Goal::Failure;
    loop {
        let registered = Registered::enter(signal, goal, awaited())?;
        let over = signal.wait_or_alarm(until, at_each_end);
        drop(registered);
        if over {
            return Ok(());
        }
    }
}

/// A wait that is in the registry; dropping it takes it off.
struct Registered(Key);

impl Registered {
    fn enter(signal: &Arc<Signal>, goal: Goal, awaited: Vec<Awaited>) -> Result<Self> {
        let blocked = Blocked {
            worker_of: context::worker_of(),
            calls: context::calls(),
            goal,
            awaited,
            signal: Arc::clone(signal),
        };
        // Pools that were looked at are let go of after the lock: theirs may be the last handle.
        let mut pools = Pools::default();
        let (key, verdict, refused) = {
            let mut registry = REGISTRY.lock();
            let key = registry.enter(blocked);
            let view = View { registry: &registry, pools: std::cell::RefCell::new(&mut pools) };
            let verdict = can_move(&view, key).map_err(|path| view.describe(&path));
            // Off again under the same lock: others must not take a thread that goes on for stuck.
            let refused = if verdict.is_err() { registry.leave(key) } else { None };
            (key, verdict, refused)
        };
        drop(refused);
        drop(pools);
        verdict.map_err(|text| Error::Deadlock(text.into()))?;
        Ok(Self(key))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let left = REGISTRY.lock().leave(self.0);
        drop(left);
    }
}

impl Registry {
    fn new() -> Self {
        Self {
            next_key: 0,
            blocked: HashMap::new(),
            runs: HashMap::new(),
            next_pool: 0,
            pools: HashMap::new(),
        }
    }

    fn enter(&mut self, blocked: Blocked) -> Key {
        self.next_key += 1;
        for call in &blocked.calls {
            self.runs.insert(call.call, self.next_key);
        }
        self.blocked.insert(self.next_key, blocked);
        self.next_key
    }

    fn leave(&mut self, key: Key) -> Option<Blocked> {
        let blocked = self.blocked.remove(&key)?;
        for call in &blocked.calls {
            self.runs.remove(&call.call);
        }
        Some(blocked)
    }
}

/// Pools by number, as far as they were looked at.
#[derive(Default)]
struct Pools(HashMap<PoolId, Option<Arc<dyn PoolView>>>);

/// The registry as a graph.
struct View<'a> {
    registry: &'a Registry,
    pools: std::cell::RefCell<&'a mut Pools>,
}

impl View<'_> {
    fn pool(&self, id: PoolId) -> Option<Arc<dyn PoolView>> {
        let find = || self.registry.pools.get(&id).and_then(Weak::upgrade);
        self.pools.borrow_mut().0.entry(id).or_insert_with(find).clone()
    }

    /// What `call` depends on; `None` if it is over and was not what the wait is for.
    fn branch(&self, call: &Awaited, goal: Goal) -> Option<Branch<Key>> {
        let state = call.state();
        match state.phase() {
            Phase::Finished | Phase::Cancelled if goal == Goal::Failure && !state.is_failed() => {
                None
            }
            Phase::Finished | Phase::Cancelled => Some(Branch::Moves),
            _ if call.pool == 0 => Some(Branch::Moves), // who holds the promise is not known
            Phase::Running => Some(match self.registry.runs.get(&call.call) {
                Some(thread) => Branch::Needs(vec![*thread]),
                None => Branch::Moves,
            }),
            Phase::Pending => Some(self.queued_in(call.pool)),
        }
    }

    fn queued_in(&self, id: PoolId) -> Branch<Key> {
        let Some(pool) = self.pool(id) else { return Branch::Moves };
        let staff = pool.staff();
        let threads = self.registry.blocked.iter().filter(|(_, blocked)| blocked.worker_of == id);
        let blocked: Vec<_> = threads.map(|(key, _)| *key).collect();
        if staff.may_grow || staff.workers > blocked.len() {
            return Branch::Moves;
        }
        Branch::Needs(blocked)
    }

    /// The cycle in words: each thread's innermost call, and what it waits for.
    fn describe(&self, path: &[Key]) -> String {
        let mut text = String::new();
        for pair in path.windows(2) {
            let Some(blocked) = self.registry.blocked.get(&pair[0]) else { continue };
            let name = blocked.calls.first().map_or("a thread", |call| call.name);
            let awaited = blocked.awaited.iter().find(|call| {
                let branch = self.branch(call, blocked.goal);
                matches!(branch, Some(Branch::Needs(threads)) if threads.contains(&pair[1]))
            });
            let Some(awaited) = awaited else { continue };
            let pool = self.pool(awaited.pool);
            let pool = pool.as_deref().map_or("a pool", |pool| pool.name());
            let doing = match awaited.state().phase() {
                Phase::Pending => "queued in",
                _ => "running in",
            };
            let comma = if text.is_empty() { "" } else { ", and " };
            let other = awaited.name;
            let _ = write!(text, "{comma}`{name}` waits for `{other}`, {doing} {pool}");
        }
        text
    }
}

impl Waits for View<'_> {
    type Node = Key;

    fn mode(&self, thread: Key) -> Mode {
        match self.registry.blocked.get(&thread).map(|blocked| blocked.goal) {
            Some(Goal::Any | Goal::Failure) => Mode::Any,
            Some(Goal::All) | None => Mode::All,
        }
    }

    fn branches(&self, thread: Key) -> Vec<Branch<Key>> {
        let Some(blocked) = self.registry.blocked.get(&thread) else { return Vec::new() };
        let branches: Vec<_> =
            blocked.awaited.iter().filter_map(|call| self.branch(call, blocked.goal)).collect();
        if branches.is_empty() { vec![Branch::Moves] } else { branches }
    }
}
