//! The registry as a graph of blocked threads and of calls made of others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use super::graph::{Branch, Mode, Outlook, Waits, can_move};
use super::{Goal, Key, PoolView, Registry};
use crate::futures::call::context::PoolId;
use crate::futures::call::state::Phase;
use crate::futures::call::upstream::{Followed, Follows, Look, Upstream};

/// What a thread that was entered into the registry is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Waits,
    /// Something that it waits for has come to wait for this very worker.
    CanHelp,
    /// What it waits for cannot end; the threads on the way to the cycle, and the cycle in words.
    Stuck(Vec<Key>, String),
}

/// Pools by number, as far as they were looked at.
#[derive(Default)]
pub(super) struct Pools(HashMap<PoolId, Option<Arc<dyn PoolView>>>);

pub(super) fn judge(registry: &Registry, pools: &mut Pools, thread: Key) -> Verdict {
    // Groups are watched only if it matters how their members end.
    let mut watch = false;
    let mut helping = Vec::new();
    loop {
        let view = View::new(registry, pools, watch, &helping);
        if view.can_help(thread) {
            return Verdict::CanHelp;
        }
        match can_move(&view, Node::Thread(thread)) {
            Ok(Outlook::MayMove) if !watch => watch = true,
            Ok(_) => return Verdict::Waits,
            Err(path) => {
                // A chain may have turned to another call a moment ago, and who did that waits for
                // the registry, to have those look again that can run it. Calls were looked at one
                // by one, so that this is looked for afterwards.
                let text = view.describe(&path) + CURE;
                let reached = view.reached.take();
                let found: Vec<_> = reached.into_iter().filter(|key| view.can_help(*key)).collect();
                if found.contains(&thread) {
                    return Verdict::CanHelp;
                }
                if found.is_empty() {
                    let path = path.into_iter().filter_map(Node::thread);
                    return Verdict::Stuck(path.collect(), text);
                }
                helping.extend(found);
            }
        }
    }
}

/// What to do about it.
const CURE: &str = "; more workers would help, or to follow the calls with `and_then` instead of \
                    waiting in a call";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Thread(Key),
    /// A call made of others, by its address.
    Group(usize),
}

impl Node {
    fn thread(self) -> Option<Key> {
        match self {
            Self::Thread(key) => Some(key),
            Self::Group(_) => None,
        }
    }
}

struct View<'a> {
    registry: &'a Registry,
    pools: RefCell<&'a mut Pools>,
    /// Those that were come across.
    groups: RefCell<HashMap<usize, Group>>,
    reached: RefCell<Vec<Key>>,
    watch: bool,
    /// Threads that have something to run in place.
    helping: &'a [Key],
}

struct Group {
    name: &'static str,
    members: Vec<Followed>,
}

/// Where the way from a call to what it follows ends.
enum End {
    /// A call that follows no other, or has ended, and the one that follows it.
    Call(Option<Look>, Option<usize>),
    /// A call made of others.
    Group(Look),
    /// There is a deadline on the way.
    InTime,
}

impl<'a> View<'a> {
    fn new(registry: &'a Registry, pools: &'a mut Pools, watch: bool, helping: &'a [Key]) -> Self {
        let (pools, groups) = (RefCell::new(pools), RefCell::default());
        Self { registry, pools, groups, reached: RefCell::default(), watch, helping }
    }

    fn pool(&self, id: PoolId) -> Option<Arc<dyn PoolView>> {
        let find = || self.registry.pools.get(&id).and_then(Weak::upgrade);
        self.pools.borrow_mut().0.entry(id).or_insert_with(find).clone()
    }

    /// Goes from `call` to what it follows in the end.
    fn end_of(&self, call: &dyn Upstream, mut follower: Option<usize>) -> End {
        let mut here: Option<Followed> = None;
        loop {
            let call = here.as_deref().map_or(call, |call| call as &dyn Upstream);
            let follows = call.follows(true);
            let look = call.look();
            match (follows, look) {
                (Follows::Call(next), Some(look)) => {
                    follower = Some(look.call);
                    here = Some(next);
                }
                (Follows::InTime(_), _) => return End::InTime,
                (Follows::Group, Some(look)) if !look.state.is_done() => {
                    self.groups.borrow_mut().entry(look.call).or_insert_with(|| Group {
                        name: look.name,
                        members: call.members(self.watch),
                    });
                    return End::Group(look);
                }
                (_, look) => return End::Call(look, follower),
            }
        }
    }

    /// What `call` depends on; `None` if it is over and was not what the wait is for.
    fn branch(
        &self,
        call: &dyn Upstream,
        follower: Option<usize>,
        goal: Goal,
    ) -> Option<Branch<Node>> {
        let (look, follower) = match self.end_of(call, follower) {
            End::InTime => return Some(Branch::Moves),
            End::Group(look) => return Some(Branch::Needs(vec![Node::Group(look.call)])),
            End::Call(Some(look), follower) => (look, follower),
            End::Call(None, follower) => return Some(self.run_by(follower)),
        };
        match look.state.phase() {
            Phase::Finished | Phase::Cancelled if follower.is_none() => {
                let counts = goal != Goal::Failure || look.state.is_failed();
                counts.then_some(Branch::Moves)
            }
            // Its callbacks come first, then what follows it.
            Phase::Finished | Phase::Cancelled => {
                Some(self.run_by([follower, Some(look.call)].into_iter().flatten()))
            }
            _ if look.pool == 0 => Some(Branch::Moves), // who holds the promise is not known
            Phase::Running => Some(self.run_by(Some(look.call))),
            Phase::Pending => Some(self.queued_in(look.pool)),
        }
    }

