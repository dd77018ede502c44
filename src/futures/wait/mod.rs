//! [`wait`]: blocks until some or all of a set of calls are done.

pub(crate) mod as_completed;
pub(crate) mod wait_set;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use self::wait_set::{Member, WaitSet, unwatch, watch};
use super::call::AnyCall;
use super::call::dependency::Dependency;
use super::call::pair_arc::PairArc;
use super::call::waiters::Signal;
use crate::futures::Future;
use crate::futures::deadlock::WaitFor;
use crate::sync::deadline_after;
use crate::user_code::contain;

/// The condition on which [`wait`] returns.
///
/// # Python
///
/// The constants of `concurrent.futures`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{Promise, ReturnWhen, wait};
///
/// let (promise, first) = Promise::pair();
/// let (_promise, second) = Promise::pair();
/// promise.set_result(1)?;
/// let outcome = wait([&first, &second], None, ReturnWhen::FirstCompleted);
/// assert_eq!((outcome.done, outcome.not_done), (vec![&first], vec![&second]));
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReturnWhen {
    /// When any call finishes, fails or is cancelled. Python's `FIRST_COMPLETED`.
    #[doc(alias = "FIRST_COMPLETED")]
    FirstCompleted,
    /// When any call fails; if none does, when all are done. Python's `FIRST_EXCEPTION`.
    ///
    /// A cancelled call has not failed, nor has one that returned an `Err`, unless it was
    /// [flattened](Future::flatten).
    #[doc(alias = "FIRST_EXCEPTION")]
    FirstException,
    /// When all calls are done. Python's `ALL_COMPLETED`.
    #[doc(alias = "ALL_COMPLETED")]
    #[default]
    AllCompleted,
}

/// The handles that [`wait`] was given, in two parts, each in the order given.
///
/// # Python
///
/// The named tuple `DoneAndNotDoneFutures`, whose parts are sets.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{DoneAndNotDone, Promise, ReturnWhen, wait};
/// use std::time::Duration;
///
/// let (promise, quick) = Promise::pair();
/// let (_promise, slow) = Promise::pair();
/// promise.set_result("quick")?;
/// let outcome = wait([&quick, &slow], Duration::from_millis(1), ReturnWhen::AllCompleted);
/// let DoneAndNotDone { done, not_done } = outcome;
/// assert_eq!((done, not_done), (vec![&quick], vec![&slow]));
/// # Ok::<(), concurrent::Error>(())
/// ```
#[doc(alias = "DoneAndNotDoneFutures")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct DoneAndNotDone<H> {
    /// Those that finished, failed or were cancelled.
    pub done: Vec<H>,
    /// The others.
    pub not_done: Vec<H>,
}

/// Waits for calls, of one or of several executors, until `return_when` holds or time is up.
///
/// It takes anything that yields futures, or borrows them: `Future<T>`, `&Future<T>`,
/// `Arc<Future<T>>`. It returns the same handles, each call once. Running out of time is no error:
/// the calls that are not done are in `not_done`. Either way the calls go on.
///
/// For a map of futures that changes while they are waited for, see the
/// [guide](crate::guide::coming_from_python#the-frontier-a-map-that-grows-while-it-is-waited-for).
///
/// # Blocking
///
/// Until `return_when` holds, at most for `timeout` from this call (`None`: no limit). With no
/// futures it returns at once.
///
/// Inside of a call and without a `timeout`, this thread [runs queued calls in
/// place](crate::futures#waiting-inside-of-calls) for which no worker is free; unless it waits for
/// all calls, only if otherwise none of them can move. If the wait can never end, it returns early.
/// The futures that can never be done are in `not_done`, and their `result` is
/// [`Error::Deadlock`](crate::Error::Deadlock).
///
/// # Python
///
/// `concurrent.futures.wait(fs, timeout, return_when)`. Here a cancelled future counts as done at
/// once.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ReturnWhen, ThreadPoolExecutor, wait};
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let calls = [pool.submit(|n| n * n, 3)?, pool.submit(|n| n + n, 3)?];
/// let outcome = wait(&calls, None, ReturnWhen::AllCompleted);
/// assert_eq!(outcome.done.len(), 2);
/// assert!(outcome.not_done.is_empty());
/// # Ok::<(), concurrent::Error>(())
/// ```
pub fn wait<T, H: Borrow<Future<T>>>(
    futures: impl IntoIterator<Item = H>,
    timeout: impl Into<Option<Duration>>,
    return_when: ReturnWhen,
) -> DoneAndNotDone<H> {
    let deadline = timeout.into().and_then(deadline_after);
    let mut handles = distinct(futures);
    if let Some(goal) = still_needed(&handles, return_when) {
        let mut set = WaitSet::of(handles.into_iter().map(WaitHandle::new));
        // A call may have ended in the meantime, in the way that is waited for.
        let over = |handle: &WaitHandle<T, H>| match goal {
            WaitFor::Any => handle.is_done(),
            WaitFor::Failure => handle.any_call().shared().state().is_failed(),
            WaitFor::All => false,
        };
        if !set.iter().any(over) {
            // On a deadlock the futures that can never end are in `not_done`; their `result` says
            // so.
            let _ = set.wait_for(goal, deadline);
        }
        handles = set.into_members().map(|handle| handle.handle).collect();
    }
    let (done, not_done) = handles.into_iter().partition(|handle| handle.borrow().done());
    DoneAndNotDone { done, not_done }
}

