//! The registry as a graph of blocked threads, pools and calls made of others; see `graph.rs`.

use std::collections::HashMap;

use super::graph::{Branch, Waits, can_move};
use super::{Awaits, Registry, ThreadKey, WaitFor, recheck_composed};
use crate::futures::call::assist::AwaitedSet;
use crate::futures::call::current::{self, PoolId};
use crate::futures::call::dependency::{Dependency, DependencyRef, DependsOn, Snapshot};
use crate::futures::call::state::Phase;
use crate::futures::call::waiters::WakeWhen;

/// The result of a check: what the thread has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WaitCheck {
    Waits,
    /// Nothing that it waits for can move, but it can run one of the calls in place.
    CanRun,
    /// It moves if these stuck threads run in place the calls that they wait for.
    OthersCanRun(Vec<ThreadKey>),
    /// Its wait cannot end. Has the threads on the path to the cycle, and the cycle in words.
    Stuck(Vec<ThreadKey>, String),
}

/// Checks the wait of this thread, `key`.
pub(super) fn check(registry: &mut Registry, key: ThreadKey) -> WaitCheck {
    if !is_depended_on(registry, key) {
        return WaitCheck::Waits;
    }
    let mut view = View::new(registry);
    loop {
        let stuck = match can_move(&mut view, GraphNode::Thread(key)) {
            Ok(()) => break,
            Err(stuck) => stuck,
        };
        if view.can_run(key) {
            return WaitCheck::CanRun;
        }
        let threads = |nodes: Vec<GraphNode>| nodes.into_iter().filter_map(GraphNode::thread);
        let running = threads(stuck.all).filter(|other| view.can_run(*other)).collect::<Vec<_>>();
        if running.is_empty() {
            let text = view.describe(&stuck.path) + view.advice(key);
            return WaitCheck::Stuck(threads(stuck.path).collect(), text);
        }
        // These move once they are told to. The next turn shows whether that is enough for this
        // one.
        view.running.extend(running);
    }
    let View { mut watches, saw_deadline, mut running, .. } = view;
    // If only a deadline moves the threads, and one of them can run a call in place, none should
    // wait for the deadline.
    if saw_deadline {
        let mut view = View { beyond_deadlines: true, ..View::new(registry) };
        if let Err(stuck) = can_move(&mut view, GraphNode::Thread(key)) {
            if view.can_run(key) {
                return WaitCheck::CanRun;
            }
            let others = stuck.all.into_iter().filter_map(GraphNode::thread);
            let others = others.filter(|other| !running.contains(other) && view.can_run(*other));
            running.extend(others.collect::<Vec<_>>());
        }
        watches |= view.watches;
    }
    if let Some(blocked) = registry.blocked.get_mut(&key) {
        blocked.watches = watches;
    }
    if running.is_empty() { WaitCheck::Waits } else { WaitCheck::OthersCanRun(running) }
}

/// Whether something depends on this thread, `key`. If not, its wait can be part of no deadlock.
///
/// A thread that waits for a call registers with the call before it enters the registry. So either
/// this function sees that, or that thread enters later and sees this one blocked.
fn is_depended_on(registry: &Registry, key: ThreadKey) -> bool {
    /// The most nested calls that are checked; if there are more, one of them is assumed to be
    /// awaited.
    const FRAMES: usize = 64;
    let worker_of = registry.blocked.get(&key).map_or(0, |blocked| blocked.worker_of);
    let counts = registry
        .pools
        .get(&worker_of)
        .is_some_and(|pool| pool.ends_awaited > 0 || !pool.has_another_worker());
    counts || current::is_notifying_any() || current::is_awaited(FRAMES)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum GraphNode {
    Thread(ThreadKey),
    /// Any of its workers.
    Pool(PoolId),
    /// A call made of others, by its address.
    Group(usize),
}

impl GraphNode {
    fn thread(self) -> Option<ThreadKey> {
        match self {
            Self::Thread(key) => Some(key),
            Self::Pool(_) | Self::Group(_) => None,
        }
    }
}

pub(super) struct View<'a> {
    pub(super) registry: &'a Registry,
    /// The groups that were reached.
    pub(super) groups: HashMap<usize, AwaitedCall<'a>>,
    /// The result depends on a call made of others.
    watches: bool,
    /// A deadline was seen.
    saw_deadline: bool,
    /// Whether to ignore deadlines.
    pub(super) beyond_deadlines: bool,
    /// Threads that have a call to run in place.
    running: Vec<ThreadKey>,
}

/// A call that was reached.
#[derive(Clone)]
pub(super) enum AwaitedCall<'a> {
    Awaited(&'a dyn Dependency),
    Followed(DependencyRef),
}

