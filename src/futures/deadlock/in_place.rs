//! Which calls a waiting worker runs in place.

use super::REGISTRY;
use super::pools::Generation;
use crate::futures::call::assist::{AwaitedSet, RunInPlace, setting};
use crate::futures::call::current;
use crate::futures::call::dependency::{Dependency, DependsOn, Snapshot};
use crate::futures::call::in_place::{DependencyKind, InPlace, run_in_place};
use crate::futures::call::state::Phase;

/// The progress of a wait, or of several for the same calls, in running these in place.
#[derive(Debug, Default)]
pub(crate) struct InPlaceRun {
    /// The index of the call to try next, if all are stuck.
    next: usize,
    /// When they were found to be stuck.
    stuck_at: Option<Generation>,
    out_of_stack: bool,
}

impl InPlaceRun {
    pub(crate) fn is_out_of_stack(&self) -> bool {
        self.out_of_stack
    }

    /// For a wait that ends only when all its calls have ended: runs those that wait for this
    /// worker's pool, as long as no other worker is free to take them and none can be started.
    #[inline] // what there is to do for a single call, as most are, is little
    pub(crate) fn while_nobody_is_free<C: AwaitedSet + ?Sized>(&mut self, calls: &C) {
        let kind = match setting() {
            None | Some(RunInPlace::IfStuck) => return,
            Some(RunInPlace::IfNobodyIsFree) => DependencyKind::Certain { unless_free: true },
            Some(RunInPlace::Always) => DependencyKind::Certain { unless_free: false },
        };
        let mut next = 0;
        while let Some((index, call)) = calls.from(next) {
            next = index + 1;
            match run_in_place(call, kind, &mut || true) {
                InPlace::Ran | InPlace::NotOurs => {}
                InPlace::LeftToAnother => return,
                InPlace::NoStack => {
                    self.out_of_stack = true;
                    return;
                }
            }
        }
    }

    /// The registry found that nothing which is awaited can move.
    pub(super) fn found_stuck(&mut self, generation: Generation) {
        self.stuck_at = Some(generation);
    }

    /// Whether they are still stuck.
    pub(super) fn is_stuck(&self, generation: impl FnOnce() -> Generation) -> bool {
        !self.out_of_stack && self.stuck_at.is_some_and(|then| then == generation())
    }

    /// Notes that `call` was added to the awaited calls, with this index.
    ///
    /// They stay stuck if the call waits for the same pool, because it needs the same worker. So a
    /// loop over a window of a long map checks each call once.
    pub(crate) fn has_more(&mut self, index: usize, call: &dyn Dependency) {
        if self.stuck_at.is_some() && waits_for_this_pool(call) {
            self.next = self.next.min(index);
        } else {
            self.stuck_at = None;
            self.next = 0;
        }
    }

    /// Runs the next of `calls` that waits for this worker's pool, or a dependency of it, until the
    /// wait `is_over` or another worker can move.
    pub(super) fn while_stuck(&mut self, calls: &dyn AwaitedSet, is_over: impl Fn() -> bool) {
        let pool = current::worker_of();
        let then = self.stuck_at;
        let mut go_on = || !is_over() && then == Some(REGISTRY.lock().generation(pool));
        while let Some((index, call)) = calls.from(self.next) {
            self.next = index + 1;
            match run_in_place(call, DependencyKind::Any, &mut go_on) {
                InPlace::Ran => {
                    // If it follows another call now, that one may be able to move.
                    if call.snapshot().is_some_and(|snapshot| !snapshot.state.is_done()) {
                        self.stuck_at = None;
                    }
                    return;
                }
                InPlace::NotOurs | InPlace::LeftToAnother => {}
                InPlace::NoStack => {
                    self.out_of_stack = true;
                    break;
                }
            }
        }
        self.stuck_at = None;
        self.next = 0;
    }
}

fn waits_for_this_pool(call: &dyn Dependency) -> bool {
    let pool = current::worker_of();
    let waits =
        |snapshot: Snapshot| snapshot.pool == pool && snapshot.state.phase() == Phase::Pending;
    pool != 0
        && call.snapshot().is_some_and(waits)
        && matches!(call.follows(None), DependsOn::Nothing)
}
