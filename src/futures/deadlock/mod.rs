//! Waits that can never end, found before the thread blocks.
//!
//! A worker, or a thread that runs a call, that is about to wait without a time limit enters its
//! wait into one registry and asks whether anything that the wait depends on can still move
//! (`graph.rs`, for which `view.rs` reads the registry). If nothing can, the wait fails with
//! [`Error::Deadlock`] instead of blocking. Other threads, waits with a time limit and waits for
//! what is done never come here.
//!
//! **Exact.** Only a blocked thread can be part of a deadlock, and all blocked threads are in the
//! registry, so that a deadlock comes about only when a thread is added to it: whoever closes the
//! cycle finds it, under the registry's lock, and is the one to fail. What is registered is blocked
//! until a call ends, and calls only ever get closer to their end, so that a look at a call's state
//! that is out of date can make something seem stuck only if the thread that would have moved it
//! is registered, that is, blocked.
//!
//! **Looking again.** What is not so monotonous has all blocked threads look again
//! ([`look_again`]): a pool loses the right to grow, a call follows another one than before, a group
//! loses a member. Each of them counts as able to move until it has looked, and runs in place what
//! has come to wait for it; so the last one to look sees everything. For calls made of others this
//! is done only if somebody saw them change under the registry's lock (`watch`).
//!
//! What counts as able to move: threads that compute, sleep or block elsewhere, promises, deadlines,
//! pools that may start a worker or have one that is not blocked.
//!
//! LOCK: the registry before a pool's queue, a link or a group.

mod graph;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use self::view::{Pools, Verdict, judge};
use super::call;
use super::call::context::{self, Entered, PoolId};
use super::call::upstream::Upstream;
use super::call::waiter::{Signal, Until};
use crate::error::{Error, Result};
use crate::sync::global_mutex;

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

/// What a thread does if its wait can never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// The wait fails.
    Fails,
    /// Another one that is part of the deadlock fails in its place; it fails if they all insist.
    Insists,
    /// Another one fails in its place, even if that insists.
    Forces,
}

/// A call that somebody waits for.
#[derive(Clone, Copy)]
pub(crate) struct Awaited(*const dyn Upstream);

// SAFETY: the pointer is followed only while the wait is registered, see `Awaited::call`; what is
// asked of the call then is atomic or under locks of its own and has nothing to do with its value.
unsafe impl Send for Awaited {}

impl Awaited {
    pub(crate) fn new<'a>(call: &'a (dyn Upstream + 'a)) -> Self {
        // SAFETY: only the lifetime changes; `call` says why the pointer is good when used.
        let call = unsafe {
            std::mem::transmute::<&'a (dyn Upstream + 'a), &'static (dyn Upstream + 'static)>(call)
        };
        Self(call)
    }

    fn call(&self) -> &dyn Upstream {
        // SAFETY: the waiting thread borrows the call's future until it has taken its wait off the
        // registry, and this is asked of registered waits only, under the registry's lock.
        unsafe { &*self.0 }
    }
}

/// Names a blocked thread, for as long as it is blocked.
type Key = u64;

struct Registry {
    next_key: Key,
    /// Ordered, so that a model checker sees the same order in each run.
    blocked: BTreeMap<Key, Blocked>,
    /// By which blocked thread a call is being run, or its callbacks.
    runs: HashMap<usize, Key>,
    next_pool: PoolId,
    pools: HashMap<PoolId, Weak<dyn PoolView>>,
}

struct Blocked {
    worker_of: PoolId,
    /// The calls it runs, the innermost first.
    calls: Vec<Entered>,
    /// The calls whose callbacks it is inside of.
    notifying: Vec<usize>,
    goal: Goal,
    stuck: Stuck,
    awaited: Vec<Awaited>,
    signal: Arc<Signal>,
    /// It was told to look again, and counts as able to move.
    alarmed: bool,
    /// It was chosen to fail.
    refused: Option<String>,
}

impl Blocked {
    fn runs(&self) -> impl Iterator<Item = usize> {
        let calls = self.calls.iter().map(|call| call.call);
        calls.chain(self.notifying.iter().copied())
    }
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

/// Has every blocked thread look again: what they saw may have changed.
pub(crate) fn look_again() {
    let signals: Vec<_> = {
        let mut registry = REGISTRY.lock();
        let blocked = registry.blocked.values_mut().filter(|blocked| !blocked.alarmed);
        blocked.map(Blocked::alarm).collect()
    };
    signals.iter().for_each(|signal| signal.alarm());
}

/// Waits without a time limit until `until` holds on `signal`, to which the `awaited` calls report.
///
/// The caller ran in place what it could. `help` does so again, when there may be something new.
///
/// # Errors
///
/// [`Error::Deadlock`] if that will never be.
pub(crate) fn wait(
    signal: &Arc<Signal>,
    until: Until,
    goal: Goal,
    awaited: impl Fn() -> Vec<Awaited>,
    help: impl FnMut(),
) -> Result<()> {
    wait_on_terms(signal, until, Terms { goal, ..Terms::default() }, awaited, help)
}

/// How a thread waits.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) goal: Goal,
    pub(crate) stuck: Stuck,
    /// Whether the calls that it waits for are still those it gave. Asked under the registry's lock;
    /// who makes it false has blocked threads look again after that.
    pub(crate) is_current: &'a dyn Fn() -> bool,
}

