//! Running a call in place: in the worker that waits for it.

use std::sync::Arc;

use super::AnyCall;
use super::assist::{Begin, ask_worker};
use super::cancel_token::StopFlag;
use super::continuation::Continuations;
use super::current::worker_of;
use super::dependency::{Dependency, DependencyRef, DependsOn};
use super::run::{RunObserver, execute};
use super::state::{Phase, State};
#[cfg(not(any(miri, concurrent_loom, concurrent_tsan)))]
use crate::user_code::catch;

/// Which of the calls that another one depends on are run in place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DependencyKind {
    /// Those that must end before it does: not what is behind a deadline, nor the members of a group.
    Certain { unless_free: bool },
    /// All of them.
    Any,
}

/// Runs in place what `call` depends on and waits for this worker, as long as `go_on` says so and
/// `call` is not done.
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

/// The same for a call that follows others.
#[inline(never)]
fn run_followed_in_place(
    call: &dyn Dependency,
    kind: DependencyKind,
    go_on: &mut dyn FnMut() -> bool,
) -> InPlace {
    let mut outcome = InPlace::NotOurs;
    // From `call` to the one that is looked at; for each, and for `call`, what was tried of it.
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

/// What [`run_in_place`] went through of what one call follows.
enum Tried {
    Nothing,
    /// The call that it followed then: afterwards it may follow another.
    Call(DependencyRef),
    /// The members that are left.
    Members(std::vec::IntoIter<DependencyRef>),
}

/// What became of a call that was to be run in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InPlace {
    Ran,
    /// It does not wait in the queue of this worker's pool, or not any more.
    NotOurs,
    /// Another worker can take it.
    LeftToAnother,
    /// The system gives this thread no stack to run it on. It waits as before.
    NoStack,
}

/// Runs `call` on this thread if it waits in the queue of the pool that this thread works for.
///
/// For a worker that would otherwise block on it. The place of the call is empty in the queue from
/// then on. The stack comes first: a call that was claimed always runs.
pub(super) fn run_queued<T>(call: &AnyCall<T>, unless_free: bool) -> InPlace {
    let core = call.core();
    let pool = core.pool();
    if pool == 0 || worker_of() != pool || core.state().phase() != Phase::Pending {
        return InPlace::NotOurs;
    }
    let run = || {
        let mut start = || core.transition(State::start_and_claim).is_ok();
        match ask_worker(|worker| worker.begin_in_place(unless_free, &mut start)) {
            None | Some(Begin::Gone) => return InPlace::NotOurs,
            Some(Begin::LeftToAnother) => return InPlace::LeftToAnother,
            Some(Begin::Begun) => {}
        }
        // SAFETY: this thread made the transition above.
        let state = unsafe { execute(call, &Nested) };
        // Callbacks and what follows nest as the calls do: on the same piece of stack.
        if state.is_waited() {
            Continuations::with(|chain| call.notify_waiters(chain, state, &Nested));
        }
        InPlace::Ran
    };
    on_enough_stack(run).unwrap_or(InPlace::NoStack)
}

/// The stage of a call that a waiting worker runs in place.
struct Nested;

impl RunObserver for Nested {
    fn ended(&self, failed: bool) {
        ask_worker(|worker| worker.ended(failed));
    }
    fn leaves_user_code(&self) {}
    fn enters_user_code(&self) {}
    fn stop_flag(&self) -> Option<StopFlag> {
        ask_worker(|worker| worker.stop_flag())
    }
}

/// Runs `body`, which does not unwind, on a fresh piece of stack if this one nears its end: calls that
/// wait for calls nest as deep as they please. `None`, without running it, if there is none to be had.
#[cfg(not(any(miri, concurrent_loom, concurrent_tsan)))]
pub(crate) fn on_enough_stack<R>(body: impl FnOnce() -> R) -> Option<R> {
    const RED_ZONE: usize = 128 * 1024;
    const PIECE: usize = 2 * 1024 * 1024;
    if stacker::remaining_stack().is_some_and(|left| left >= RED_ZONE) {
        return Some(body());
    }
    // It panics, before it calls anything, if the system refuses the memory.
    catch(|| stacker::grow(PIECE, body)).ok()
}

// ThreadSanitizer loses the thread whose stack is changed.
#[cfg(any(miri, concurrent_loom, concurrent_tsan))]
pub(crate) fn on_enough_stack<R>(body: impl FnOnce() -> R) -> Option<R> {
    Some(body())
}
