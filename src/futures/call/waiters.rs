//! The waiters of a call: how they learn of its end.
//!
//! A blocked thread waits on one [`Signal`], for any number of calls; the list of [`Waiters`] of
//! each call holds the signal together with the index of the call in the wait.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::AnyCall;
use super::cancel_token::CancelToken;
use super::continuation::Continuation;
use super::trace_hooks::Blocks;
use super::wait_assist;
use crate::sync::{Condvar, Mutex, wait_until};
use crate::user_code::contain;

/// Ended calls report here, and one thread sleeps here until enough of them have.
#[derive(Debug)]
pub(crate) struct Signal {
    ready: Mutex<Ready>,
    wake: Condvar,
    blocks: Blocks,
}

#[derive(Debug)]
struct Ready {
    /// Indices of ended calls that were not taken yet, in the order they ended.
    ended: VecDeque<usize>,
    failed: bool,
    /// The condition of the sleeping thread; `None` while it does not sleep.
    sleeper: Option<WakeWhen>,
    /// The thread must return from `wait_or_recheck`, whatever ended.
    recheck: bool,
    /// The end of a call with this index, or a higher one, sets `recheck`.
    recheck_from: usize,
}

/// When a thread that waits on a [`Signal`] wants to be woken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WakeWhen {
    /// This many calls ended since the last [`Signal::take_ended`].
    pub(crate) ended: usize,
    /// Or one of them failed.
    pub(crate) or_failure: bool,
}

impl WakeWhen {
    pub(crate) const ONE: Self = Self { ended: 1, or_failure: false };
}

impl Ready {
    fn satisfies(&self, until: WakeWhen) -> bool {
        self.ended.len() >= until.ended || (until.or_failure && self.failed)
    }
}

impl Signal {
    pub(crate) fn new() -> Arc<Self> {
        let ready = Ready {
            ended: VecDeque::new(),
            failed: false,
            sleeper: None,
            recheck: false,
            recheck_from: usize::MAX,
        };
        Arc::new(Self { ready: Mutex::new(ready), wake: Condvar::new(), blocks: Blocks::new() })
    }

    /// The calls that the thread waits for, for the timeline.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    pub(crate) fn notify(&self, index: usize, failed: bool) {
        let wake = {
            let mut ready = self.ready.lock();
            ready.ended.push_back(index);
            ready.failed |= failed;
            if index >= ready.recheck_from {
                ready.recheck_from = usize::MAX;
                ready.recheck = true;
            }
            ready.sleeper.is_some_and(|until| ready.recheck || ready.satisfies(until))
        };
        if wake {
            self.wake.notify_one();
        }
    }

    /// Makes [`wait_or_recheck`](Self::wait_or_recheck) return.
    pub(crate) fn recheck(&self) {
        self.ready.lock().recheck = true;
        self.wake.notify_one();
    }

    /// Makes it return also when a call with this index, or a higher one, ends.
    pub(crate) fn recheck_from(&self, index: usize) {
        let mut ready = self.ready.lock();
        ready.recheck_from = ready.recheck_from.min(index);
    }

    /// Blocks until `until` holds or [`recheck`](Self::recheck) is called; returns whether `until`
    /// holds.
    pub(crate) fn wait_or_recheck(&self, until: WakeWhen) -> bool {
        if wait_assist::is_present() {
            let returns = || {
                let ready = self.ready.lock();
                ready.recheck || ready.satisfies(until)
            };
            wait_assist::assist(&returns, None);
        }
        let _blocked = self.blocks.begin();
        let mut ready = self.ready.lock();
        while !ready.satisfies(until) {
            if std::mem::take(&mut ready.recheck) {
                return false;
            }
            ready.sleeper = Some(until);
            wait_until(&self.wake, &mut ready, None);
            ready.sleeper = None;
        }
        true
    }

    /// Whether `until` holds now.
    pub(crate) fn holds(&self, until: WakeWhen) -> bool {
        self.ready.lock().satisfies(until)
    }

    /// Blocks until `until` holds or the deadline has passed; returns whether it holds.
    pub(crate) fn wait(&self, until: WakeWhen, deadline: Option<Instant>) -> bool {
        if wait_assist::is_present() {
            wait_assist::assist(&|| self.holds(until), deadline);
        }
        let _blocked = self.blocks.begin();
        let mut ready = self.ready.lock();
        while !ready.satisfies(until) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            ready.sleeper = Some(until);
            wait_until(&self.wake, &mut ready, deadline);
            ready.sleeper = None;
        }
        true
    }

    /// Appends to `taken` the indices of the calls that have ended since the last time.
    pub(crate) fn take_ended(&self, taken: &mut VecDeque<usize>) {
        let mut ready = self.ready.lock();
        if taken.is_empty() {
            std::mem::swap(taken, &mut ready.ended);
        } else {
            taken.append(&mut ready.ended);
        }
    }
}