/// A handle of a call among others that are waited for.
///
/// Other threads look at its call under the lock of the registry of waits, and to borrow the handle is the
/// user's code: for them the call has another owner. That costs `as_completed` half as much again, so
/// there is one only if the waiting thread runs a call.
pub(crate) struct WaitHandle<T, H> {
    pub(crate) handle: H,
    value: PhantomData<fn() -> T>,
}

impl<T, H: Borrow<Future<T>>> WaitHandle<T, H> {
    pub(crate) fn new(handle: H) -> Self {
        Self { handle, value: PhantomData }
    }

    fn any_call(&self) -> &AnyCall<T> {
        self.handle.borrow().call()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.any_call().shared().state().is_done()
    }
}

impl<T, H: Borrow<Future<T>>> Member for WaitHandle<T, H> {
    type Owner = AnyCall<T>;

    fn watch(&self, signal: &Arc<Signal>, index: usize) -> bool {
        watch(self.any_call(), signal, index)
    }

    fn unwatch(&self, signal: &Arc<Signal>) {
        contain("borrowing a future", || unwatch(self.any_call(), signal));
    }

    fn owner(&self) -> AnyCall<T> {
        PairArc::clone(self.any_call())
    }

    fn call<'a>(&'a self, owner: Option<&'a AnyCall<T>>) -> &'a dyn Dependency {
        owner.unwrap_or_else(|| self.any_call())
    }
}

/// The event that is missing for `return_when` to hold; `None` if it holds.
fn still_needed<T, H: Borrow<Future<T>>>(
    handles: &[H],
    return_when: ReturnWhen,
) -> Option<WaitFor> {
    let mut done = 0;
    let mut failed = false;
    for handle in handles {
        let state = handle.borrow().call().shared().state();
        done += usize::from(state.is_done());
        failed |= state.is_failed();
    }
    match return_when {
        _ if done == handles.len() => None,
        ReturnWhen::FirstCompleted => (done == 0).then_some(WaitFor::Any),
        ReturnWhen::FirstException => (!failed).then_some(WaitFor::Failure),
        ReturnWhen::AllCompleted => Some(WaitFor::All),
    }
}

/// The handles, without those that refer to the same call as an earlier one.
fn distinct<T, H: Borrow<Future<T>>>(futures: impl IntoIterator<Item = H>) -> Vec<H> {
    let futures = futures.into_iter();
    let hasher = BuildHasherDefault::<AddressHasher>::default();
    let mut seen = HashSet::with_capacity_and_hasher(futures.size_hint().0, hasher);
    futures.filter(|handle| seen.insert(PairArc::address(handle.borrow().call()))).collect()
}

/// Hashes the address of a call, which no attacker chooses. With std's hasher `as_completed` costs a tenth
/// more.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, address: usize) {
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32; // the low bits of an address are zero, and so those of a product
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