impl Default for Terms<'_> {
    fn default() -> Self {
        Self { goal: Goal::Any, stuck: Stuck::Fails, is_current: &|| true }
    }
}

/// [`wait`] for those who have more to say.
pub(crate) fn wait_on_terms(
    signal: &Arc<Signal>,
    until: Until,
    terms: Terms<'_>,
    awaited: impl Fn() -> Vec<Awaited>,
    mut help: impl FnMut(),
) -> Result<()> {
    if !context::is_in_call() && context::worker_of() == 0 && call::notifying().is_empty() {
        signal.wait(until, None);
        return Ok(());
    }
    // Whether a failure can still come changes with every call that ends well.
    let at_each_end = terms.goal == Goal::Failure;
    loop {
        if let Some(registered) = Registered::enter(signal, terms, awaited())? {
            let over = signal.wait_or_alarm(until, at_each_end);
            let refused = registered.leave();
            if over {
                return Ok(());
            }
            if let Some(text) = refused {
                return Err(Error::Deadlock(text.into()));
            }
        }
        help();
        if signal.holds(until) {
            return Ok(());
        }
    }
}

/// A wait that is in the registry.
#[must_use = "it has to leave"]
struct Registered(Key);

impl Registered {
    /// `None` if it is to look first for what it could run in place.
    fn enter(
        signal: &Arc<Signal>,
        Terms { goal, stuck, is_current }: Terms<'_>,
        awaited: Vec<Awaited>,
    ) -> Result<Option<Self>> {
        let blocked = Blocked {
            worker_of: context::worker_of(),
            calls: context::calls(),
            notifying: call::notifying(),
            goal,
            stuck,
            awaited,
            signal: Arc::clone(signal),
            alarmed: false,
            refused: None,
        };
        // Pools that were looked at are let go of after the lock: theirs may be the last handle.
        let mut pools = Pools::default();
        let mut victims = Vec::new();
        let (key, verdict, left) = {
            let mut registry = REGISTRY.lock();
            if !is_current() {
                return Ok(None);
            }
            let key = registry.enter(blocked);
            let verdict = loop {
                let verdict = judge(&registry, &mut pools, key);
                let Verdict::Stuck(path, text) = &verdict else { break verdict };
                match registry.refuse_other(key, path, text) {
                    Some(signal) => victims.push(signal),
                    None if stuck == Stuck::Forces => break Verdict::Waits,
                    None => break verdict,
                }
            };
            // Off again under the same lock: others must not take a thread that goes on for stuck.
            let left = if verdict == Verdict::Waits { None } else { registry.leave(key) };
            (key, verdict, left)
        };
        victims.iter().for_each(|signal| signal.alarm());
        drop((left, pools));
        match verdict {
            Verdict::Waits => Ok(Some(Self(key))),
            Verdict::CanHelp => Ok(None),
            Verdict::Stuck(_, text) => Err(Error::Deadlock(text.into())),
        }
    }

    /// Takes the wait off the registry; gives the reason if it was chosen to fail.
    fn leave(self) -> Option<String> {
        let left = REGISTRY.lock().leave(self.0);
        left?.refused
    }
}

impl Blocked {
    #[must_use = "the alarm is to be raised without the registry's lock"]
    fn alarm(&mut self) -> Arc<Signal> {
        self.alarmed = true;
        Arc::clone(&self.signal)
    }
}

impl Registry {
    fn new() -> Self {
        Self {
            next_key: 0,
            blocked: BTreeMap::new(),
            runs: HashMap::new(),
            next_pool: 0,
            pools: HashMap::new(),
        }
    }

    fn enter(&mut self, blocked: Blocked) -> Key {
        self.next_key += 1;
        for call in blocked.runs() {
            self.runs.insert(call, self.next_key);
        }
        self.blocked.insert(self.next_key, blocked);
        self.next_key
    }

    fn leave(&mut self, key: Key) -> Option<Blocked> {
        let blocked = self.blocked.remove(&key)?;
        for call in blocked.runs() {
            self.runs.remove(&call);
        }
        Some(blocked)
    }

    /// Chooses a wait on `path` that fails in the place of that of `key`; `None` if there is none.
    fn refuse_other(&mut self, key: Key, path: &[Key], text: &str) -> Option<Arc<Signal>> {
        let stuck = |key: &Key| self.blocked.get(key).map(|blocked| blocked.stuck);
        let own = stuck(&key)?;
        if own == Stuck::Fails {
            return None;
        }
        let others = || path.iter().filter(|other| **other != key);
        let may_fail = others().find(|other| stuck(other) == Some(Stuck::Fails));
        let chosen = match own {
            Stuck::Forces => may_fail.or_else(|| others().next()),
            Stuck::Fails | Stuck::Insists => may_fail,
        };
        let blocked = self.blocked.get_mut(chosen?)?;
        blocked.refused = Some(text.to_string());
        Some(blocked.alarm())
    }
}
