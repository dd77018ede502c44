//! How a wait enters the registry, and leaves it in whatever way it ends.

use std::sync::Arc;

use super::view::{WaitCheck, check};
use super::{
    Awaited, Awaits, BlockedThread, InPlaceRun, OnDeadlock, REGISTRY, Registry, ThreadKey, Wait,
};
use crate::error::{Error, Result};
use crate::futures::call::assist::AwaitedSet;
use crate::futures::call::current;
use crate::futures::call::waiters::Signal;
use crate::sync::MutexGuard;

/// A wait that is in the registry until this is dropped.
#[must_use = "it leaves when dropped"]
pub(super) struct Registered(ThreadKey);

pub(super) enum EnterOutcome<'a> {
    Blocked(Registered),
    /// No awaited call can move, but the thread can run some of them in place.
    MayRun(&'a dyn AwaitedSet),
    /// There will be no room in the queue; the caller has to run its call itself.
    NoRoom,
    NotCurrent,
}

impl Registered {
    pub(super) fn enter<'a>(
        signal: &Arc<Signal>,
        wait: &Wait<'a>,
        run: &mut InPlaceRun,
    ) -> Result<EnterOutcome<'a>> {
        let worker_of = current::worker_of();
        let blocked = BlockedThread {
            worker_of,
            name: current::innermost_name().unwrap_or("a thread"),
            goal: wait.goal,
            on_deadlock: wait.on_deadlock,
            // SAFETY: `wait` outlives this function, and the guard that is made below is dropped
            // here, or by `deadlock::wait`, which has `wait` by reference. So the wait has left the
            // registry before what it borrows can change.
            awaited: unsafe { Awaited::new(wait.awaits) },
            signal: Arc::clone(signal),
            rechecks: false,
            watches: false,
            out_of_stack: run.is_out_of_stack(),
            refused: None,
        };
        let mut to_recheck = Vec::new();
        let entered = {
            let registry = REGISTRY.lock();
            if !(wait.is_current)() {
                return Ok(EnterOutcome::NotCurrent);
            }
            if let Awaits::Calls(calls) = wait.awaits {
                if run.is_stuck(|| registry.generation(worker_of)) {
                    return Ok(EnterOutcome::MayRun(calls));
                }
            }
            let mut entering = Entering::new(registry, blocked);
            let Entering { registry, key, .. } = &mut entering;
            let key = *key;
            let found = loop {
                let found = check(registry, key);
                match &found {
                    WaitCheck::Waits | WaitCheck::CanRun => break found,
                    WaitCheck::OthersCanRun(others) => {
                        to_recheck
                            .extend(others.iter().filter_map(|other| registry.recheck(*other)));
                        break WaitCheck::Waits;
                    }
                    WaitCheck::Stuck(path, text) => match registry.refuse_other(key, path, text) {
                        Some(signal) => to_recheck.push(signal),
                        None if wait.on_deadlock == OnDeadlock::Forces => break WaitCheck::Waits,
                        None => break found,
                    },
                }
            };
            match found {
                WaitCheck::Waits | WaitCheck::OthersCanRun(_) => {
                    Ok(EnterOutcome::Blocked(entering.stays()))
                }
                // It leaves under the same lock: this thread goes on, and must not seem to be
                // stuck.
                WaitCheck::CanRun => {
                    entering.leave();
                    run.found_stuck(entering.registry.generation(worker_of));
                    match wait.awaits {
                        Awaits::Calls(calls) => Ok(EnterOutcome::MayRun(calls)),
                        Awaits::RoomIn(_) => Ok(EnterOutcome::NoRoom),
                        Awaits::EndOf(_) | Awaits::CallbacksOf(_) | Awaits::Drops(_) => {
                            Ok(EnterOutcome::NotCurrent)
                        }
                    }
                }
                WaitCheck::Stuck(_, text) => Err(Error::Deadlock(text.into())),
            }
        };
        to_recheck.iter().for_each(|signal| signal.recheck());
        entered
    }

    /// Removes the wait from the registry; returns the reason if it was chosen to fail.
    pub(super) fn leave(self) -> Option<String> {
        let key = std::mem::ManuallyDrop::new(self).0;
        let left = REGISTRY.lock().leave(key);
        left?.refused
    }
}

/// A wait that has entered the registry, which is still locked. It leaves, under the same lock,
/// unless it [stays](Self::stays).
struct Entering<'a> {
    registry: MutexGuard<'a, Registry>,
    key: ThreadKey,
    leaves: bool,
}

impl<'a> Entering<'a> {
    fn new(mut registry: MutexGuard<'a, Registry>, blocked: BlockedThread) -> Self {
        let key = registry.enter(blocked);
        Self { registry, key, leaves: true }
    }

    fn stays(mut self) -> Registered {
        self.leaves = false;
        Registered(self.key)
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.leaves) {
            self.registry.leave(self.key);
        }
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let left = REGISTRY.lock().leave(self.0);
        drop(left);
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::REGISTRY;
    use crate::futures::call::pair_arc::PairArc;
    use crate::futures::{Future, Promise, ThreadPoolExecutor};

    fn is_kept(call: &Future<()>) -> bool {
        REGISTRY.lock().runs.contains_key(&PairArc::address(call.call()))
    }

    /// A later call may have the same address, and run elsewhere.
    #[test]
    fn of_a_call_that_has_waited_and_of_callbacks_that_have_nothing_is_kept() {
        let pool = ThreadPoolExecutor::new(1).expect("one worker will do");
        let until = Instant::now() + Duration::from_secs(60);
        for in_callback in [false, true] {
            let (promise, awaited) = Promise::<()>::pair();
            let (open, gate) = Promise::<()>::pair();
            let waits = move || awaited.into_result().expect("it is kept");
            let call = if in_callback {
                let call = pool.spawn(move || gate.into_result().expect("it is kept"));
                let call = call.expect("it is open");
                call.add_done_callback(move |_| waits());
                open.set_result(()).expect("it is the first");
                call
            } else {
                pool.spawn(waits).expect("it is open")
            };
            while !is_kept(&call) || (in_callback && !call.done()) {
                assert!(Instant::now() < until, "it does not wait");
                std::thread::yield_now();
            }
            assert_eq!(pool.stats().blocked, 1);
            promise.set_result(()).expect("it is the first");
            // The next call comes after the callbacks.
            pool.spawn(|| ()).expect("it is open").into_result().expect("it returns");
            assert!(!is_kept(&call), "in a callback: {in_callback}");
        }
    }
}
