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

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::futures::call::continuation::Continuations;
    use crate::futures::call::dependency::{DependencyRef, OnChange};
    use crate::futures::call::state::State;
    use crate::futures::deadlock::pools::{Pool, PoolCapacity};

    /// A call that says what comes of running it, and whether it is done then.
    struct Fake {
        outcome: InPlace,
        is_done: bool,
        runs: Cell<usize>,
    }

    impl Dependency for Fake {
        fn snapshot(&self) -> Option<Snapshot> {
            let state = if self.is_done { State::NEW.cancel() } else { Some(State::NEW) };
            Some(Snapshot { call: 1, name: "fake", pool: 0, state: state.expect("it is pending") })
        }
        fn follows(&self, _watch: OnChange) -> DependsOn {
            DependsOn::Nothing
        }
        fn members(&self) -> Vec<DependencyRef> {
            Vec::new()
        }
        fn member_before(&self, _end: usize) -> Option<(usize, DependencyRef)> {
            None
        }
        fn cancel(&self, _continuations: &mut Continuations) -> bool {
            false
        }
        fn ask_to_stop(&self) -> bool {
            false
        }
        fn kill(&self) -> bool {
            false
        }
        fn run_in_place(&self, _unless_free: bool) -> InPlace {
            self.runs.set(self.runs.get() + 1);
            self.outcome
        }
    }

    /// Calls, and the indices that were asked for.
    struct Fakes(Vec<Fake>, RefCell<Vec<usize>>);

    impl Fakes {
        fn of(outcomes: &[(InPlace, bool)]) -> Self {
            let fake = |&(outcome, is_done)| Fake { outcome, is_done, runs: Cell::new(0) };
            Self(outcomes.iter().map(fake).collect(), RefCell::default())
        }

        fn runs(&self) -> Vec<usize> {
            self.0.iter().map(|fake| fake.runs.get()).collect()
        }
    }

    impl AwaitedSet for Fakes {
        fn before(&self, _end: usize) -> Option<(usize, &dyn Dependency)> {
            None
        }
        fn from(&self, start: usize) -> Option<(usize, &dyn Dependency)> {
            self.1.borrow_mut().push(start);
            Some((start, self.0.get(start)?))
        }
    }

    /// That of a thread that is no worker.
    fn present() -> Generation {
        Generation::of(None)
    }

    fn stuck() -> InPlaceRun {
        let mut run = InPlaceRun::default();
        run.found_stuck(present());
        run
    }

    #[test]
    fn one_stuck_call_after_the_other_is_run_in_place() {
        let calls = Fakes::of(&[
            (InPlace::NotOurs, false),
            (InPlace::Ran, true),
            (InPlace::LeftToAnother, false),
            (InPlace::Ran, true),
        ]);
        let mut run = stuck();
        run.while_stuck(&calls, || false);
        assert_eq!(calls.runs(), [1, 1, 0, 0]);
        assert!(run.is_stuck(present), "the others are stuck as before");
        run.while_stuck(&calls, || false);
        assert_eq!(calls.runs(), [1, 1, 1, 1]);
        assert_eq!(*calls.1.borrow(), [0, 1, 2, 3]);
        assert!(run.is_stuck(present));
        // All were tried: the registry has to be asked again, about all of them.
        run.while_stuck(&calls, || false);
        assert!(!run.is_stuck(present));
        assert_eq!(run.next, 0);
    }

    #[test]
    fn a_call_that_follows_another_one_after_it_ran_is_checked_again() {
        let calls = Fakes::of(&[(InPlace::Ran, false)]);
        let mut run = stuck();
        run.while_stuck(&calls, || false);
        assert_eq!(calls.runs(), [1]);
        assert!(!run.is_stuck(present));
    }

    #[test]
    fn nothing_is_run_once_the_wait_is_over_or_the_pool_has_changed() {
        let calls = Fakes::of(&[(InPlace::Ran, true)]);
        stuck().while_stuck(&calls, || true);
        let mut pool = Pool::new(PoolCapacity::new(String::new()));
        pool.block(1);
        let mut run = InPlaceRun::default();
        run.found_stuck(Generation::of(Some(&pool)));
        run.while_stuck(&calls, || false);
        assert_eq!(calls.runs(), [0]);
    }

    #[test]
    fn a_thread_without_stack_runs_nothing_more() {
        let calls = Fakes::of(&[(InPlace::NoStack, false), (InPlace::Ran, true)]);
        let mut run = stuck();
        run.while_stuck(&calls, || false);
        assert_eq!(calls.runs(), [1, 0]);
        assert!(run.is_out_of_stack() && !run.is_stuck(present));
    }
}
