//! A deadlock in words, for the error of the wait that fails.

use std::fmt::Write as _;

use super::graph::Branch;
use super::view::{AwaitedCall, GraphNode, View, WaitEnd, backwards};
use super::{Awaits, BlockedThread, ThreadKey, WaitFor};
use crate::futures::call::current::PoolId;
use crate::futures::call::dependency::Snapshot;
use crate::futures::call::state::Phase;

/// The cure for a deadlock.
const ADVICE: &str = "; give a pool more workers, or continue the calls with `and_then` instead of \
                    waiting in them";
#[cfg(feature = "deep-stacks")]
const NO_STACK: &str = "; it could run that call itself, but the system gives it no more stack";
#[cfg(not(feature = "deep-stacks"))]
const NO_STACK: &str = "; it could run that call itself, but has no more stack: set a larger `stack_size`, \
                        or build with the feature `deep-stacks`";

impl<'a> View<'a> {
    pub(super) fn advice(&self, key: ThreadKey) -> &'static str {
        let blocked = self.registry.blocked.get(&key);
        if blocked.is_some_and(|blocked| blocked.out_of_stack) { NO_STACK } else { ADVICE }
    }

    /// The cycle in words: the innermost call of each thread, and what it waits for.
    pub(super) fn describe(&mut self, path: &[GraphNode]) -> String {
        let registry = self.registry;
        let mut text = String::new();
        for pair in path.windows(2) {
            let (name, of_what) = match pair[0] {
                GraphNode::Pool(_) => continue, // named by the thread before
                GraphNode::Thread(key) => {
                    let Some(blocked) = registry.blocked.get(&key) else { continue };
                    (blocked.name, self.awaited_text(blocked, pair[1]))
                }
                GraphNode::Group(group) => {
                    let Some(group) = self.groups.get(&group).cloned() else { continue };
                    let Some(snapshot) = group.get().snapshot() else { continue };
                    (snapshot.name, self.member_text(&group, snapshot.call, pair[1]))
                }
            };
            if let Some(of_what) = of_what {
                let comma = if text.is_empty() { "" } else { ", and " };
                let _ = write!(text, "{comma}`{name}` waits for {of_what}");
            }
        }
        text
    }

    /// The call or pool because of which `blocked` needs `next`, in words.
    fn awaited_text(&mut self, blocked: &'a BlockedThread, next: GraphNode) -> Option<String> {
        let calls = match blocked.awaited.get() {
            Awaits::Calls(calls) => calls,
            Awaits::EndOf(pool) => return Some(format!("the end of {}", self.pool_name(pool))),
            Awaits::Drops(_) => {
                return Some("the drop of what a call of its scope captured".into());
            }
            Awaits::RoomIn(pool) => return Some(format!("room in {}", self.pool_name(pool))),
            Awaits::CallbacksOf(call) => {
                return call
                    .snapshot()
                    .map(|snapshot| format!("the callbacks of `{}`", snapshot.name));
            }
        };
        let needs = Some(Branch::Needs(next));
        let call =
            backwards(calls).find(|call| self.branch(call.clone(), None, blocked.goal) == needs)?;
        self.end_text(call)
    }

    fn member_text(
        &mut self,
        group: &AwaitedCall<'a>,
        follower: usize,
        next: GraphNode,
    ) -> Option<String> {
        let needs = Some(Branch::Needs(next));
        let mut end = usize::MAX;
        while let Some((index, member)) = group.get().member_before(end) {
            end = index;
            let member = AwaitedCall::Followed(member);
            if self.branch(member.clone(), Some(follower), WaitFor::All) == needs {
                return self.end_text(member);
            }
        }
        None
    }

    fn end_text(&mut self, call: AwaitedCall<'a>) -> Option<String> {
        match self.end_of(call, None, self.beyond_deadlines) {
            WaitEnd::Call(Some(snapshot), _) => Some(self.whereabouts(snapshot)),
            WaitEnd::Group(snapshot) => Some(format!("`{}`", snapshot.name)),
            WaitEnd::Call(None, _) | WaitEnd::InTime => None,
        }
    }

    fn whereabouts(&self, call: Snapshot) -> String {
        let (name, pool) = (call.name, self.pool_name(call.pool));
        match call.state.phase() {
            Phase::Pending => format!("`{name}`, queued in {pool}"),
            Phase::Running => format!("`{name}`, running in {pool}"),
            Phase::Finished | Phase::Cancelled => format!("what follows `{name}`"),
        }
    }

    fn pool_name(&self, id: PoolId) -> &str {
        self.registry.pools.get(&id).map_or("a pool", |pool| pool.name())
    }
}