impl AwaitedCall<'_> {
    pub(super) fn get(&self) -> &dyn Dependency {
        match self {
            Self::Awaited(call) => *call,
            Self::Followed(call) => &**call,
        }
    }
}

/// The end of the chain of a call.
pub(super) enum WaitEnd {
    /// A call that follows no other, or has ended, and the one that follows it.
    Call(Option<Snapshot>, Option<usize>),
    /// A call made of others.
    Group(Snapshot),
    /// There is a deadline in the chain.
    InTime,
}

impl<'a> View<'a> {
    fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            groups: HashMap::new(),
            watches: false,
            saw_deadline: false,
            beyond_deadlines: false,
            running: Vec::new(),
        }
    }

    /// Follows the chain of `call` to its first call.
    pub(super) fn end_of(
        &mut self,
        mut call: AwaitedCall<'a>,
        mut follower: Option<usize>,
        beyond: bool,
    ) -> WaitEnd {
        loop {
            let follows = call.get().follows(Some(recheck_composed));
            let snapshot = call.get().snapshot();
            match (follows, snapshot) {
                (DependsOn::InTime(_), _) if !beyond => {
                    self.saw_deadline = true;
                    return WaitEnd::InTime;
                }
                (DependsOn::Call(next) | DependsOn::InTime(next), Some(snapshot)) => {
                    self.watches = true;
                    follower = Some(snapshot.call);
                    call = AwaitedCall::Followed(next);
                }
                (DependsOn::Group, Some(snapshot)) if !snapshot.state.is_done() => {
                    self.watches = true;
                    self.groups.entry(snapshot.call).or_insert(call);
                    return WaitEnd::Group(snapshot);
                }
                (_, snapshot) => return WaitEnd::Call(snapshot, follower),
            }
        }
    }

    /// The branch of `call`; `None` if it has ended, but not in the way that the wait is for.
    pub(super) fn branch(
        &mut self,
        call: AwaitedCall<'a>,
        follower: Option<usize>,
        goal: WaitFor,
    ) -> Option<Branch<GraphNode>> {
        let (snapshot, follower) = match self.end_of(call, follower, self.beyond_deadlines) {
            WaitEnd::InTime => return Some(Branch::Moves),
            WaitEnd::Group(snapshot) => {
                return Some(Branch::Needs(GraphNode::Group(snapshot.call)));
            }
            WaitEnd::Call(Some(snapshot), follower) => (snapshot, follower),
            WaitEnd::Call(None, follower) => return Some(self.run_by(follower)),
        };
        match snapshot.state.phase() {
            Phase::Finished | Phase::Cancelled if follower.is_none() => match goal {
                WaitFor::Any => Some(Branch::Moves),
                WaitFor::Failure => snapshot.state.is_failed().then_some(Branch::Moves),
                WaitFor::All => None,
            },
            // The thread runs its callbacks, or a continuation.
            Phase::Finished | Phase::Cancelled => {
                Some(self.run_by([follower, Some(snapshot.call)].into_iter().flatten()))
            }
            _ if snapshot.pool == 0 => Some(Branch::Moves), // the owner of the promise is not known
            Phase::Running => Some(self.run_by(Some(snapshot.call))),
            Phase::Pending => Some(self.taken_by(snapshot.pool)),
        }
    }

    /// A branch: the thread that runs one of these calls, or its callbacks.
    fn run_by(&self, calls: impl IntoIterator<Item = usize>) -> Branch<GraphNode> {
        let runner = calls.into_iter().find_map(|call| {
            let key = self.registry.runs.get(&call)?;
            self.registry.blocked.get(key).filter(|blocked| !blocked.rechecks).map(|_| *key)
        });
        runner.map_or(Branch::Moves, |key| Branch::Needs(GraphNode::Thread(key)))
    }

    /// A branch: any worker of the pool takes a call.
    fn taken_by(&self, id: PoolId) -> Branch<GraphNode> {
        match self.registry.pools.get(&id) {
            Some(pool) if !pool.has_another_worker() => Branch::Needs(GraphNode::Pool(id)),
            _ => Branch::Moves,
        }
    }

    /// Whether `thread` waits for a call that it could run in place.
    fn can_run(&mut self, thread: ThreadKey) -> bool {
        let registry = self.registry;
        let Some(blocked) = registry.blocked.get(&thread) else { return false };
        let calls = match blocked.awaited.get() {
            Awaits::RoomIn(_) => return true, // it can run the call that it could not submit
            Awaits::Calls(calls) => calls,
            Awaits::EndOf(_) | Awaits::CallbacksOf(_) | Awaits::Drops(_) => return false,
        };
        if blocked.worker_of == 0 || blocked.out_of_stack {
            return false;
        }
        let mut groups = Vec::new();
        if backwards(calls).any(|call| self.is_for(blocked.worker_of, call, &mut groups)) {
            return true;
        }
        let mut next = 0;
        while let Some(group) = groups.get(next).copied() {
            next += 1;
            let Some(group) = self.groups.get(&group).cloned() else { continue };
            let mut end = usize::MAX;
            while let Some((index, member)) = group.get().member_before(end) {
                end = index;
                if self.is_for(blocked.worker_of, AwaitedCall::Followed(member), &mut groups) {
                    return true;
                }
            }
        }
        false
    }

    /// Whether the chain of `call` begins with a call that waits in the queue of `pool`. If it
    /// begins with a group, that is added to `groups`.
    fn is_for(&mut self, pool: PoolId, call: AwaitedCall<'a>, groups: &mut Vec<usize>) -> bool {
        match self.end_of(call, None, true) {
            WaitEnd::Call(Some(snapshot), _) => {
                snapshot.pool == pool && snapshot.state.phase() == Phase::Pending
            }
            WaitEnd::Group(snapshot) => {
                groups.push(snapshot.call);
                false
            }
            WaitEnd::Call(None, _) | WaitEnd::InTime => false,
        }
    }
}

