//! [`WaitSet`]: the one loop that waits for several calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::futures::call::AnyCall;
use crate::futures::call::assist::AwaitedSet;
use crate::futures::call::dependency::Dependency;
use crate::futures::call::waiters::{Signal, Waiter, WakeWhen};
use crate::futures::deadlock::{self, Awaits, InPlaceRun, Wait, WaitFor};

/// A thing that can be waited for together with others.
pub(crate) trait Member {
    type Owner;

    /// Makes the call report its end as `index`; returns false if it is done already.
    fn watch(&self, signal: &Arc<Signal>, index: usize) -> bool;

    /// Ends [`watch`](Self::watch).
    fn unwatch(&self, signal: &Arc<Signal>);

    /// A further owner of the call, for other threads to look at it.
    fn owner(&self) -> Self::Owner;

    /// The call, by `owner` if other threads may look at it.
    fn call<'a>(&'a self, owner: Option<&'a Self::Owner>) -> &'a dyn Dependency;
}

/// [`Member::watch`] for a call.
pub(crate) fn watch<T>(call: &AnyCall<T>, signal: &Arc<Signal>, index: usize) -> bool {
    let shared = call.shared();
    !shared.state().is_done() && shared.register(Waiter::Done(Arc::clone(signal), index)).is_ok()
}

/// [`Member::unwatch`] for a call.
pub(crate) fn unwatch<T>(call: &AnyCall<T>, signal: &Arc<Signal>) {
    let shared = call.shared();
    if !shared.state().is_done() {
        drop(shared.with_waiters(|waiters| waiters.remove_signal(signal)));
    }
}

/// Calls that one thread waits for, and in which order they ended.
pub(crate) struct WaitSet<M: Member> {
    /// By index; `None` once taken.
    slots: Vec<Option<M>>,
    /// Empty slots to be used again, so that an endless input needs bounded memory; `None` if no further
    /// calls will come.
    free: Option<Vec<usize>>,
    /// INVARIANT: all slots from this one on are empty.
    top: usize,
    left: usize,
    /// The indices of members that are done. The slot may be empty by now.
    ready: VecDeque<usize>,
    signal: Arc<Signal>,
    run: InPlaceRun,
    /// Owners of the calls, by index, once other threads may look at these.
    owners: Option<Vec<Option<M::Owner>>>,
}