    /// One of these calls is being run, or its callbacks.
    fn run_by(&self, calls: impl IntoIterator<Item = usize>) -> Branch<Node> {
        let runner = calls.into_iter().find_map(|call| {
            let key = self.registry.runs.get(&call)?;
            self.registry.blocked.get(key).filter(|blocked| !blocked.alarmed).map(|_| *key)
        });
        runner.map_or(Branch::Moves, |key| Branch::Needs(vec![Node::Thread(key)]))
    }

    fn queued_in(&self, id: PoolId) -> Branch<Node> {
        let Some(pool) = self.pool(id) else { return Branch::Moves };
        let staff = pool.staff();
        let blocked = self.registry.blocked.iter();
        let threads = blocked.filter(|(_, other)| other.worker_of == id && !other.alarmed);
        let blocked: Vec<_> = threads.map(|(key, _)| Node::Thread(*key)).collect();
        if staff.may_grow || staff.workers > blocked.len() {
            return Branch::Moves;
        }
        Branch::Needs(blocked)
    }

    /// Whether `thread` waits for a call that it could run in place.
    fn can_help(&self, thread: Key) -> bool {
        self.groups.take(); // not those of an earlier look
        let Some(blocked) = self.registry.blocked.get(&thread) else { return false };
        let own = blocked.worker_of;
        if own == 0 {
            return false;
        }
        let mut groups = Vec::new();
        let helps = |call: &dyn Upstream, groups: &mut Vec<usize>| match self.end_of(call, None) {
            End::Call(Some(look), _) => look.pool == own && look.state.phase() == Phase::Pending,
            End::Group(look) => {
                groups.push(look.call);
                false
            }
            End::Call(None, _) | End::InTime => false,
        };
        let mut composed = blocked.awaited.iter().map(|call| call.call());
        if composed.any(|call| helps(call, &mut groups)) {
            return true;
        }
        let mut next = 0;
        while let Some(group) = groups.get(next).copied() {
            next += 1;
            if self.members(group).iter().any(|member| helps(&**member, &mut groups)) {
                return true;
            }
        }
        false
    }

    fn members(&self, group: usize) -> Vec<Followed> {
        self.groups.borrow().get(&group).map_or_else(Vec::new, |group| group.members.clone())
    }

    /// The cycle in words: each thread's innermost call, and what it waits for.
    fn describe(&self, path: &[Node]) -> String {
        let mut text = String::new();
        for pair in path.windows(2) {
            let needed = |branch: Option<Branch<Node>>| matches!(branch, Some(Branch::Needs(nodes)) if nodes.contains(&pair[1]));
            let (name, end) = match pair[0] {
                Node::Thread(key) => {
                    let Some(blocked) = self.registry.blocked.get(&key) else { continue };
                    let mut calls = blocked.awaited.iter().map(|call| call.call());
                    let call = calls.find(|call| needed(self.branch(*call, None, blocked.goal)));
                    let name = blocked.calls.first().map_or("a thread", |call| call.name);
                    (name, call.map(|call| self.end_of(call, None)))
                }
                Node::Group(group) => {
                    let members = self.members(group);
                    let mut members = members.iter().map(|member| &**member as &dyn Upstream);
                    let of_group = |call: &dyn Upstream| self.branch(call, Some(group), Goal::All);
                    let call = members.find(|call| needed(of_group(*call)));
                    let name = self.groups.borrow().get(&group).map_or("", |group| group.name);
                    (name, call.map(|call| self.end_of(call, None)))
                }
            };
            let comma = if text.is_empty() { "" } else { ", and " };
            let _ = match end {
                Some(End::Call(Some(look), _)) => {
                    write!(text, "{comma}`{name}` waits for {}", self.whereabouts(look))
                }
                Some(End::Group(look)) => write!(text, "{comma}`{name}` waits for `{}`", look.name),
                Some(End::Call(None, _) | End::InTime) | None => Ok(()),
            };
        }
        text
    }

    fn whereabouts(&self, call: Look) -> String {
        let name = call.name;
        let pool = self.pool(call.pool);
        let pool = pool.as_deref().map_or("a pool", |pool| pool.name());
        match call.state.phase() {
            Phase::Pending => format!("`{name}`, queued in {pool}"),
            Phase::Running => format!("`{name}`, running in {pool}"),
            Phase::Finished | Phase::Cancelled => format!("what follows `{name}`"),
        }
    }
}

impl Waits for View<'_> {
    type Node = Node;

    fn mode(&self, node: Node) -> Mode {
        let Node::Thread(thread) = node else { return Mode::Some };
        match self.registry.blocked.get(&thread).map(|blocked| blocked.goal) {
            Some(Goal::Any | Goal::Failure) => Mode::Any,
            Some(Goal::All) | None => Mode::All,
        }
    }

    fn branches(&self, node: Node) -> Vec<Branch<Node>> {
        let branches: Vec<_> = match node {
            Node::Thread(thread) => {
                let Some(blocked) = self.registry.blocked.get(&thread) else { return Vec::new() };
                if self.helping.contains(&thread) {
                    return vec![Branch::Moves];
                }
                self.reached.borrow_mut().push(thread);
                let branch = |call| self.branch(call, None, blocked.goal);
                blocked.awaited.iter().filter_map(|call| branch(call.call())).collect()
            }
            Node::Group(group) => {
                let members = self.members(group);
                let branch = |call| self.branch(call, Some(group), Goal::All);
                members.iter().filter_map(|member| branch(&**member)).collect()
            }
        };
        if branches.is_empty() { vec![Branch::Moves] } else { branches }
    }
}
