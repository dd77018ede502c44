//! Waits that can never end, found before the thread blocks.
//!
//! A worker, or a thread that runs a call, that is about to wait without a time limit enters its
//! wait into one registry and asks whether anything that the wait depends on can still move
//! (`graph.rs`, for which `view.rs` reads the registry). If nothing can, the thread runs in place
//! what waits for its own pool; if there is no such call, the wait fails with [`Error::Deadlock`].
//! Other threads, waits with a time limit and waits for what is done never come here.
//!
//! **Exact.** Only blocked threads can be part of a deadlock, and all of them are in the registry. So a
//! deadlock comes about only when a thread is added: the thread that closes the cycle finds it,
//! under the registry's lock. A registered thread is blocked until a call ends, and calls only ever
//! get closer to their end. So an outdated state of a call can make a thread seem stuck only if the
//! thread that would have moved the call is registered, that is, blocked.
//!
//! **Running in place.** A stuck thread may be able to run the missing call itself: one of its own pool that
//! it waits for. The thread that finds the deadlock does so if it can. Otherwise, if it would move
//! once other stuck threads ran their calls, it wakes these and waits. Each of them checks again,
//! and runs its call if it is still stuck. A thread that waits for room in a full queue can run the
//! call that it could not submit.
//!
//! **The end of a scope** is a wait for its calls, then for the drops of what its cancelled calls
//! captured. A thread is blocked in such a drop as in a callback: it is known by a number that the
//! scope has, too. A wait in the drop fails in place of the scope's.
//!
//! **Checking again.** Some events can make a wait more stuck: a pool may no longer grow, a call follows
//! another one than before, a scope depends on one more thread, a group loses the member that was relied on. These make blocked threads
//! check again ([`recheck_blocked`]). Each of these counts as able to move until it has checked, so
//! the last one to check sees everything.
//!
//! **Cost.** Before a thread is added, every registered thread can move. So the new one is part of a
//! deadlock only if something depends on it: another thread waits for a call that it runs, or its
//! pool has no other worker left. If not, nothing is searched. Otherwise the search ends at the
//! first branch that moves, and is linear in what it visits.
//!
//! **No user values** are owned or dropped here, and no user code is called, so that nothing unwinds under
//! the lock. A wait leaves the registry by a guard that is made under the same lock as its entry.
//!
//! These count as able to move: threads that compute, sleep or block elsewhere; promises;
//! deadlines; pools that may start a worker or have one that is not blocked.
//!
//! LOCK: the registry before a group, a hop of a chain, a scope or a signal.

mod describe;
mod graph;
mod in_place;
mod pools;
mod registered;
mod view;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(crate) use self::in_place::InPlaceRun;
use self::pools::{Generation, Pool};
pub(crate) use self::pools::{PoolCapacity, blocked_of, forget_pool, register_pool};
use self::registered::{EnterOutcome, Registered};
use super::call::current::{self, PoolId};
use super::call::dependency::Dependency;
use super::call::waiters::{Signal, WakeWhen};
use crate::error::{Error, Result};
use crate::futures::call::assist::AwaitedSet;
use crate::sync::{global_mutex, thread_local_static};

global_mutex! {
    REGISTRY: Registry = Registry::new()
}

thread_local_static! {
    /// Identifies this thread in the registry; 0 before its first wait there.
    THREAD: Cell<ThreadKey> = Cell::new(0)
}

/// When a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// When all its calls are done.
    All,
    /// When one of them is.
    Any,
    /// When one of them has failed, or all are done.
    Failure,
}

/// The reaction of a thread to a wait that can never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDeadlock {
    /// The wait fails.
    Fails,
    /// Another wait of the deadlock fails in its place; it fails itself if all of them insist.
    Insists,
    /// Another wait fails in its place, even if that one insists.
    Forces,
}