impl<M: Member> WaitSet<M> {
    /// An empty set, to which calls come as others are taken.
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Some(Vec::new()),
            top: 0,
            left: 0,
            ready: VecDeque::new(),
            signal: Signal::new(),
            run: InPlaceRun::default(),
            owners: None,
        }
    }

    /// A set of these calls.
    pub(crate) fn of(members: impl IntoIterator<Item = M>) -> Self {
        let mut set = Self::new();
        set.free = None;
        let members = members.into_iter();
        set.slots.reserve(members.size_hint().0);
        members.for_each(|member| set.insert(member));
        set
    }

    pub(crate) fn insert(&mut self, member: M) {
        let index = self.free.as_mut().and_then(Vec::pop).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if !member.watch(&self.signal, index) {
            self.ready.push_back(index);
        }
        if let Some(owners) = &mut self.owners {
            owners.resize_with(self.slots.len(), || None);
            owners[index] = Some(member.owner());
        }
        self.run.has_more(index, member.call(None));
        self.slots[index] = Some(member);
        self.top = self.top.max(index + 1);
        self.left += 1;
    }

    /// The number of members that were not taken.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &M> {
        self.slots.iter().flatten()
    }

    fn take(&mut self, index: usize) -> Option<M> {
        let member = self.slots.get_mut(index)?.take()?;
        self.left -= 1;
        if let Some(owners) = &mut self.owners {
            owners[index] = None;
        }
        while self.top > 0 && self.slots[self.top - 1].is_none() {
            self.top -= 1;
        }
        Some(member)
    }

    /// The next member that is done; `None` if none is left, or if `deadline` passed first.
    ///
    /// # Errors
    ///
    /// [`Error::Deadlock`](crate::Error::Deadlock) if none of those that are left can ever be done.
    pub(crate) fn next_done(&mut self, deadline: Option<Instant>) -> Result<Option<M>> {
        while self.left > 0 {
            while let Some(index) = self.ready.pop_front() {
                if let Some(member) = self.take(index) {
                    if let Some(free) = &mut self.free {
                        free.push(index);
                    }
                    return Ok(Some(member));
                }
            }
            if !self.wait(WakeWhen::ONE, WaitFor::Any, deadline)? {
                break;
            }
            self.signal.take_ended(&mut self.ready);
        }
        Ok(None)
    }

    /// Takes the first member that is left, after a deadlock. If it ends afterwards, it is not
    /// returned a second time.
    pub(crate) fn take_stuck(&mut self) -> Option<M> {
        let index = self.slots.iter().position(Option::is_some)?;
        let member = self.take(index)?;
        member.unwatch(&self.signal);
        Some(member)
    }

    /// Waits until `goal` is reached by the members; returns false if `deadline` passed first.
    pub(crate) fn wait_for(&mut self, goal: WaitFor, deadline: Option<Instant>) -> Result<bool> {
        let unfinished = self.left - self.ready.len();
        let until = match goal {
            WaitFor::Any => WakeWhen::ONE,
            WaitFor::All => WakeWhen { ended: unfinished, or_failure: false },
            WaitFor::Failure => WakeWhen { ended: unfinished, or_failure: true },
        };
        self.wait(until, goal, deadline)
    }

    /// Waits until `until` holds for the members that are not ready; returns false if `deadline`
    /// passed first.
    fn wait(&mut self, until: WakeWhen, goal: WaitFor, deadline: Option<Instant>) -> Result<bool> {
        if deadline.is_some() {
            return Ok(self.signal.wait(until, deadline));
        }
        if self.owners.is_none() && deadlock::concerns_this_thread() {
            let owners = self.slots.iter().map(|slot| slot.as_ref().map(Member::owner));
            self.owners = Some(owners.collect());
        }
        let mut run = std::mem::take(&mut self.run);
        let waited = {
            let wait = Wait::new(Awaits::Calls(self), goal);
            deadlock::wait(&self.signal, until, &wait, &mut run)
        };
        self.run = run;
        waited.map(|()| true)
    }

    /// The members that were not taken; in the order of insertion if none was.
    pub(crate) fn into_members(mut self) -> impl Iterator<Item = M> {
        self.unwatch_all();
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    fn call<'a>(&'a self, index: usize, member: &'a M) -> &'a dyn Dependency {
        let owner = self.owners.as_ref().and_then(|owners| owners[index].as_ref());
        member.call(owner)
    }

    fn unwatch_all(&mut self) {
        for member in self.slots.iter().flatten() {
            member.unwatch(&self.signal);
        }
    }
}

impl<M: Member> AwaitedSet for WaitSet<M> {
    fn before(&self, end: usize) -> Option<(usize, &dyn Dependency)> {
        let slots = self.slots[..end.min(self.top)].iter().enumerate().rev();
        slots.filter_map(|(index, slot)| Some((index, self.call(index, slot.as_ref()?)))).next()
    }

    fn from(&self, start: usize) -> Option<(usize, &dyn Dependency)> {
        let slots = self.slots[start.min(self.top)..self.top].iter().zip(start..);
        slots.filter_map(|(slot, index)| Some((index, self.call(index, slot.as_ref()?)))).next()
    }
}

impl<M: Member> Drop for WaitSet<M> {
    fn drop(&mut self) {
        self.unwatch_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::Promise;
    use crate::futures::wait::WaitHandle;
    use crate::sync::outcomes::{EVERY_INTERLEAVING, outcomes};
    use crate::sync::spawn;

    /// Of two calls that were found to be stuck the first is taken, while it is cancelled.
    #[test]
    fn model_what_was_taken_as_stuck_is_not_counted_again_when_it_is_cancelled() {
        let met = outcomes(None, || {
            let (_never, first) = Promise::<()>::pair();
            let (promise, second) = Promise::pair();
            let [first, second] = [first, second].map(Arc::new);
            let both = [&first, &second].map(|call| WaitHandle::new(Arc::clone(call)));
            let mut calls = WaitSet::of(both);
            let cancelled = Arc::clone(&first);
            let cancels = spawn("cancels".into(), None, move || assert!(cancelled.cancel()));
            let stuck = calls.take_stuck().expect("there are two");
            let was_done = stuck.is_done();
            assert_eq!(stuck.handle, first);
            promise.set_result(()).expect("it is not done");
            let next = calls.next_done(None).expect("it is no deadlock");
            assert_eq!(next.expect("one is left").handle, second);
            cancels.expect("there are threads").join().expect("nothing panics");
            assert!(calls.is_empty());
            was_done
        });
        assert!(!EVERY_INTERLEAVING || met.len() == 2, "{met:?}");
    }
}
