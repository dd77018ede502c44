//! Running a queued call in place: in the worker that waits for it.

use std::sync::Arc;

use super::AnyCall;
use super::assist::{Begin, WorkerContext, ask_worker};
use super::cancel_token::StopFlag;
use super::continuation::Continuations;
use super::current::worker_of;
use super::dependency::{Dependency, DependencyRef, DependsOn};
use super::run::{RunObserver, execute};
use super::stack::on_enough_stack;
use super::state::{Phase, State};

/// Which of the calls on which a call depends are run in place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DependencyKind {
    /// Those that must end before the call does: none behind a deadline, and no members of groups.
    Certain { unless_free: bool },
    /// All of them.
    Any,
}

/// Runs in place the calls on which `call` depends and that wait in the queue of this worker's
/// pool, while `go_on` returns true and `call` is not done.
#[inline]
pub(crate) fn run_in_place(
    call: &dyn Dependency,
    kind: DependencyKind,
    go_on: &mut dyn FnMut() -> bool,
) -> InPlace {
    if let DependsOn::Nothing = call.follows(None) {
        // The usual case.
        let unless_free = matches!(kind, DependencyKind::Certain { unless_free: true });
        return if go_on() { call.run_in_place(unless_free) } else { InPlace::NotOurs };
    }
    run_followed_in_place(call, kind, go_on)
}

/// [`run_in_place`] for a call that follows others.
#[inline(never)]
fn run_followed_in_place(
    call: &dyn Dependency,
    kind: DependencyKind,
    go_on: &mut dyn FnMut() -> bool,
) -> InPlace {
    let mut outcome = InPlace::NotOurs;
    // The path from `call` to the call that is visited; and what was tried of each call on it, and
    // of `call`.
    let mut path: Vec<DependencyRef> = Vec::new();
    let mut tried = vec![Tried::Nothing];
    while let Some(last) = tried.last_mut() {
        let here: &dyn Dependency = match path.last() {
            Some(followed) => &**followed,
            None => call,
        };
        match (here.follows(None), kind, &mut *last) {
            (DependsOn::InTime(_) | DependsOn::Group, DependencyKind::Certain { .. }, _) => {
                return outcome;
            }
            (DependsOn::Call(next) | DependsOn::InTime(next), _, Tried::Call(before))
                if Arc::ptr_eq(&next, before) => {}
            (DependsOn::Call(next) | DependsOn::InTime(next), _, _) => {
                *last = Tried::Call(Arc::clone(&next));
                path.push(next);
                tried.push(Tried::Nothing);
                continue;
            }
            (DependsOn::Group, _, Tried::Members(left)) => {
                if let Some(next) = left.next() {
                    path.push(next);
                    tried.push(Tried::Nothing);
                    continue;
                }
            }
            (DependsOn::Group, _, _) => {
                *last = Tried::Members(here.members().into_iter());
                continue;
            }
            (DependsOn::Nothing, _, _) => {
                if !go_on() {
                    return outcome;
                }
                let unless_free = matches!(kind, DependencyKind::Certain { unless_free: true });
                match here.run_in_place(unless_free) {
                    InPlace::Ran => outcome = InPlace::Ran,
                    InPlace::NotOurs => {}
                    not @ (InPlace::LeftToAnother | InPlace::NoStack) => return not,
                }
            }
        }
        path.pop();
        tried.pop();
    }
    outcome
}

/// Which dependencies of one call [`run_in_place`] has visited.
enum Tried {
    Nothing,
    /// The call that it followed; it may follow another one later.
    Call(DependencyRef),
    /// The members that were not visited yet.
    Members(std::vec::IntoIter<DependencyRef>),
}

/// The outcome of an attempt to run a call in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InPlace {
    Ran,
    /// The call does not wait in the queue of this worker's pool.
    NotOurs,
    /// Another worker can take it.
    LeftToAnother,
    /// The system has no stack for it. The call stays queued.
    NoStack,
}

/// Runs `call` on this thread if it waits in the queue of the pool that this thread works for.
///
/// For a worker that would otherwise block on it. The queue keeps the ended call until a worker
/// removes it. The stack is allocated before the call is claimed, because a claimed call must run.
pub(super) fn run_queued<T>(call: &AnyCall<T>, unless_free: bool) -> InPlace {
    let shared = call.shared();
    let pool = shared.pool();
    if pool == 0 || worker_of() != pool || shared.state().phase() != Phase::Pending {
        return InPlace::NotOurs;
    }
    let run = |worker: &dyn WorkerContext| {
        let mut start = || shared.transition(State::start_and_claim).is_ok();
        match worker.begin_in_place(unless_free, &mut start) {
            Begin::Gone => return InPlace::NotOurs,
            Begin::LeftToAnother => return InPlace::LeftToAnother,
            Begin::Begun => {}
        }
        // SAFETY: this thread made the transition above.
        let state = unsafe { execute(call, &Nested(worker)) };
        // Callbacks and continuations nest as the calls do, so they run on the same piece of stack.
        if state.is_waited() {
            Continuations::with(|continuations| {
                call.notify_waiters(continuations, state, &Nested(worker));
            });
        }
        InPlace::Ran
    };
    let run = || ask_worker(run).unwrap_or(InPlace::NotOurs);
    on_enough_stack(run).unwrap_or(InPlace::NoStack)
}

/// Observes a call that a waiting worker runs in place.
struct Nested<'a>(&'a dyn WorkerContext);

impl RunObserver for Nested<'_> {
    fn ended(&self, failed: bool) {
        self.0.ended(failed);
    }
    fn leaves_user_code(&self) {}
    fn enters_user_code(&self) {}
    fn stop_flag(&self) -> Option<StopFlag> {
        Some(self.0.stop_flag())
    }
}
