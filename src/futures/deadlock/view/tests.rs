use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::futures::Future;
use crate::futures::call::Call;
use crate::futures::call::assist::One;
use crate::futures::call::pair_arc::PairArc;
use crate::futures::call::run::{QueuedFn, QueuedTask};
use crate::futures::call::waiters::Signal;
use crate::futures::deadlock::pools::{Pool, PoolCapacity};
use crate::futures::deadlock::{Awaited, BlockedThread, OnDeadlock};

const ID: PoolId = 3;

/// The pool, with so many workers and no more, of which these are blocked.
fn registry(workers: usize, blocked: &[ThreadKey]) -> Registry {
    let capacity = PoolCapacity::new("pool".into());
    capacity.set(workers, false);
    let mut pool = Pool::new(capacity);
    blocked.iter().for_each(|key| pool.block(*key));
    let mut registry = Registry::new();
    registry.pools.insert(ID, pool);
    registry
}

/// A thread that waits for `calls`.
///
/// # Safety
///
/// `calls` lives as long as the registry.
unsafe fn waits_for(calls: &dyn AwaitedSet) -> BlockedThread {
    BlockedThread {
        worker_of: ID,
        name: "a call",
        goal: WaitFor::All,
        on_deadlock: OnDeadlock::Fails,
        // SAFETY: the caller's promise.
        awaited: unsafe { Awaited::new(Awaits::Calls(calls)) },
        signal: Signal::new(),
        rechecks: false,
        watches: false,
        out_of_stack: false,
        refused: None,
    }
}

/// To tell them would have them tell each other, again and again, until the deadline.
#[test]
fn threads_that_only_a_deadline_moves_are_told_to_check_again_only_if_they_can_run_a_call() {
    for pending in [false, true] {
        let call_with_deadline = |pending: bool| {
            let (call, own) = Call::<(), _>::queued(ID, QueuedFn::new(|| (), "a call", ()));
            assert!(pending || call.start());
            let address = PairArc::address(&own);
            (address, Future::from_call(own).with_timeout(Duration::from_secs(600)), call)
        };
        let (first, in_first, _first) = call_with_deadline(pending);
        let (second, in_second, _second) = call_with_deadline(false);
        let [in_first, in_second] = [in_first, in_second].map(Arc::new);
        let (awaits_first, awaits_second) = (One(in_first.call()), One(in_second.call()));
        let mut registry = registry(2, &[1, 2]);
        registry.runs.extend([(first, 1), (second, 2)]);
        // SAFETY: what it waits for was made before the registry.
        registry.blocked.insert(1, unsafe { waits_for(&awaits_second) });
        // SAFETY: as above.
        registry.blocked.insert(2, unsafe { waits_for(&awaits_first) });
        let others = if pending { WaitCheck::OthersCanRun(vec![2]) } else { WaitCheck::Waits };
        assert_eq!(check(&mut registry, 1), others);
    }
}

#[test]
fn a_queued_call_needs_its_pool_only_if_all_workers_are_blocked_and_none_can_be_started() {
    const BLOCKED: ThreadKey = 7;
    let branch = |workers, may_grow, is_blocked: bool| {
        let capacity = PoolCapacity::new("pool".into());
        capacity.set(workers, may_grow);
        let mut registry = Registry::new();
        let mut pool = Pool::new(capacity);
        if is_blocked {
            pool.block(BLOCKED);
        }
        registry.pools.insert(ID, pool);
        View::new(&registry).taken_by(ID)
    };
    assert_eq!(branch(1, false, true), Branch::Needs(GraphNode::Pool(ID)));
    assert_eq!(branch(1, true, true), Branch::Moves);
    assert_eq!(branch(2, false, true), Branch::Moves);
    assert_eq!(branch(1, false, false), Branch::Moves);
    // A pool that the registry does not know has ended, or is not of threads.
    assert_eq!(View::new(&Registry::new()).taken_by(ID), Branch::Moves);
}