/// A callback that contains the user's, and does not unwind.
pub(crate) type Callback<T> = Box<dyn FnOnce(&AnyCall<T>) + Send>;

/// A party that is notified when a call ends.
pub(crate) enum Waiter<T> {
    /// A thread that needs to know that the call is done.
    Done(Arc<Signal>, usize),
    /// A user's callback.
    Callback(Callback<T>),
    /// A thread that will move the outcome out: notified when no callback borrows it any more.
    Settled(Arc<Signal>),
    /// An async task that will move the outcome out; likewise.
    Task(Waker),
    /// The token of the running call: notified earlier, when the call is asked to stop.
    Token(CancelToken),
    /// A continuation that takes the outcome over; likewise.
    Then(Continuation),
}

impl<T> Waiter<T> {
    /// Whether it is notified only when the call is settled.
    pub(crate) fn is_for_settled(&self) -> bool {
        matches!(self, Self::Settled(_) | Self::Task(_) | Self::Then(_))
    }

    /// The signal of the thread to be woken.
    pub(crate) fn signal(&self) -> Option<&Arc<Signal>> {
        match self {
            Self::Done(signal, _) | Self::Settled(signal) => Some(signal),
            Self::Callback(_) | Self::Task(_) | Self::Token(_) | Self::Then(_) => None,
        }
    }

    fn is_signal(&self, signal: &Arc<Signal>) -> bool {
        self.signal().is_some_and(|own| Arc::ptr_eq(own, signal))
    }
}

/// The waiters of one call, the latest first: one pointer while empty, one allocation for each.
pub(crate) struct Waiters<T>(Option<Box<WaiterNode<T>>>);

struct WaiterNode<T> {
    waiter: Waiter<T>,
    next: Option<Box<WaiterNode<T>>>,
}

impl<T> Waiters<T> {
    pub(crate) const EMPTY: Self = Self(None);

    pub(crate) fn push(&mut self, waiter: Waiter<T>) {
        let next = self.0.take();
        self.0 = Some(Box::new(WaiterNode { waiter, next }));
    }

    fn pop(&mut self) -> Option<Waiter<T>> {
        let node = *self.0.take()?;
        self.0 = node.next;
        Some(node.waiter)
    }

    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Whether to notify them runs no user code, but only wakes threads.
    #[cfg(all(target_os = "linux", not(concurrent_loom), feature = "mpi"))]
    pub(crate) fn are_threads(&self) -> bool {
        let wakes = |waiter: &Waiter<T>| {
            matches!(waiter, Waiter::Done(..) | Waiter::Settled(_) | Waiter::Token(_))
        };
        self.iter().all(wakes)
    }

    /// The token of the running call, if it asked for one.
    pub(crate) fn token(&self) -> Option<&CancelToken> {
        self.iter().find_map(|waiter| match waiter {
            Waiter::Token(token) => Some(token),
            _ => None,
        })
    }

    pub(crate) fn request_cancel(&self) {
        for waiter in self.iter() {
            if let Waiter::Token(token) = waiter {
                token.request();
            }
        }
    }