/// The things that a thread waits for.
#[derive(Clone, Copy)]
pub(crate) enum Awaits<'a> {
    Calls(&'a dyn AwaitedSet),
    /// The end of all workers of the pool.
    EndOf(PoolId),
    /// Room in the queue of the pool: that a worker takes a call.
    RoomIn(PoolId),
    /// The return of the callbacks of a call that is done.
    CallbacksOf(&'a dyn Dependency),
    /// The drops of what calls of a scope captured, by the numbers under which threads are at it.
    Drops(&'a [usize]),
}

/// How a thread waits.
#[derive(Clone, Copy)]
pub(crate) struct Wait<'a> {
    pub(crate) awaits: Awaits<'a>,
    pub(crate) goal: WaitFor,
    pub(crate) on_deadlock: OnDeadlock,
    /// Whether `awaits` still describes what the thread waits for. Called under the registry's
    /// lock; code that makes it false calls [`recheck_blocked`] afterwards.
    pub(crate) is_current: &'a dyn Fn() -> bool,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(awaits: Awaits<'a>, goal: WaitFor) -> Self {
        Self { awaits, goal, on_deadlock: OnDeadlock::Fails, is_current: &|| true }
    }
}

/// Identifies a thread that has been blocked, as long as it lives.
type ThreadKey = usize;

struct Registry {
    last_thread: ThreadKey,
    /// Ordered, so that a model checker sees the same order in each run.
    blocked: BTreeMap<ThreadKey, BlockedThread>,
    /// The thread that runs a call, its callbacks or the drop of its captures, by the address of the
    /// call; or a drop in a scope, by its number. Has those of blocked threads, and those inside of
    /// which a thread was blocked before.
    runs: HashMap<usize, ThreadKey>,
    last_pool: PoolId,
    pools: HashMap<PoolId, Pool>,
}

/// The things that a blocked thread waits for, with their lifetime erased.
#[derive(Clone, Copy)]
struct Awaited(Awaits<'static>);

// SAFETY: the reference is used only while the wait is registered, see `Awaited::new`. The methods
// of the calls that are used then are atomic or take locks of their own, and do not touch values.
unsafe impl Send for Awaited {}

impl Awaited {
    /// # Safety
    ///
    /// What `awaits` borrows is not changed or dropped until the wait has left the registry.
    unsafe fn new(awaits: Awaits<'_>) -> Self {
        // SAFETY: only the lifetime changes; by the caller's promise it is long enough.
        Self(unsafe { std::mem::transmute::<Awaits<'_>, Awaits<'static>>(awaits) })
    }

    fn get(&self) -> Awaits<'_> {
        self.0
    }
}

struct BlockedThread {
    worker_of: PoolId,
    /// The innermost call that it runs.
    name: &'static str,
    goal: WaitFor,
    on_deadlock: OnDeadlock,
    awaited: Awaited,
    signal: Arc<Signal>,
    /// It was told to check again, and counts as able to move.
    rechecks: bool,
    /// The result of its check depends on a call made of others.
    watches: bool,
    /// It has no stack left to run a call in place.
    out_of_stack: bool,
    /// It was chosen to fail, for this reason.
    refused: Option<String>,
}

/// Which blocked threads are to check again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recheck {
    /// All: there are fewer workers than before, or fewer may be started.
    All,
    /// Those that depend on calls made of others: such a call depends on other calls than before.
    Composed,
}

/// Makes blocked threads check again, because what they saw may have changed.
pub(crate) fn recheck_blocked(which: Recheck) {
    let signals: Vec<_> = {
        let mut registry = REGISTRY.lock();
        let Registry { blocked, pools, .. } = &mut *registry;
        let due = |blocked: &BlockedThread| {
            !blocked.rechecks && (which == Recheck::All || blocked.watches)
        };
        let due = blocked.iter_mut().filter(|(_, blocked)| due(blocked));
        due.map(|(key, blocked)| blocked.recheck(*key, pools)).collect()
    };
    signals.iter().for_each(|signal| signal.recheck());
}

/// Called when a composed call depends on other calls than before.
fn recheck_composed() {
    recheck_blocked(Recheck::Composed);
}

/// Called when this thread has ended a call, or its callbacks, inside of which it was blocked.
#[cold]
fn forget_running(call: usize) {
    let key = THREAD.try_with(Cell::get).unwrap_or(0);
    let mut registry = REGISTRY.lock();
    if registry.runs.get(&call) == Some(&key) {
        registry.runs.remove(&call);
    }
}

/// Whether other waits may depend on a wait of this thread.
pub(crate) fn concerns_this_thread() -> bool {
    current::is_in_call() || current::worker_of() != 0 || current::is_notifying_any()
}