/// The awaited calls, the last first: the call that was submitted last is likely to end last, so
/// that what is learned about it stays true longest.
pub(super) fn backwards<'a>(calls: &'a dyn AwaitedSet) -> impl Iterator<Item = AwaitedCall<'a>> {
    let mut end = usize::MAX;
    std::iter::from_fn(move || {
        let (index, call) = calls.before(end)?;
        end = index;
        Some(AwaitedCall::Awaited(call))
    })
}

impl Waits for View<'_> {
    type Node = GraphNode;

    fn needs_all(&self, node: GraphNode) -> bool {
        match node {
            GraphNode::Thread(thread) if self.running.contains(&thread) => true,
            GraphNode::Thread(thread) => {
                let goal = self.registry.blocked.get(&thread).map(|blocked| blocked.goal);
                goal.is_none_or(|goal| goal == WaitFor::All)
            }
            // Any member may end a group. If one does not, blocked threads check again.
            GraphNode::Pool(_) | GraphNode::Group(_) => false,
        }
    }

    /// Calls are visited from the last to the first: `looked_at` is `usize::MAX` minus the index.
    /// Threads are visited by rising keys.
    fn next_branch(
        &mut self,
        node: GraphNode,
        mut looked_at: usize,
    ) -> Option<(Branch<GraphNode>, usize)> {
        let registry = self.registry;
        let worker = |pool: PoolId| {
            let key = registry.pools.get(&pool)?.blocked_after(looked_at)?;
            Some((Branch::Needs(GraphNode::Thread(key)), key))
        };
        match node {
            GraphNode::Pool(pool) => worker(pool),
            GraphNode::Group(address) => {
                let group = self.groups.get(&address)?.clone();
                loop {
                    let (index, member) = group.get().member_before(usize::MAX - looked_at)?;
                    looked_at = usize::MAX - index;
                    let member = AwaitedCall::Followed(member);
                    if let Some(branch) = self.branch(member, Some(address), WaitFor::All) {
                        return Some((branch, looked_at));
                    }
                }
            }
            GraphNode::Thread(thread) => {
                let blocked = registry.blocked.get(&thread)?;
                if self.running.contains(&thread) {
                    return None; // it waits for nothing
                }
                let calls = match blocked.awaited.get() {
                    Awaits::EndOf(pool) => return worker(pool),
                    Awaits::Drops(numbers) => {
                        let number = *numbers.get(looked_at)?;
                        return Some((self.run_by([number]), looked_at + 1));
                    }
                    Awaits::RoomIn(_) | Awaits::CallbacksOf(_) if looked_at > 0 => return None,
                    // The wait may be over although the thread has not run since.
                    Awaits::RoomIn(_) | Awaits::CallbacksOf(_)
                        if blocked.signal.holds(WakeWhen::ONE) =>
                    {
                        return Some((Branch::Moves, 1));
                    }
                    Awaits::RoomIn(pool) => return Some((self.taken_by(pool), 1)),
                    Awaits::CallbacksOf(call) => {
                        let call = call.snapshot().map(|snapshot| snapshot.call);
                        return Some((self.run_by(call), 1));
                    }
                    Awaits::Calls(calls) => calls,
                };
                loop {
                    let (index, call) = calls.before(usize::MAX - looked_at)?;
                    looked_at = usize::MAX - index;
                    if blocked.goal == WaitFor::Failure {
                        // Before the state is read: the thread checks again when this call
                        // succeeds.
                        blocked.signal.recheck_from(index);
                    }
                    if let Some(branch) =
                        self.branch(AwaitedCall::Awaited(call), None, blocked.goal)
                    {
                        return Some((branch, looked_at));
                    }
                }
            }
        }
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests;