    /// The same waiters, the earliest first.
    pub(crate) fn in_order(mut self) -> impl Iterator<Item = Waiter<T>> {
        let mut reversed = Self::EMPTY;
        while let Some(mut node) = self.0.take() {
            self.0 = node.next.take();
            node.next = reversed.0.take();
            reversed.0 = Some(node);
        }
        std::iter::from_fn(move || reversed.pop())
    }

    /// Removes the waiters that `unwanted` picks and returns them, to be dropped outside of the
    /// lock: dropping a waker may drop a task, and with it anything.
    fn remove(&mut self, unwanted: impl Fn(&Waiter<T>) -> bool) -> Self {
        let mut removed = Self::EMPTY;
        let mut link = &mut self.0;
        while let Some(mut node) = link.take() {
            if unwanted(&node.waiter) {
                *link = node.next.take();
                node.next = removed.0.take();
                removed.0 = Some(node);
            } else {
                link = &mut link.insert(node).next;
            }
        }
        removed
    }

    /// Whether a continuation is among them.
    pub(crate) fn has_continuation(&self) -> bool {
        self.iter().any(|waiter| matches!(waiter, Waiter::Then(_)))
    }

    /// The latest first.
    fn iter(&self) -> impl Iterator<Item = &Waiter<T>> {
        let nodes = std::iter::successors(self.0.as_deref(), |node| node.next.as_deref());
        nodes.map(|node| &node.waiter)
    }

    /// Removes those that only wake threads and can be notified now; returns whether no callback
    /// borrows the outcome, so that those that wait for that are among them.
    #[must_use = "notify them outside of the lock"]
    pub(crate) fn take_threads(&mut self) -> (Self, bool) {
        let settled = !self.iter().any(|waiter| matches!(waiter, Waiter::Callback(_)));
        let threads = self.remove(|waiter| match waiter {
            Waiter::Done(..) | Waiter::Token(_) => true,
            Waiter::Settled(_) => settled,
            Waiter::Callback(_) | Waiter::Task(_) | Waiter::Then(_) => false,
        });
        (threads, settled)
    }

    #[must_use = "drop it outside of the lock"]
    pub(crate) fn remove_signal(&mut self, signal: &Arc<Signal>) -> Self {
        self.remove(|waiter| waiter.is_signal(signal))
    }

    #[must_use = "drop it outside of the lock"]
    pub(crate) fn remove_task(&mut self) -> Self {
        self.remove(|waiter| matches!(waiter, Waiter::Task(_)))
    }
}

impl<T> Drop for Waiters<T> {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.drop_all();
        }
    }
}

impl<T> Waiters<T> {
    /// Drops them one by one: a long list dropped recursively would overflow the stack. A panic of
    /// user code affects neither the others nor the thread that drops them.
    #[inline(never)]
    fn drop_all(&mut self) {
        while let Some(waiter) = self.pop() {
            match waiter {
                Waiter::Done(..) | Waiter::Settled(_) | Waiter::Token(_) => {}
                Waiter::Callback(_) | Waiter::Task(_) | Waiter::Then(_) => {
                    contain("dropping what waits for a call", || drop(waiter));
                }
            }
        }
    }
}

impl<T> fmt::Debug for Waiters<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Waiters(..)" } else { "Waiters()" })
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use super::Waiter;
    use crate::futures::call::current::Running;
    use crate::futures::call::shared_state::SharedState;
    use crate::futures::call::trace_hooks::{CallOrigin, Traced};

    #[test]
    fn a_call_that_often_asks_for_its_token_keeps_one() {
        let shared = SharedState::<()>::new(1, Traced::submitted("a call", CallOrigin::Thread(1)));
        let first = shared.token(None);
        let latest = (0..1_000).map(|_| shared.token(None)).last().expect("there were some");
        let tokens = |waiter: &&Waiter<()>| matches!(waiter, Waiter::Token(_));
        assert_eq!(shared.with_waiters(|waiters| waiters.iter().filter(tokens).count()), 1);
        shared.request_cancel();
        assert!(first.is_cancel_requested() && latest.is_cancel_requested());
    }
}