/// Waits without a time limit until `until` holds on `signal`, to which the awaited calls report. A
/// wait for room in a queue also returns if there will never be any.
///
/// # Errors
///
/// [`Error::Deadlock`] if `until` can never hold.
pub(crate) fn wait(
    signal: &Arc<Signal>,
    until: WakeWhen,
    wait: &Wait<'_>,
    run: &mut InPlaceRun,
) -> Result<()> {
    if !concerns_this_thread() {
        signal.wait(until, None);
        return Ok(());
    }
    loop {
        if let (WaitFor::All, Awaits::Calls(calls)) = (wait.goal, wait.awaits) {
            run.while_nobody_is_free(calls);
        }
        if signal.holds(until) {
            return Ok(());
        }
        match Registered::enter(signal, wait, run)? {
            EnterOutcome::Blocked(registered) => {
                let over = signal.wait_or_recheck(until);
                let refused = registered.leave();
                if over {
                    return Ok(());
                }
                if let Some(text) = refused {
                    return Err(Error::Deadlock(text.into()));
                }
            }
            EnterOutcome::MayRun(calls) => run.while_stuck(calls, || signal.holds(until)),
            EnterOutcome::NoRoom => return Ok(()),
            EnterOutcome::NotCurrent => {}
        }
        if !(wait.is_current)() {
            return Ok(()); // the caller finds out what it waits for now
        }
    }
}

impl BlockedThread {
    #[must_use = "the signal is to be sent without the registry's lock"]
    fn recheck(&mut self, key: ThreadKey, pools: &mut HashMap<PoolId, Pool>) -> Arc<Signal> {
        self.rechecks = true;
        if let Some(pool) = pools.get_mut(&self.worker_of) {
            pool.unblock(key);
        }
        Arc::clone(&self.signal)
    }
}

impl Registry {
    fn new() -> Self {
        Self {
            last_thread: 0,
            blocked: BTreeMap::new(),
            runs: HashMap::new(),
            last_pool: 0,
            pools: HashMap::new(),
        }
    }

    /// Adds a wait of this thread.
    fn enter(&mut self, blocked: BlockedThread) -> ThreadKey {
        let mut key = THREAD.try_with(Cell::get).unwrap_or(0);
        if key == 0 {
            self.last_thread += 1;
            key = self.last_thread;
            let _ = THREAD.try_with(|own| own.set(key));
        }
        current::index_running(forget_running, |call| {
            self.runs.insert(call, key);
        });
        current::index_notifying(forget_running, |call| {
            self.runs.insert(call, key);
        });
        if let Some(pool) = self.pools.get_mut(&blocked.worker_of) {
            pool.block(key);
        }
        if let Awaits::EndOf(id) = blocked.awaited.get() {
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.ends_awaited += 1;
            }
        }
        self.blocked.insert(key, blocked);
        key
    }

    fn leave(&mut self, key: ThreadKey) -> Option<BlockedThread> {
        let blocked = self.blocked.remove(&key)?;
        if let Some(pool) = self.pools.get_mut(&blocked.worker_of) {
            pool.unblock(key);
        }
        if let Awaits::EndOf(id) = blocked.awaited.get() {
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.ends_awaited -= 1;
            }
        }
        Some(blocked)
    }

    fn recheck(&mut self, key: ThreadKey) -> Option<Arc<Signal>> {
        let blocked = self.blocked.get_mut(&key)?;
        Some(blocked.recheck(key, &mut self.pools))
    }

    /// As long as this does not change, a call that was found to be stuck in the queue of `pool`
    /// can be moved by no thread but the one that found it.
    fn generation(&self, pool: PoolId) -> Generation {
        Generation::of(self.pools.get(&pool))
    }

    /// Chooses a wait on `path` that fails in the place of that of `key`; `None` if there is none.
    fn refuse_other(
        &mut self,
        key: ThreadKey,
        path: &[ThreadKey],
        text: &str,
    ) -> Option<Arc<Signal>> {
        let on_deadlock = |key: &ThreadKey| self.blocked.get(key).map(|other| other.on_deadlock);
        let own = on_deadlock(&key)?;
        if own == OnDeadlock::Fails {
            return None;
        }
        let others = || path.iter().filter(|other| **other != key);
        let may_fail = others().find(|other| on_deadlock(other) == Some(OnDeadlock::Fails));
        let chosen = *match own {
            OnDeadlock::Forces => may_fail.or_else(|| others().next()),
            OnDeadlock::Fails | OnDeadlock::Insists => may_fail,
        }?;
        self.blocked.get_mut(&chosen)?.refused = Some(text.to_string());
        self.recheck(chosen)
    }
}
